import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { ActivityContext, ExecutionContext, ExecutionDefinition } from "../../kernel/execution.ts";
import type { Executions } from "../../kernel/executions.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import type { Armature } from "../armature.ts";
import { createArmature } from "../create-armature.ts";
import { ExecutionRun } from "./execution-run.ts";

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
        if (text === "bug") throw new TypeError("a bug in the handler");
        const notes = (await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"));
        if (text === "behind two" && notes.state.texts.length < 2) throw new Odd({});
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
  more: { store?: StoreAdapter; clock?: ReturnType<typeof fixedClock>; works?: boolean } = {},
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
    executions: more.works === false ? false : { pollMs: 600_000 },
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" }).trials;
  return { app, acme, clock, logger };
}

/** The store, with executions that do something else. */
function changed(store: StoreAdapter, more: (own: Executions) => Partial<Executions>): StoreAdapter {
  const own = store.executions;
  const given = more(own);
  const executions = new Proxy(own, {
    get: (target, key) => {
      const found = (given as Record<string | symbol, unknown>)[key] ?? (target as never)[key];
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
  return new Proxy(store, {
    get: (target, key) => {
      if (key === "executions") return executions;
      const found = (target as never)[key] as unknown;
      return typeof found === "function" ? (found as () => void).bind(target) : found;
    },
  });
}
const turns = async (count = 50) => {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

test("two joined commands asked together are applied in the order in which the journal has them", async () => {
  const racing = definition(
    "racing",
    { mark: ({ text }: { text: string }) => `marked ${text}` },
    async (ctx) => {
      const marks: string[] = [];
      await Promise.all(
        ["one", "two"].map(async (text) => {
          await ctx.activity("note", { text });
          marks.push(`${text}: ${await ctx.activity("mark", { text })}`);
        }),
      );
      await ctx.waitForSignal("go");
      return marks as never;
    },
    { activities: { note: { operation: "trials.note" } } },
  );
  const { app, acme } = await started([racing]);
  await acme.begin({ id: "r1", definition: "racing" });
  await app.settled();
  await acme.tell({ id: "r1", name: "go" });
  await app.settled();
  const { result } = await acme.look({ id: "r1" });
  expect([...(result as string[])].sort()).toEqual(["one: marked one", "two: marked two"]);
});

test("a joined command with a bug is given up after its last attempt", async () => {
  let tried = 0;
  const buggy = definition("buggy", {}, (ctx) => ctx.activity("note", { text: "bug" }), {
    activities: { note: { operation: "trials.note", retry: { attempts: 2, firstWaitMs: 1 } } },
  });
  const { app, acme, clock, logger } = await started([buggy]);
  await acme.begin({ id: "b1", definition: "buggy" });
  for (let i = 0; i < 30; i += 1) {
    await turns(10);
    await clock.advance(2_000);
  }
  tried = logger.entries.filter(({ message }) => message.includes("gone on with later")).length;
  void app;
  expect({ status: (await acme.look({ id: "b1" })).status, tried: tried <= 2 }).toEqual({
    status: "failed",
    tried: true,
  });
});

test("what an activity came to is written together with what the command after it changes", async () => {
  const mixed = definition(
    "mixed",
    { mark: () => "marked" },
    async (ctx) => {
      await ctx.activity("mark", null);
      await ctx.activity("note", { text: "one" });
      await ctx.activity("mark", null);
      return ctx.activity("note", { text: "two" });
    },
    { activities: { note: { operation: "trials.note" } } },
  );
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  let writes = 0;
  const store = changed(inMemory({ clock }), (own) => ({
    write: (...args) => {
      writes += 1;
      return own.write(...args);
    },
  }));
  const { app, acme } = await started([mixed], { clock, store });
  await acme.begin({ id: "m1", definition: "mixed" });
  await app.settled();
  expect(await acme.look({ id: "m1" })).toMatchObject({
    result: { count: 2 },
    history: ["mark", "note", "mark", "note"].map((name) => `activity ${name}: value`),
  });
  // Its end.
  expect(writes).toBe(1);
});

test("what an activity came to is kept when the command after it comes to nothing", async () => {
  let marked = 0;
  const buggy = definition(
    "buggy",
    {
      mark: () => {
        marked += 1;
        return marked;
      },
    },
    async (ctx) => {
      await ctx.activity("mark", null);
      return ctx.activity("note", { text: "bug" });
    },
    { activities: { note: { operation: "trials.note", retry: { attempts: 3, firstWaitMs: 1_000 } } } },
  );
  const { acme, clock } = await started([buggy]);
  await acme.begin({ id: "b2", definition: "buggy" });
  await turns();
  expect((await acme.look({ id: "b2" })).history).toEqual(["activity mark: value"]);
  for (let i = 0; i < 30; i += 1) {
    await turns(10);
    await clock.advance(2_000);
  }
  expect(await acme.look({ id: "b2" })).toMatchObject({ status: "failed" });
  expect(marked).toBe(1);
});

test("a canceled execution does not try again what had failed and waited for its next attempt", async () => {
  let tried = 0;
  const flaky = definition("flaky", {}, (ctx) => ctx.activity("send", null), {
    activities: {
      send: {
        retry: { firstWaitMs: 60_000 },
        run: () => {
          tried += 1;
          throw new Error("not now");
        },
      },
    },
  });
  const { app, acme, clock } = await started([flaky]);
  await acme.begin({ id: "f1", definition: "flaky" });
  await app.settled();
  expect(tried).toBe(1);
  await acme.stop({ id: "f1" });
  await app.settled();
  const { status } = await acme.look({ id: "f1" });
  await clock.advance(61_000);
  await app.settled();
  expect({ status, tried }).toEqual({ status: "canceled", tried: 1 });
});

test("what is tried again says what it failed with", async () => {
  const flaky = definition("flaky", {}, (ctx) => ctx.activity("send", null), {
    activities: {
      send: {
        retry: { firstWaitMs: 60_000 },
        run: () => {
          throw new Error("not now");
        },
      },
    },
  });
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  const { app, acme } = await started([flaky], { store, clock });
  await acme.begin({ id: "f1", definition: "flaky" });
  await app.settled();
  const found = await (store as never as { execution(s: object, id: string): Promise<{ attempts: object }> }).execution(
    { tenant: "acme", context: "trials" },
    "f1",
  );
  expect(found.attempts).toMatchObject({ "0": { attempts: 1, error: { code: "internal" } } });
});

test("what failed while something else was done beside it cannot be retried: that would be done again", async () => {
  let ok = false;
  let charged = 0;
  let finish = () => {};
  const both = definition(
    "both",
    {
      fails: () => (ok ? null : Promise.reject(new Odd({}))),
      charge: async () => {
        if (charged === 0)
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
        charged += 1;
      },
    },
    async (ctx) => {
      await Promise.all([ctx.activity("fails", null), ctx.activity("charge", null)]);
      return null as never;
    },
  );
  const { app, acme } = await started([both]);
  await acme.begin({ id: "c1", definition: "both" });
  await turns();
  finish();
  await app.settled();
  expect(await acme.look({ id: "c1" })).toMatchObject({
    status: "failed",
    history: ["activity fails: error", "activity charge: value"],
  });
  ok = true;
  await acme.again({ id: "c1" });
  await app.settled();
  expect(await acme.look({ id: "c1" })).toMatchObject({ status: "failed" });
  expect(charged).toBe(1);
});

test("what failed and was answered for cannot be retried; after a retry a call has a key of its own", async () => {
  let ok = false;
  const calls: [string, string][] = [];
  const telling = definition(
    "telling",
    {
      charge: () => (ok ? null : Promise.reject(new Odd({}))),
      post: ({ text }: { text: string }, ctx: ActivityContext) => void calls.push([ctx.idempotencyKey, text]),
    },
    async (ctx) => {
      try {
        await ctx.activity("charge", null);
      } catch (error) {
        await ctx.activity("post", { text: "it failed" });
        throw error;
      }
      await ctx.activity("post", { text: "it went well" });
      return null as never;
    },
  );
  const { app, acme } = await started([telling]);
  await acme.begin({ id: "t1", definition: "telling" });
  await app.settled();
  ok = true;
  await acme.again({ id: "t1" });
  await app.settled();
  expect(calls.map(([, text]) => text)).toEqual(["it failed"]);
  ok = false;
  const keys: string[] = [];
  const plain = definition(
    "plain",
    {
      charge: (_: never, ctx: ActivityContext) => {
        keys.push(ctx.idempotencyKey);
        return ok ? null : Promise.reject(new Odd({}));
      },
    },
    (ctx) => ctx.activity("charge", null),
  );
  const other = await started([plain]);
  await other.acme.begin({ id: "p1", definition: "plain" });
  await other.app.settled();
  ok = true;
  await other.acme.again({ id: "p1" });
  await other.app.settled();
  expect(await other.acme.look({ id: "p1" })).toMatchObject({ status: "completed" });
  expect(keys).toEqual(["acme/trials/p1/0", "acme/trials/p1/0/r1"]);
});

test("a signal that comes while it is let go is not slept over", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  let hold: Promise<void> | undefined;
  let letGo = () => {};
  let finish = () => {};
  const store = changed(inMemory({ clock }), (own) => ({
    async write(context, writes) {
      if (hold !== undefined && writes.some(({ attempts }) => Object.keys(attempts ?? {}).length > 0)) await hold;
      return own.write(context, writes);
    },
  }));
  const waiting = definition(
    "waiting",
    {
      work: async (_: never, ctx: ActivityContext) => {
        hold = new Promise((resolve) => {
          letGo = resolve;
        });
        // Nobody waits for it: it only tells how far it is.
        ctx.heartbeat("half").catch(() => undefined);
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
    },
    async (ctx) => {
      await ctx.activity("work", null);
      return (await ctx.waitForSignal("go")) as never;
    },
  );
  const { app, acme } = await started([waiting], { store, clock });
  await acme.begin({ id: "w1", definition: "waiting" });
  await turns();
  finish();
  await turns();
  await acme.tell({ id: "w1", name: "go", payload: "gone" });
  await turns();
  letGo();
  await turns();
  await app.settled();
  await clock.advance(3_600_000);
  await app.settled();
  expect(await acme.look({ id: "w1" })).toMatchObject({ status: "completed", result: "gone" });
});

test("what was done is not lost with a heartbeat that could not be written", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  let failing = false;
  let quick = 0;
  let beat = () => {};
  const store = changed(inMemory({ clock }), (own) => ({
    async write(context, writes) {
      if (failing && writes.some(({ attempts }) => Object.keys(attempts ?? {}).length > 0)) {
        failing = false;
        throw new Error("the database is away");
      }
      return own.write(context, writes);
    },
  }));
  const pair = definition(
    "pair",
    {
      quick: () => {
        quick += 1;
      },
      slow: async (_: never, ctx: ActivityContext) => {
        if (ctx.attempt > 1) return;
        await new Promise<void>((resolve) => {
          beat = resolve;
        });
        failing = true;
        // How far it is can be told later too.
        await ctx.heartbeat(1).catch(() => undefined);
      },
    },
    async (ctx) => {
      await Promise.all([ctx.activity("quick", null), ctx.activity("slow", null)]);
      await ctx.waitForSignal("go");
      return "done" as never;
    },
  );
  const { app, acme } = await started([pair], { store, clock });
  await acme.begin({ id: "p1", definition: "pair" });
  await turns();
  beat();
  await turns();
  for (let i = 0; i < 5; i += 1) {
    await clock.advance(2_000);
    await turns(10);
  }
  await acme.tell({ id: "p1", name: "go" });
  await turns();
  await app.settled();
  expect({ ...(await acme.look({ id: "p1" })), quick }).toMatchObject({
    status: "completed",
    history: ["activity quick: value", "activity slow: value", "signal go: value"],
    quick: 1,
  });
});

test("a signal whose reading failed is read again", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  let failed = 0;
  let aborted = false;
  const store = changed(inMemory({ clock }), (own) => ({
    async signals(scope, id) {
      failed += 1;
      if (failed === 1) throw new Error("the database is away");
      return own.signals(scope, id);
    },
  }));
  const long = definition("long", {}, (ctx) => ctx.activity("work", null), {
    activities: {
      work: {
        timeoutMs: 3_600_000,
        run: (_: never, ctx: ActivityContext) =>
          new Promise((_resolve, reject) => {
            ctx.signal.addEventListener("abort", () => {
              aborted = true;
              reject(new Error("given up"));
            });
          }),
      },
    },
  });
  const { app, acme } = await started([long], { store, clock });
  await acme.begin({ id: "l1", definition: "long" });
  await turns();
  await acme.stop({ id: "l1" });
  await turns();
  expect(failed).toBe(1);
  for (let i = 0; i < 10; i += 1) {
    await clock.advance(6_000);
    await turns(10);
  }
  const was = aborted;
  void app.close();
  open.splice(0);
  await turns();
  await clock.advance(10_000);
  expect(was).toBe(true);
});

test("one that brings its process down again and again is given up, also after a failed attempt", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  const poison = definition("poison", {}, (ctx) => ctx.activity("work", null), {
    activities: {
      work: {
        run: () => {
          throw new Error("not now");
        },
      },
    },
  });
  const { app, acme } = await started([poison], { store, clock });
  await acme.begin({ id: "x1", definition: "poison" });
  await app.settled();
  await app.close();
  open.splice(0);
  const { ExecutionRun } = await import("./execution-run.ts");
  let taken = 0;
  for (let at = 0; at < 40; at += 1) {
    const worker = `w${at}`;
    const { executions } = await store.executions.take("trials", {
      ...{ worker, ttlMs: 1_000, now: clock.now() + 10_000, limit: 1 },
      definitions: [{ name: "poison", versions: [1] }],
    });
    if (executions.length === 0) break;
    taken += 1;
    await clock.advance(10_000);
    const run = new ExecutionRun(executions[0]!, poison, {
      clock,
      logger: recordingLogger(),
      joins: () => false,
      // Here the process dies.
      attempt: () => new Promise(() => undefined),
      signals: async () => [],
      due: () => {},
      write: async (write) => (await store.executions.write("trials", [write]))[0] === "written",
      end: async (_, write) => (await store.executions.write("trials", [write]))[0] === "written",
    });
    void run.drive();
    await turns(10);
    await store.executions.leave("trials", worker);
  }
  expect(taken).toBeLessThan(25);
});

test("a definition that goes on whatever happens does not hang its process when it is canceled", async () => {
  let rounds = 0;
  const poller = definition("poller", { poll: () => null }, async (ctx) => {
    for (;;) {
      rounds += 1;
      if (rounds > 100_000) throw new Error("the process hangs from here on");
      try {
        await ctx.activity("poll", null);
        await ctx.sleep(1_000);
      } catch {
        // The next time round will do.
      }
    }
  });
  const { app, acme } = await started([poller]);
  await acme.begin({ id: "p1", definition: "poller" });
  await app.settled();
  await acme.stop({ id: "p1" });
  await app.settled();
  expect(rounds).toBeLessThan(10_000);
});

test("with a bound on how many go on at a time the next one begins as soon as there is room", async () => {
  let done = 0;
  const one = definition(
    "one",
    {
      work: () => {
        done += 1;
      },
    },
    (ctx) => ctx.activity("work", null),
    {
      concurrency: 1,
    },
  );
  const { acme } = await started([one]);
  for (let i = 0; i < 4; i += 1) await acme.begin({ id: `o${i}`, definition: "one" });
  await turns(300);
  expect(done).toBe(4);
});

test("what ended long ago is forgotten by the retention's rounds", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  let asked = 0;
  let rounds = 0;
  const store = changed(inMemory({ clock }), () => ({
    async prune() {
      asked += 1;
      return 0;
    },
  }));
  const counted = new Proxy(store, {
    get: (target, key) => {
      const found = (target as never)[key] as unknown;
      if (key === "prune")
        return (...args: unknown[]) => {
          rounds += 1;
          return (found as (...args: unknown[]) => unknown)(...args);
        };
      return found;
    },
  });
  const quick = definition("quick", {}, async () => "done" as never);
  await started([quick], { clock, store: counted });
  for (let i = 0; i < 400 && rounds === 0; i += 1) {
    await clock.advance(60_000);
    await turns(10);
  }
  await turns(100);
  expect({ rounds: rounds > 0, asked: asked > 0 }).toEqual({ rounds: true, asked: true });
});

