import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import type { ExecutionDefinition } from "../../kernel/execution.ts";
import type { ExecutionWrite } from "../../kernel/executions.ts";
import type { Json } from "../../kernel/schema.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import type { Armature } from "../armature.ts";
import { createArmature } from "../create-armature.ts";

const value = z.json();
const trials = defineContract("trials", {
  begin: command({ input: z.strictObject({ id: z.string() }), permission: "trials:write", summary: "Begins one." }),
  tell: command({
    input: z.strictObject({ id: z.string(), name: z.string() }),
    permission: "trials:write",
    summary: "Signals one.",
  }),
  look: query({
    input: z.strictObject({ id: z.string() }),
    output: z.strictObject({ status: z.string(), end: value, history: z.array(z.string()) }),
    permission: "trials:read",
    summary: "Looks at one.",
  }),
});
const context = (definition: ExecutionDefinition) =>
  defineContext(trials, {
    executions: [definition],
    handlers: {
      begin: ({ id }, ctx) => ctx.executions.start({ name: "trial", version: 1 }, id, null),
      tell: ({ id, name }, ctx) => ctx.executions.signal(id, name, null),
      look: async ({ id }, ctx) => {
        const found = await ctx.executions.get(id);
        const { items } = await ctx.executions.history(id);
        return {
          status: found?.status ?? "unknown",
          end: (found?.end ?? null) as never,
          history: items.map(({ name, outcome }) => `${name}: ${outcome.type}`),
        };
      },
    },
  });

const open: Armature[] = [];
const end: (() => void)[] = [];
afterEach(async () => {
  for (const each of end.splice(0)) each();
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  given: Pick<ExecutionDefinition, "activities" | "run">,
  more: { store?: StoreAdapter; clock?: ReturnType<typeof fixedClock> } = {},
) {
  const clock = more.clock ?? fixedClock("2026-01-01T00:00:00.000Z");
  const store = more.store ?? inMemory({ clock });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), authorizer: () => true },
    contexts: [context({ name: "trial", version: 1, ...given })],
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
    executions: { pollMs: 600_000 },
  });
  open.push(app);
  return { app, acme: app.as({ tenant: "acme", user: "ann" }).trials, clock, store };
}

/** The store, as a process sees it whose writes of executions come to nothing from some moment on: it has died. */
function dying(store: StoreAdapter): { readonly store: StoreAdapter; die(): void; readonly writes: ExecutionWrite[] } {
  let dead = false;
  const writes: ExecutionWrite[] = [];
  const own = store.executions;
  const executions = new Proxy(own, {
    get: (target, key) => {
      const found = (target as never)[key] as unknown;
      if (typeof found !== "function") return found;
      return (...args: unknown[]) => {
        if (dead) return Promise.reject(new Error("It has died."));
        if (key === "write") writes.push(...(args[1] as ExecutionWrite[]));
        return (found as (...given: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const proxy = new Proxy(store, {
    get: (target, key) => {
      if (key === "executions") return executions;
      const found = (target as never)[key] as unknown;
      return typeof found === "function" ? (found as () => void).bind(target) : found;
    },
  });
  return {
    store: proxy,
    die: () => {
      dead = true;
    },
    writes,
  };
}
/** For the rest of its test. */
const hang = () => new Promise<void>((resolve) => end.push(resolve));
const turns = async (count = 50) => {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

test("what is done on account of something that is only read is done once, under one key, whoever goes on with it", async () => {
  const done: string[] = [];
  let hangs = true;
  const trial = {
    activities: {
      read: { repeatable: true, run: () => "read" },
      book: {
        run: async ({ what }: { what: string }, { idempotencyKey }: { idempotencyKey: string }) => {
          done.push(`${what} ${idempotencyKey}`);
          if (hangs) await hang();
          return what;
        },
      },
    },
    run: async (ctx: Parameters<ExecutionDefinition["run"]>[0]) => {
      const approved = ctx.waitForSignal("approved").then(() => ctx.activity("book", { what: "flight" }));
      const looked = ctx.activity("read", null).then(() => ctx.activity("book", { what: "hotel" }));
      await Promise.all([approved, looked]);
      return null as Json;
    },
  } as Pick<ExecutionDefinition, "activities" | "run">;
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  const first = dying(store);
  const one = await started(trial, { store: first.store, clock });
  await one.acme.begin({ id: "t1" });
  await turns();
  expect(done).toHaveLength(1);
  first.die();
  hangs = false;
  await one.acme.tell({ id: "t1", name: "approved" });
  const two = await started(trial, { store, clock });
  for (let i = 0; i < 10; i += 1) {
    await clock.advance(60_000);
    await turns();
  }
  expect((await two.acme.look({ id: "t1" })).status).toBe("completed");
  const hotel = [...new Set(done.filter((each) => each.startsWith("hotel")))];
  expect(hotel).toHaveLength(1);
}, 30_000);

test("an attempt that has failed is written down before the next one, also while something else is under way", async () => {
  let tried = 0;
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const { store, writes } = dying(inMemory({ clock }));
  const known: number[] = [];
  const { acme } = await started(
    {
      activities: {
        long: { timeoutMs: 3_600_000, run: hang },
        flaky: {
          retry: { attempts: 3, firstWaitMs: 1_000 },
          run: () => {
            tried += 1;
            known.push(writes.at(-1)?.attempts?.["1"]?.attempts ?? 0);
            throw new Error("not now");
          },
        },
      },
      run: async (ctx) => {
        await Promise.all([ctx.activity("long", null), ctx.activity("flaky", null)]);
        return null;
      },
    },
    { store, clock },
  );
  await acme.begin({ id: "t2" });
  for (let i = 0; i < 10; i += 1) {
    await turns();
    await clock.advance(1_000);
  }
  expect({ tried, known }).toEqual({ tried: 3, known: [0, 1, 2] });
});

test("a definition may change what it was given: the journal has what there was, on every store", async () => {
  const { app, acme, clock } = await started({
    activities: { list: { run: () => ["a"] } },
    run: async (ctx) => {
      const list = (await ctx.activity("list", null)) as string[];
      list.push("b");
      await ctx.sleep(1_000);
      return list;
    },
  });
  await acme.begin({ id: "t3" });
  await app.settled();
  await clock.advance(2_000);
  await app.settled();
  expect((await acme.look({ id: "t3" })).end).toMatchObject({ status: "completed", result: ["a", "b"] });
});
