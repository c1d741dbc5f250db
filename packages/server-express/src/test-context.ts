// A small context with all four kinds of operation, for this package's tests. What its handlers do outside is the
// test's to decide.
import {
  AggregateRoot,
  action,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineError,
  defineEvent,
  type ErrorClass,
  type ErrorKind,
  type EventOf,
  NotFound,
  pageOf,
  paging,
  query,
  stream,
} from "@armature/core";
import { z } from "zod";

const noteId = z.templateLiteral(["note_", z.string().regex(/^[0-9a-z]{1,60}$/)]);
const text = z.string().min(1).max(2_000_000);

export const NoteWritten = defineEvent("desk.note_written", { version: 1, data: z.object({ noteId, text }) });
export const NoteLocked = defineEvent("desk.note_locked", { version: 1, data: z.object({ noteId }) });

export class NoteIsLocked extends defineError("desk.note_is_locked", {
  kind: "precondition",
  details: z.object({ noteId: z.string() }),
  message: ({ noteId }) => `The note "${noteId}" is locked.`,
}) {}

const failure = <const Code extends string>(code: Code, kind: ErrorKind) =>
  class extends defineError(code, {
    kind,
    details: z.object({ retryAfterMs: z.number().optional() }),
    message: () => `It failed with ${kind}.`,
  }) {};

/** One error of each kind. */
export const failures = {
  invalid: failure("desk.invalid", "invalid"),
  unauthenticated: failure("desk.unauthenticated", "unauthenticated"),
  forbidden: failure("desk.forbidden", "forbidden"),
  "not-found": failure("desk.not_found", "not-found"),
  conflict: failure("desk.conflict", "conflict"),
  precondition: failure("desk.precondition", "precondition"),
  exhausted: failure("desk.exhausted", "exhausted"),
  unavailable: failure("desk.unavailable", "unavailable"),
  timeout: failure("desk.timeout", "timeout"),
  "unknown-outcome": failure("desk.unknown_outcome", "unknown-outcome"),
  internal: failure("desk.internal", "internal"),
} satisfies Record<ErrorKind, ErrorClass>;

/** Of kind `internal`, and not declared by the operation that throws it. */
export class Undeclared extends failure("desk.undeclared", "internal") {}

const noteState = z.object({ text, locked: z.boolean() });
type NoteEvent = EventOf<typeof NoteWritten> | EventOf<typeof NoteLocked>;

class Note extends AggregateRoot<z.infer<typeof noteState>, NoteEvent> {
  static readonly definition = defineAggregate("note", {
    state: noteState,
    events: [NoteWritten, NoteLocked],
    index: ["locked"],
  });

  write(content: string): void {
    if (this.version > 0 && this.state.locked) throw new NoteIsLocked({ noteId: this.id });
    this.raise(NoteWritten, { noteId: this.id as `note_${string}`, text: content });
  }

  lock(): void {
    if (this.state.locked) throw new NoteIsLocked({ noteId: this.id });
    this.raise(NoteLocked, { noteId: this.id as `note_${string}` });
  }

  protected override evolve(state: z.infer<typeof noteState> | undefined, event: NoteEvent) {
    return event.type === "desk.note_written"
      ? { text: event.data.text, locked: state?.locked ?? false }
      : { ...state!, locked: true };
  }
}