test("a sleep of a tenth of a second is over after it", async () => {
  const short = definition("short", {}, async (ctx) => {
    await ctx.sleep(100);
    return "done" as never;
  });
  const { acme, clock } = await started([short]);
  await acme.begin({ id: "s1", definition: "short" });
  await turns();
  await clock.advance(200);
  await turns();
  expect((await acme.look({ id: "s1" })).status).toBe("completed");
});

test("a plain activity that ends in the same moment as a joined one keeps the journal's order", async () => {
  const wrong: number[] = [];
  for (let ticks = 0; ticks < 60; ticks += 1) {
    const clock = fixedClock("2026-01-01T00:00:00.000Z");
    const base = inMemory({ clock });
    let committed = () => {};
    const after = new Promise<void>((resolve) => {
      committed = resolve;
    });
    const store = new Proxy(base, {
      get: (target, key) => {
        const found = (target as never)[key] as unknown;
        if (key === "commit")
          return async (...args: unknown[]) => {
            const answer = await (found as (...args: unknown[]) => Promise<unknown>).apply(target, args);
            if (JSON.stringify(args).includes("note.written")) committed();
            return answer;
          };
        return typeof found === "function" ? (found as () => void).bind(target) : found;
      },
    });
    const racing = definition(
      "racing",
      {
        plain: async () => {
          await after;
          for (let i = 0; i < ticks; i += 1) await undefined;
        },
        mark: ({ text }: { text: string }) => text,
      },
      async (ctx) => {
        const marks: boolean[] = [];
        const go = async (activity: string, args: object) => {
          await ctx.activity(activity, args as never);
          marks.push((await ctx.activity("mark", { text: activity })) === activity);
        };
        await Promise.all([go("plain", {}), go("note", { text: "one" })]);
        await ctx.waitForSignal("go");
        return marks as never;
      },
      { activities: { note: { operation: "trials.note" } } },
    );
    const { app, acme } = await started([racing], { clock, store });
    await acme.begin({ id: "r1", definition: "racing" });
    await app.settled();
    await acme.tell({ id: "r1", name: "go" });
    await app.settled();
    const { result } = await acme.look({ id: "r1" });
    if ((result as boolean[]).includes(false)) wrong.push(ticks);
    await app.close();
    open.splice(0);
  }
  expect(wrong).toEqual([]);
});

