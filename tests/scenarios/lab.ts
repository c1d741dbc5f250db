import {
  AggregateRoot,
  action,
  atomic,
  type CommandContext,
  type ContextDefinition,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineError,
  defineEvent,
  type EventOf,
  type Handlers,
  pageOf,
  paging,
  query,
  type ReceivedEvent,
  sensitive,
  stream,
} from "@armature/core";
import { z } from "zod";

// Three small contexts to try the runtime with: counters and actions of all kinds, a ledger that others join, and a
// desk that joins, sends and subscribes. What a handler does can be replaced for one application.

export const Added = defineEvent("counter.added", {
  version: 1,
  data: z.object({ counterId: z.string(), by: z.int(), note: z.string() }),
});

export class TooMuch extends defineError("lab.too_much", {
  kind: "precondition",
  details: z.object({ value: z.number() }),
  message: ({ value }) => `The counter stands at ${value}, and that is enough.`,
}) {}

export class Counter extends AggregateRoot<{ value: number; label: string }, EventOf<typeof Added>> {
  static readonly definition = defineAggregate("counter", {
    state: z.object({ value: z.int().max(1_000_000), label: z.string() }),
    events: [Added],
    index: ["label"],
  });

  get value(): number {
    return this.version === 0 ? 0 : this.state.value;
  }

  add(by: number, note = ""): void {
    if (this.value + by > 1_000) throw new TooMuch({ value: this.value });
    this.raise(Added, { counterId: this.id, by, note });
  }

  protected override evolve(state: Counter["state"] | undefined, { data }: EventOf<typeof Added>): Counter["state"] {
    return { value: (state?.value ?? 0) + data.by, label: data.note };
  }
}

const counterId = z.string().min(1).max(100);
const text = z.string().max(10_000);
const value = z.object({ value: z.number() });
const said = z.object({ text });
const doing = { input: z.strictObject({ text, secret: sensitive(z.string()).optional() }), output: said } as const;

const labContract = defineContract(
  "lab",
  {
    add: command({
      input: z.strictObject({ counterId, by: z.int().default(1), note: text.default("") }),
      output: value,
      errors: [TooMuch],
      permission: "lab:write",
      http: "POST /counters/{counterId}/add",
      summary: "Adds to a counter, which begins at nothing.",
    }),
    look: query({
      input: z.strictObject({ counterId }),
      output: value,
      permission: "lab:read",
      summary: "Says where a counter stands.",
    }),
    list: query({
      input: z.strictObject({ label: text.optional(), ...paging }),
      output: pageOf(z.object({ counterId, value: z.number() })),
      permission: "lab:read",
      summary: "Lists counters.",
    }),
    addToAll: command({
      input: z.strictObject({ label: text, by: z.int() }),
      output: z.object({ counters: z.int() }),
      permission: "lab:write",
      summary: "Adds to every counter with the label.",
    }),
    issue: command({
      input: z.strictObject({ counterId }),
      output: z.object({ token: sensitive(z.string()) }),
      permission: "lab:write",
      summary: "Counts, and gives a token that is shown once.",
    }),
    collect: command({
      input: z.strictObject({
        options: z.strictObject({ tags: z.array(text) }).default({ tags: [] }),
        values: z.array(z.json()).default([]),
      }),
      output: z.object({ tags: z.array(text), values: z.array(z.json()) }),
      permission: "lab:write",
      summary: "Takes a value with a default that holds something.",
    }),
    act: action({ ...doing, permission: "lab:act", summary: "Does something outside." }),
    actAgain: action({ ...doing, permission: "lab:act", repeatable: true, summary: "Does what may be repeated." }),
    actByHandler: action({
      ...doing,
      permission: "lab:act",
      repeatable: "handler",
      summary: "Does what the handler decides on.",
    }),
    draw: action({
      input: z.strictObject({}),
      output: z.object({ token: sensitive(z.string()) }),
      permission: "lab:act",
      summary: "Draws a token that is shown once.",
    }),
    watch: stream({
      input: z.strictObject({ upTo: z.int() }),
      output: z.object({ n: z.int() }),
      permission: "lab:read",
      summary: "Counts upwards.",
    }),
    hidden: command({
      input: z.strictObject({ counterId }),
      permission: "internal",
      summary: "Is the context's own.",
    }),
    expose: command({
      input: z.strictObject({}),
      output: z.object({ has: z.array(z.string()) }),
      permission: "lab:write",
      summary: "Says what a command's context has.",
    }),
    exposeToQuery: query({
      input: z.strictObject({}),
      output: z.object({ has: z.array(z.string()) }),
      permission: "lab:read",
      summary: "Says what a query's context has.",
    }),
  },
  { events: [Added] },
);
export interface Lab extends Readonly<typeof labContract> {}
export const lab: Lab = labContract;
type LabHandlers = Handlers<Lab, never>;

