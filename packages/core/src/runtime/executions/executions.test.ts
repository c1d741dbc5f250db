import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { ActivityContext, ExecutionContext, ExecutionDefinition } from "../../kernel/execution.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import type { Armature } from "../armature.ts";
import { createArmature } from "../create-armature.ts";

const Noted = defineEvent("note.written", { version: 1, data: z.strictObject({ text: z.string() }) });
class Notes extends AggregateRoot<{ readonly texts: readonly string[] }, EventOf<typeof Noted>> {
  static readonly definition = defineAggregate("notes", {
    state: z.strictObject({ texts: z.array(z.string()) }),
    events: [Noted],
  });
  write(text: string) {
    this.raise(Noted, { text });
  }
  protected override evolve(state: { readonly texts: readonly string[] } | undefined, event: EventOf<typeof Noted>) {
    return { texts: [...(state?.texts ?? []), event.data.text] };
  }
}
class Odd extends defineError("trials.odd", { kind: "precondition", details: z.object({}), message: () => "Odd." }) {}

const value = z.json();
const trials = defineContract(
  "trials",
  {
    begin: command({
      input: z.strictObject({
        id: z.string(),
        definition: z.string(),
        version: z.int().default(1),
        input: value.default(null),
      }),
      permission: "trials:write",
      summary: "Begins an execution.",
    }),
    tell: command({
      input: z.strictObject({ id: z.string(), name: z.string(), payload: value.default(null) }),
      permission: "trials:write",
      summary: "Signals an execution.",
    }),
    stop: command({ input: z.strictObject({ id: z.string() }), permission: "trials:write", summary: "Cancels one." }),
    again: command({ input: z.strictObject({ id: z.string() }), permission: "trials:write", summary: "Retries one." }),
    note: command({
      input: z.strictObject({ text: z.string() }),
      output: z.strictObject({ count: z.number() }),
      permission: "trials:write",
      summary: "Writes a note.",
      errors: [Odd],
    }),
    notes: query({
      input: z.strictObject({}),
      output: z.array(z.string()),
      permission: "trials:read",
      summary: "Notes.",
    }),
    ended: command({
      input: z.strictObject({
        executionId: z.string(),
        status: z.string(),
        result: value.optional(),
        error: value.optional(),
      }),
      permission: "internal",
      summary: "Hears of an end.",
    }),
    look: query({
      input: z.strictObject({ id: z.string() }),
      output: z.strictObject({ status: z.string(), result: value, error: value, history: z.array(z.string()) }),
      permission: "trials:read",
      summary: "Looks at one.",
    }),
  },
  { events: [Noted] },
);