test("one that was canceled before anything was begun begins nothing", async () => {
  let finish = () => {};
  let charged = 0;
  const one = definition(
    "one",
    {
      work: (args: { charge: boolean }) => {
        if (args.charge) charged += 1;
        else
          return new Promise<void>((resolve) => {
            finish = resolve;
          });
        return undefined;
      },
    },
    (ctx, input: never) => ctx.activity("work", input),
    { concurrency: 1 },
  );
  const { app, acme } = await started([one]);
  await acme.begin({ id: "a", definition: "one", input: { charge: false } });
  await turns();
  await acme.begin({ id: "b", definition: "one", input: { charge: true } });
  await acme.stop({ id: "b" });
  finish();
  await app.settled();
  expect({ ...(await acme.look({ id: "b" })), charged }).toMatchObject({ status: "canceled", charged: 0 });
});

test("an end that cannot be heard is not tried once a second for ever", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const quick = definition("quick", {}, async () => "done" as never, { ended: "note" });
  const { acme, logger } = await started([quick], { clock });
  await acme.begin({ id: "q1", definition: "quick" });
  for (let i = 0; i < 120; i += 1) {
    await turns(5);
    await clock.advance(1_000);
  }
  const tried = logger.entries.filter(({ message }) => message.includes("gone on with later")).length;
  expect(tried).toBeLessThan(30);
});