/** The lab, with other handlers where they are given. */
export function labContext(replaced: Partial<LabHandlers> = {}): ContextDefinition<Lab> {
  const handlers: LabHandlers = {
    add: async ({ counterId: id, by, note }, ctx) => {
      const counter = (await ctx.tryLoad(Counter, id)) ?? ctx.add(new Counter(id));
      counter.add(by, note);
      return { value: counter.value };
    },
    look: async ({ counterId: id }, ctx) => ({ value: (await ctx.load(Counter, id)).value }),
    list: async ({ label, ...page }, ctx) => {
      const { items, next } = await ctx.find(Counter, { ...page, where: { label } });
      return { items: items.map((counter) => ({ counterId: counter.id, value: counter.value })), next };
    },
    addToAll: async ({ label, by }, ctx) => {
      const { items } = await ctx.find(Counter, { where: { label } });
      for (const counter of items) counter.add(by, label);
      return { counters: items.length };
    },
    issue: async ({ counterId: id }, ctx) => {
      const counter = (await ctx.tryLoad(Counter, id)) ?? ctx.add(new Counter(id));
      counter.add(1);
      return { token: "once" };
    },
    collect: async ({ options, values }) => ({ tags: options.tags, values }),
    act: async ({ text: said }) => ({ text: said }),
    actAgain: async ({ text: said }) => ({ text: said }),
    actByHandler: async ({ text: said }) => ({ text: said }),
    draw: async () => ({ token: "once" }),
    watch: async function* ({ upTo }, ctx) {
      for (let n = Number(ctx.after ?? 0) + 1; n <= upTo; n += 1) yield { cursor: String(n), item: { n } };
    },
    hidden: async ({ counterId: id }, ctx) => {
      ctx.add(new Counter(id)).add(1);
    },
    expose: async (_input, ctx) => ({ has: namesOf(ctx) }),
    exposeToQuery: async (_input, ctx) => ({ has: namesOf(ctx) }),
    ...replaced,
  };
  return defineContext(lab, { aggregates: [Counter], handlers });
}

export const Booked = defineEvent("entry.booked", {
  version: 1,
  data: z.object({ entryId: z.string(), amount: z.int() }),
});

export class LedgerClosed extends defineError("ledger.closed", {
  kind: "precondition",
  details: z.object({ entryId: z.string() }),
  message: ({ entryId }) => `The entry "${entryId}" is closed.`,
}) {}

export class Entry extends AggregateRoot<{ total: number }, EventOf<typeof Booked>> {
  static readonly definition = defineAggregate("entry", { state: z.object({ total: z.int() }), events: [Booked] });

  book(amount: number): void {
    if (amount > 100) throw new LedgerClosed({ entryId: this.id });
    this.raise(Booked, { entryId: this.id, amount });
  }

  protected override evolve(state: Entry["state"] | undefined, { data }: EventOf<typeof Booked>): Entry["state"] {
    return { total: (state?.total ?? 0) + data.amount };
  }
}

const ledgerContract = defineContract(
  "ledger",
  {
    book: command({
      input: z.strictObject({ entryId: counterId, amount: z.int() }),
      output: z.object({ total: z.int() }),
      errors: [LedgerClosed],
      permission: "ledger:write",
      summary: "Books an amount.",
      target: "entryId",
    }),
    total: query({
      input: z.strictObject({ entryId: counterId }),
      output: z.object({ total: z.int() }),
      permission: "ledger:read",
      summary: "Says what was booked.",
    }),
  },
  { events: [Booked] },
);
export interface Ledger extends Readonly<typeof ledgerContract> {}
export const ledger: Ledger = ledgerContract;

export const ledgerContext = defineContext(ledger, {
  aggregates: [Entry],
  handlers: {
    book: async ({ entryId, amount }, ctx) => {
      const entry = (await ctx.tryLoad(Entry, entryId)) ?? ctx.add(new Entry(entryId));
      entry.book(amount);
      return { total: entry.state.total };
    },
    total: async ({ entryId }, ctx) => ({ total: (await ctx.load(Entry, entryId)).state.total }),
  },
});

const Noted = defineEvent("note.written", {
  version: 1,
  data: z.object({ noteId: z.string(), text: z.string() }),
});

export class Note extends AggregateRoot<{ texts: string[] }, EventOf<typeof Noted>> {
  static readonly definition = defineAggregate("note", {
    state: z.object({ texts: z.array(z.string()) }),
    events: [Noted],
  });

  write(text: string): void {
    this.raise(Noted, { noteId: this.id, text });
  }

  protected override evolve(state: Note["state"] | undefined, { data }: EventOf<typeof Noted>): Note["state"] {
    return { texts: [...(state?.texts ?? []), data.text] };
  }
}