const noteView = z.object({ noteId, text, locked: z.boolean() });
const contract = defineContract(
  "desk",
  {
    write: command({
      input: z.strictObject({ noteId: noteId.optional(), text, meta: z.json().optional() }),
      output: z.object({ noteId }),
      permission: "desk:write",
      http: "POST /notes",
      errors: [NoteIsLocked],
      summary: "Writes a note.",
    }),
    lock: command({
      input: z.strictObject({ noteId }),
      permission: "desk:write",
      http: "POST /notes/{noteId}/lock",
      errors: [NoteIsLocked],
      summary: "Locks a note.",
    }),
    rewrite: command({
      input: z.strictObject({ noteId, text }),
      permission: "desk:write",
      http: "PATCH /notes/{noteId}",
      errors: [NoteIsLocked],
      summary: "Replaces a note's text.",
    }),
    get: query({
      input: z.strictObject({ noteId }),
      output: noteView,
      permission: "desk:read",
      http: "GET /notes/{noteId}",
      summary: "Shows a note.",
    }),
    list: query({
      input: z.strictObject({ ...paging, locked: z.boolean().optional() }),
      output: pageOf(noteView),
      permission: "desk:read",
      http: "GET /notes",
      summary: "Lists notes.",
    }),
    echo: query({
      input: z.strictObject({
        shelf: z.int().describe("The shelf's number."),
        tags: z.array(z.string()).optional(),
        weights: z.array(z.number()).optional(),
        exact: z.boolean().optional(),
        size: z.union([z.literal("all"), z.int()]).optional(),
        text: z.string().optional(),
      }),
      output: z.record(z.string(), z.json()),
      permission: "desk:read",
      http: "GET /shelves/{shelf}/echo",
      summary: "Gives its input back.",
    }),
    sweep: command({
      input: z.strictObject({ shelf: z.int(), dry: z.boolean().default(false) }),
      output: z.object({ shelf: z.int(), dry: z.boolean() }),
      permission: "desk:write",
      http: "DELETE /shelves/{shelf}",
      summary: "Empties a shelf.",
    }),
    print: action({
      input: z.strictObject({ copies: z.int().min(1).default(1) }),
      output: z.object({ printed: z.int() }),
      permission: "desk:print",
      http: "POST /prints",
      summary: "Prints.",
    }),
    fail: action({
      input: z.strictObject({
        kind: z.enum([...(Object.keys(failures) as [ErrorKind]), "undeclared", "unexpected"]),
        retryAfterMs: z.number().optional(),
      }),
      output: z.object({}),
      permission: "desk:print",
      http: "POST /failures/{kind}",
      errors: Object.values(failures),
      summary: "Fails as it is told to.",
    }),
    feed: stream({
      input: z.strictObject({ upTo: z.int().min(0).optional() }),
      output: z.object({ number: z.int(), text: z.string() }),
      permission: "desk:read",
      http: "GET /feed",
      errors: [NoteIsLocked],
      summary: "Counts.",
    }),
    hidden: query({
      input: z.strictObject({}),
      output: z.object({}),
      permission: "desk:read",
      summary: "Has no route.",
    }),
  },
  { events: [NoteWritten, NoteLocked] },
);

export interface Desk extends Readonly<typeof contract> {}
export const desk: Desk = contract;

/** What the handlers reach outside; a test replaces what it wants to decide. */
export interface Outside {
  print(copies: number, signal: AbortSignal): Promise<number>;
  feed(after: number, upTo: number | undefined, signal: AbortSignal): AsyncIterable<number>;
}

export async function* countFrom(after: number, upTo = 3): AsyncIterable<number> {
  for (let number = after + 1; number <= upTo; number += 1) yield number;
}

export function deskContext(outside: Outside) {
  return defineContext(desk, {
    aggregates: [Note],
    handlers: {
      write: async ({ noteId: given, text: content }, ctx) => {
        const id = given ?? (ctx.newId("note") as `note_${string}`);
        const note = (await ctx.tryLoad(Note, id)) ?? ctx.add(new Note(id));
        note.write(content);
        return { noteId: id };
      },
      lock: async (input, ctx) => (await ctx.load(Note, input.noteId)).lock(),
      rewrite: async (input, ctx) => (await ctx.load(Note, input.noteId)).write(input.text),
      get: async (input, ctx) => view(await ctx.load(Note, input.noteId)),
      list: async ({ locked, ...page }, ctx) => {
        const { items, next } = await ctx.find(Note, { ...page, where: { locked } });
        return { items: items.map(view), next };
      },
      echo: (input) => ({ ...input }) as unknown as Record<string, never>,
      sweep: (input) => input,
      print: async ({ copies }, ctx) => ({ printed: await outside.print(copies, ctx.signal) }),
      fail: ({ kind, retryAfterMs }) => {
        if (kind === "unexpected") throw new Error("the canary-7f3 is in this sentence");
        throw new (kind === "undeclared" ? Undeclared : failures[kind])({ retryAfterMs });
      },
      async *feed({ upTo }, ctx) {
        const after = ctx.after === undefined ? 0 : Number(ctx.after.replace("c", ""));
        if (Number.isNaN(after)) throw new NotFound({ type: "cursor", id: ctx.after! });
        for await (const number of outside.feed(after, upTo, ctx.signal))
          yield { cursor: `c${number}`, item: { number, text: `line one\nline ${number}` } };
      },
      hidden: () => ({}),
    },
  });
}

function view(note: Note) {
  return { noteId: note.id as `note_${string}`, ...note.state };
}