test("while a commit is under way and a time has come the worker does not spin", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const own = clock.sleep;
  let slept = 0;
  let commit = () => {};
  (clock as { sleep: typeof own }).sleep = (ms, signal) => {
    if (ms <= 0) {
      slept += 1;
      return new Promise((resolve) => setImmediate(resolve));
    }
    return own(ms, signal);
  };
  const base = inMemory({ clock });
  const store = new Proxy(base, {
    get: (target, key) => {
      const found = (target as never)[key] as unknown;
      if (key === "commit")
        return async (...args: unknown[]) => {
          if (JSON.stringify(args).includes("slow one"))
            await new Promise<void>((resolve) => {
              commit = resolve;
            });
          return (found as (...args: unknown[]) => unknown).apply(target, args);
        };
      return typeof found === "function" ? (found as () => void).bind(target) : found;
    },
  });
  const racing = definition(
    "racing",
    {},
    async (ctx) => {
      await Promise.all([ctx.activity("note", { text: "slow one" }), ctx.sleep(100)]);
      return null as never;
    },
    { activities: { note: { operation: "trials.note" } } },
  );
  const { app, acme } = await started([racing], { store, clock });
  await acme.begin({ id: "s1", definition: "racing" });
  await turns();
  await clock.advance(200);
  await turns(300);
  commit();
  await app.settled();
  expect(slept).toBeLessThan(20);
});