const deskContract = defineContract(
  "desk",
  {
    order: command({
      input: z.strictObject({ noteId: counterId, amounts: z.array(z.int()), swallow: z.boolean().default(false) }),
      errors: [LedgerClosed],
      permission: "desk:write",
      summary: "Writes a note and books amounts in the same commit.",
      target: "noteId",
    }),
    tell: command({
      input: z.strictObject({ noteId: counterId, counterId, by: z.int().default(1), afterMs: z.int().optional() }),
      permission: "desk:write",
      summary: "Writes a note, and has a counter count afterwards.",
      target: "noteId",
    }),
    remind: command({
      input: z.strictObject({ counterId, by: z.int().default(1), at: text }),
      output: z.object({ key: text }),
      permission: "desk:write",
      summary: "Has a counter count at a time.",
    }),
    repeat: command({
      input: z.strictObject({
        key: text,
        counterId,
        by: z.int().default(1),
        cron: text.optional(),
        timeZone: text.optional(),
        everyMs: z.number().optional(),
        catchUp: z.enum(["once", "all", "none"]).optional(),
        fail: z.boolean().default(false),
      }),
      permission: "desk:write",
      summary: "Has a counter count again and again.",
    }),
    stop: command({
      input: z.strictObject({ key: text }),
      permission: "desk:write",
      summary: "Ends what was scheduled.",
    }),
    have: command({
      input: z.strictObject({ noteId: counterId, text }),
      permission: "desk:write",
      summary: "Writes a note, and has a repeatable action done afterwards.",
      target: "noteId",
    }),
    read: query({
      input: z.strictObject({ noteId: counterId }),
      output: z.object({ texts: z.array(z.string()) }),
      permission: "desk:read",
      summary: "Reads a note.",
    }),
  },
  { events: [Noted] },
);
export interface Desk extends Readonly<typeof deskContract> {}
export const desk: Desk = deskContract;

type AddedEvent = ReceivedEvent<"counter.added", { counterId: string; by: number; note: string }>;
type DeskCommand = CommandContext<Desk, Lab>;
export type OnAdded = (event: AddedEvent, ctx: DeskCommand) => void | Promise<void>;

/** Writes the event's note under the consumer's name: what a consumer has seen can be read with `desk.read`. */
export const noteDown =
  (consumer: string): OnAdded =>
  async (event, ctx) => {
    const id = noteOf(consumer, event.aggregateId);
    const note = (await ctx.tryLoad(Note, id)) ?? ctx.add(new Note(id));
    note.write(event.data.note);
  };
export const noteOf = (consumer: string, counter: string) => `${consumer}-${counter}`;

/** The desk. It has two consumers of `counter.added`, "first" and "second", that note down what they see. */
export function deskContext(on: { readonly first?: OnAdded; readonly second?: OnAdded } = {}) {
  const write = async (ctx: DeskCommand, id: string, said: string) => {
    ((await ctx.tryLoad(Note, id)) ?? ctx.add(new Note(id))).write(said);
  };
  return defineContext(desk, {
    dependsOn: [lab, atomic(ledger)],
    aggregates: [Note],
    handlers: {
      order: async ({ noteId, amounts, swallow }, ctx) => {
        await write(ctx, noteId, `ordered ${amounts.join(", ")}`);
        for (const amount of amounts) {
          const booking = ctx.use(ledger).book({ entryId: noteId, amount });
          if (swallow) await booking.catch(() => undefined);
          else await booking;
        }
      },
      tell: async ({ noteId, counterId: id, by, afterMs }, ctx) => {
        await write(ctx, noteId, "told");
        const delay = afterMs === undefined ? undefined : { afterMs };
        ctx.send(lab, "add", { counterId: id, by, note: "told" }, delay);
      },
      remind: async ({ counterId: id, by, at }, ctx) => ({
        key: ctx.send(lab, "add", { counterId: id, by, note: "reminded" }, { at }),
      }),
      repeat: async ({ key, counterId: id, by, fail, cron, timeZone, everyMs = 0, catchUp }, ctx) => {
        const recurrence = cron === undefined ? { everyMs, catchUp } : { cron, timeZone, catchUp };
        ctx.schedule(key, lab, "add", { counterId: id, by, note: "repeated" }, recurrence);
        if (fail) throw new LedgerClosed({ entryId: key });
      },
      stop: async ({ key }, ctx) => ctx.unschedule(key),
      have: async ({ noteId, text: said }, ctx) => {
        await write(ctx, noteId, "had");
        ctx.send(lab, "actAgain", { text: said });
      },
      read: async ({ noteId }, ctx) => ({ texts: (await ctx.load(Note, noteId)).state.texts }),
    },
    subscriptions: (to) => [
      to(Added, { consumer: "desk.first" }, on.first ?? noteDown("first")),
      to(Added, { consumer: "desk.second" }, on.second ?? noteDown("second")),
    ],
  });
}

// Its own and its prototype's: some contexts make what they offer when it is used.
function namesOf(ctx: object): string[] {
  const names: string[] = [];
  for (const name in ctx) names.push(name);
  return names;
}