const context = (executions: readonly ExecutionDefinition[]) =>
  defineContext(trials, {
    aggregates: [Notes],
    executions,
    handlers: {
      begin: ({ id, definition, version, input }, ctx) =>
        ctx.executions.start({ name: definition, version }, id, input),
      tell: ({ id, name, payload }, ctx) => ctx.executions.signal(id, name, payload),
      stop: ({ id }, ctx) => ctx.executions.cancel(id, "no longer wanted"),
      again: ({ id }, ctx) => ctx.executions.retry(id),
      note: async ({ text }, ctx) => {
        if (text === "odd") throw new Odd({});
        const notes = (await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"));
        notes.write(text);
        return { count: notes.state.texts.length };
      },
      notes: async (_, ctx) => [...((await ctx.tryLoad(Notes, "all"))?.state.texts ?? [])],
      ended: async ({ executionId, status }, ctx) => {
        const notes = (await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"));
        notes.write(`${executionId} ${status}`);
      },
      look: async ({ id }, ctx) => {
        const found = await ctx.executions.get(id);
        const { items } = await ctx.executions.history(id);
        const end = found?.end;
        return {
          status: found?.status ?? "unknown",
          result: end?.status === "completed" ? ((end.result ?? null) as never) : null,
          error:
            end !== undefined && end.status !== "completed"
              ? { code: end.error.code, message: end.error.message }
              : null,
          history: items.map(({ kind, name, outcome }) => `${kind} ${name}: ${outcome.type}`),
        };
      },
    },
  });

type Activities = Record<string, (args: never, ctx: ActivityContext) => unknown>;

function definition(
  name: string,
  activities: Activities,
  run: (ctx: ExecutionContext, input: never) => Promise<unknown>,
  more: Partial<ExecutionDefinition> = {},
): ExecutionDefinition {
  const wrapped = Object.fromEntries(Object.entries(activities).map(([each, does]) => [each, { run: does }]));
  return { name, version: 1, activities: { ...wrapped, ...more.activities }, run: run as never, ...omit(more) };
}
const omit = ({ activities: _, ...rest }: Partial<ExecutionDefinition>) => rest;

const open: Armature[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  definitions: readonly ExecutionDefinition[],
  more: { store?: StoreAdapter; clock?: ReturnType<typeof fixedClock> } = {},
) {
  const clock = more.clock ?? fixedClock("2026-01-01T00:00:00.000Z");
  const logger = recordingLogger();
  const app = await createArmature({
    store: more.store ?? inMemory({ clock }),
    clock,
    logger,
    authorizer: () => true,
    contexts: [context(definitions)],
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
    executions: { pollMs: 600_000 },
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" }).trials;
  return { app, acme, clock, logger };
}

test("an execution does its activities in order and keeps its result", async () => {
  const done: string[] = [];
  const greet = definition(
    "greet",
    {
      hello: ({ name }: { name: string }) => {
        done.push(name);
        return `hello ${name}`;
      },
    },
    async (ctx, { names }: { names: string[] }) => {
      const said = [];
      for (const name of names) said.push(await ctx.activity("hello", { name }));
      return said as never;
    },
  );
  const { app, acme } = await started([greet]);
  await acme.begin({ id: "g1", definition: "greet", input: { names: ["a", "b", "c"] } });
  await app.settled();
  expect(await acme.look({ id: "g1" })).toMatchObject({
    status: "completed",
    result: ["hello a", "hello b", "hello c"],
  });
  expect(done).toEqual(["a", "b", "c"]);
});

test("an activity that is a command changes the store in one commit with its result, and the end is heard", async () => {
  const noting = definition(
    "noting",
    {},
    async (ctx) => {
      await Promise.all([ctx.activity("note", { text: "one" }), ctx.activity("note", { text: "two" })]);
      return ctx.activity("note", { text: "three" });
    },
    { activities: { note: { operation: "trials.note" } }, ended: "ended" },
  );
  const { app, acme } = await started([noting]);
  await acme.begin({ id: "n1", definition: "noting" });
  await app.settled();
  expect(await acme.look({ id: "n1" })).toMatchObject({ status: "completed", result: { count: 3 } });
  expect(await acme.notes({})).toEqual(["one", "two", "three", "n1 completed"]);
});

test("it sleeps and waits for signals without being held, and a signal that comes early counts", async () => {
  const waiting = definition("waiting", {}, async (ctx) => {
    const early = await ctx.waitForSignal("early");
    await ctx.sleep(60_000);
    const late = await ctx.waitForSignal("late", { timeoutMs: 1_000 });
    const never = await ctx.waitForSignal("never", { timeoutMs: 5_000 });
    return { early, late, never: never ?? "none", now: ctx.now() } as never;
  });
  const { app, acme, clock } = await started([waiting]);
  await acme.begin({ id: "w1", definition: "waiting" });
  await acme.tell({ id: "w1", name: "late", payload: 2 });
  await app.settled();
  await acme.tell({ id: "w1", name: "early", payload: 1 });
  await acme.tell({ id: "w1", name: "early", payload: 99 });
  await app.settled();
  await clock.advance(59_999);
  await app.settled();
  expect((await acme.look({ id: "w1" })).history).toEqual(["signal early: value"]);
  await clock.advance(1);
  await app.settled();
  await clock.advance(5_000);
  await app.settled();
  expect(await acme.look({ id: "w1" })).toMatchObject({
    status: "completed",
    result: { early: 1, late: 2, never: "none", now: Date.parse("2026-01-01T00:01:05.000Z") },
  });
});

test("a passing failure is tried again with growing waits, over other processes too; a definite one is not", async () => {
  let tries = 0;
  const keys = new Set<string>();
  const flaky = definition(
    "flaky",
    {
      wobble: (_: never, ctx) => {
        keys.add(ctx.idempotencyKey);
        tries += 1;
        if (tries < 4) throw new Error("not yet");
        return ctx.attempt;
      },
      odd: (_: never, ctx) => ctx.use(trials).note({ text: "odd" }),
    },
    async (ctx) => {
      const attempt = await ctx.activity("wobble", null);
      const code = await ctx.activity("odd", null).catch((error: { code: string }) => error.code);
      return { attempt, code } as never;
    },
  );
  const { app, acme, clock } = await started([flaky]);
  await acme.begin({ id: "f1", definition: "flaky" });
  for (const wait of [1_000, 2_000, 4_000]) {
    await app.settled();
    await clock.advance(wait - 1);
    await app.settled();
    const before = tries;
    await clock.advance(1);
    await app.settled();
    expect(tries).toBe(before + 1);
  }
  expect(await acme.look({ id: "f1" })).toMatchObject({
    status: "completed",
    result: { attempt: 4, code: "trials.odd" },
  });
  expect(keys.size).toBe(1);
});

test("what failed for good is undone in reverse, and cannot be retried then", async () => {
  const log: string[] = [];
  const saga = definition(
    "saga",
    {
      book: ({ what }: { what: string }) => {
        log.push(`book ${what}`);
        if (what === "car") throw new Odd({});
        return `${what}-1`;
      },
      cancel: ({ id }: { id: string }) => void log.push(`cancel ${id}`),
    },
    async (ctx) => {
      for (const what of ["flight", "hotel", "car"])
        await ctx.activity("book", { what }, { compensate: (id: string) => ({ activity: "cancel", args: { id } }) });
      return null;
    },
  );
  const { app, acme } = await started([saga]);
  await acme.begin({ id: "s1", definition: "saga" });
  await app.settled();
  expect(log).toEqual(["book flight", "book hotel", "book car", "cancel hotel-1", "cancel flight-1"]);
  expect(await acme.look({ id: "s1" })).toMatchObject({ status: "failed", error: { code: "trials.odd" } });
  await acme.again({ id: "s1" });
  await app.settled();
  expect(await acme.look({ id: "s1" })).toMatchObject({ status: "failed" });
  expect(log).toHaveLength(5);
});

test("one that is canceled while it waits undoes what it did", async () => {
  const log: string[] = [];
  const patient = definition(
    "patient",
    { reserve: () => void log.push("reserve"), free: () => void log.push("free") },
    async (ctx) => {
      await ctx.activity("reserve", null, { compensate: () => ({ activity: "free", args: null }) });
      await ctx.waitForSignal("paid");
      return null;
    },
  );
  const { app, acme } = await started([patient]);
  await acme.begin({ id: "p1", definition: "patient" });
  await app.settled();
  await acme.stop({ id: "p1" });
  await app.settled();
  expect(log).toEqual(["reserve", "free"]);
  expect(await acme.look({ id: "p1" })).toMatchObject({
    status: "canceled",
    error: { message: "The execution was canceled: no longer wanted" },
    history: ["activity reserve: value", "cancel : value", "compensation free: value"],
  });
});

test("one that failed goes on from before what made it fail", async () => {
  let broken = true;
  const log: string[] = [];
  const mended = definition(
    "mended",
    {
      first: () => void log.push("first"),
      second: () => {
        log.push("second");
        if (broken) throw new Odd({});
        return "fine";
      },
    },
    async (ctx) => {
      await ctx.activity("first", null);
      return ctx.activity("second", null);
    },
  );
  const { app, acme } = await started([mended]);
  await acme.begin({ id: "m1", definition: "mended" });
  await app.settled();
  expect(await acme.look({ id: "m1" })).toMatchObject({ status: "failed" });
  broken = false;
  await acme.again({ id: "m1" });
  await app.settled();
  expect(await acme.look({ id: "m1" })).toMatchObject({ status: "completed", result: "fine" });
  expect(log).toEqual(["first", "second", "second"]);
});

describe("a definition that has changed under an execution fails loudly and names the activity", () => {
  const run = (names: readonly string[]) => async (ctx: ExecutionContext) => {
    for (const name of names) await ctx.activity(name, null);
    await ctx.waitForSignal("go");
    return null;
  };
  const all = { charge: () => 1, ship: () => 2, thank: () => 3 };
  test.each([
    ["renamed", ["bill", "ship"], { ...all, bill: () => 1 }, "charge"],
    ["removed", ["charge"], all, "ship"],
    ["moved", ["ship", "charge"], all, "charge"],
  ])("%s", async (_, names, activities, named) => {
    const clock = fixedClock("2026-01-01T00:00:00.000Z");
    const store = inMemory({ clock });
    const before = await started([definition("order", all, run(["charge", "ship"]))], { store, clock });
    await before.acme.begin({ id: "o1", definition: "order" });
    await before.app.settled();
    await before.app.close();
    open.splice(0);
    const after = await started([definition("order", activities, run(names))], { store, clock });
    await after.acme.tell({ id: "o1", name: "go" });
    await after.app.settled();
    const seen = await after.acme.look({ id: "o1" });
    expect(seen).toMatchObject({ status: "failed", error: { code: "execution.diverged" } });
    expect((seen.error as { message: string }).message).toContain(`"${named}"`);
  });
});

test("branches that go on side by side are repeated in the order in which they went", async () => {
  const log: string[] = [];
  const branches = definition("branches", { work: ({ name }: { name: string }) => name }, async (ctx) => {
    const branch = async (name: string, rounds: number) => {
      for (let round = 0; round < rounds; round += 1) {
        log.push(`${name}${round}`);
        await ctx.activity("work", { name: `${name}${round}` });
        if (name === "b") await ctx.waitForSignal(`go${round}`);
      }
    };
    await Promise.all([branch("a", 3), branch("b", 2), branch("c", 3)]);
    return "all";
  });
  const { app, acme } = await started([branches]);
  await acme.begin({ id: "b1", definition: "branches" });
  await app.settled();
  await acme.tell({ id: "b1", name: "go1" });
  await app.settled();
  await acme.tell({ id: "b1", name: "go0" });
  await app.settled();
  expect(await acme.look({ id: "b1" })).toMatchObject({ status: "completed", result: "all" });
});