test("an application that closes keeps what it still works on, however short its lease", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const base = inMemory({ clock });
  const store = new Proxy(base, {
    get: (target, key) => {
      if (key === "close") return async () => undefined;
      const found = (target as never)[key] as unknown;
      return typeof found === "function" ? (found as () => void).bind(target) : found;
    },
  });
  let began = 0;
  let finish = () => {};
  const long = definition(
    "long",
    {
      work: () => {
        began += 1;
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
    },
    (ctx) => ctx.activity("work", null),
  );
  const app = () =>
    createArmature({
      ...{ store, clock, logger: recordingLogger(), authorizer: () => true, contexts: [context([long])] },
      keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
      executions: { pollMs: 500, leaseMs: 1_000 },
    });
  const first = await app();
  await first.as({ tenant: "acme", user: "ann" }).trials.begin({ id: "l1", definition: "long" });
  await turns();
  const second = await app();
  const closing = first.close();
  for (let i = 0; i < 8; i += 1) {
    await clock.advance(500);
    await turns(10);
  }
  const counted = began;
  finish();
  const closed = second.close();
  for (let i = 0; i < 40; i += 1) {
    await clock.advance(500);
    await turns(10);
    finish();
  }
  await Promise.all([closing, closed]);
  expect(counted).toBe(1);
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

test("the result of a repeatable activity is written with what follows, any other's before it", async () => {
  const written = async (repeatable: boolean) => {
    const clock = fixedClock("2026-01-01T00:00:00.000Z");
    const store = inMemory({ clock });
    const reading = definition("reading", {}, async (ctx) => {
      await ctx.activity("look", null);
      await ctx.activity("act", null);
    });
    const activities = { look: { run: () => null, repeatable }, act: { run: () => null, changesNothing: true } };
    const { acme } = await started([{ ...reading, activities }], { store, clock, works: false });
    await acme.begin({ id: "r1", definition: "reading" });
    const { executions } = await store.executions.take("trials", {
      ...{ worker: "w1", ttlMs: 1_000, now: clock.now(), limit: 1 },
      definitions: [{ name: "reading", versions: [1] }],
    });
    const run = new ExecutionRun(
      executions[0]!,
      { ...reading, activities },
      {
        ...{ clock, logger: recordingLogger(), joins: () => false, due: () => {}, signals: async () => [] },
        // Here the process dies.
        attempt: ({ name }) => (name === "look" ? Promise.resolve(1) : new Promise(() => undefined)),
        write: async (write) => (await store.executions.write("trials", [write]))[0] === "written",
        end: async (_, write) => (await store.executions.write("trials", [write]))[0] === "written",
      },
    );
    void run.drive();
    await turns(10);
    return (await acme.look({ id: "r1" })).history;
  };
  expect(await written(true)).toEqual([]);
  expect(await written(false)).toEqual(["activity look: value"]);
});

test("what a command of an execution has left is not loaded for the next one, and what others have made of it counts", async () => {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  let loads = 0;
  const counted = new Proxy(store, {
    get: (target, key) => {
      if (key === "load") loads += 1;
      const found = (target as never)[key] as unknown;
      return typeof found === "function" ? (found as () => void).bind(target) : found;
    },
  });
  const noting = definition(
    "noting",
    {},
    async (ctx) => {
      await ctx.activity("note", { text: "one" });
      await ctx.waitForSignal("go");
      const refused = ctx.activity("note", { text: "behind two" });
      const counts = [(await refused) as never, await ctx.activity("note", { text: "four" })];
      await ctx.waitForSignal("on");
      return [...counts, await ctx.activity("note", { text: "six" })] as never;
    },
    { activities: { note: { operation: "trials.note" } } },
  );
  const { app, acme } = await started([noting], { store: counted, clock });
  const other = await started([noting], { store, clock, works: false });
  await acme.begin({ id: "n1", definition: "noting" });
  await app.settled();
  await other.acme.note({ text: "two" });
  await acme.tell({ id: "n1", name: "go" });
  loads = 0;
  await app.settled();
  // Once, for what was refused on account of what was remembered.
  expect(loads).toBe(1);
  await other.acme.note({ text: "five" });
  await acme.tell({ id: "n1", name: "on" });
  await app.settled();
  expect(await acme.look({ id: "n1" })).toMatchObject({
    status: "completed",
    result: [{ count: 3 }, { count: 4 }, { count: 6 }],
  });
  expect((await acme.notes({})).slice(0, 6)).toEqual(["one", "two", "behind two", "four", "five", "six"]);
});
