import type { ExecutionContext } from "@armature/core";
import { expect, vi } from "vitest";
import { definition, type ExecutionEngineSetup, onEngine, Refused, trials } from "./execution-engine-fixture.ts";
import { fresh } from "./expectations.ts";
import type { RegisterTest } from "./suite.ts";

export function registerEngineTests(register: RegisterTest, setup: () => ExecutionEngineSetup): void {
  const { test, serving } = onEngine(register, setup);

  test("activities are done in order, and the result is kept", async () => {
    const done: string[] = [];
    const greet = definition(
      fresh("greet"),
      {
        hello: ({ name }: { name: string }) => {
          done.push(name);
          return `hello ${name}`;
        },
      },
      async (ctx, { names }: { names: string[] }) => {
        const said: unknown[] = [];
        for (const name of names) said.push(await ctx.activity("hello", { name }));
        return said;
      },
    );
    const { calls, until } = await serving([greet]);
    await calls.begin({ id: "g1", definition: greet.name, input: { names: ["a", "b", "c"] } });
    const { result, history } = await until("g1", "completed");
    expect(result).toEqual(["hello a", "hello b", "hello c"]);
    expect(history).toEqual(Array.from({ length: 3 }, () => "activity hello: value"));
    expect(done).toEqual(["a", "b", "c"]);
  });

  test("what is begun twice goes on once, and each tenant has its own", async () => {
    let done = 0;
    const counted = definition(fresh("counted"), { count: () => (done += 1) }, (ctx) => ctx.activity("count", null));
    const { calls, until, app } = await serving([counted]);
    const other = app.as({ tenant: fresh("t"), user: "ann" }).trials;
    const begin = { id: "same", definition: counted.name };
    await Promise.all([calls.begin(begin), calls.begin(begin)]);
    await until("same", "completed");
    expect(await other.look({ id: "same" })).toMatchObject({ status: "unknown", history: [] });
    await calls.begin(begin);
    await other.begin(begin);
    await vi.waitFor(async () => expect(await other.look({ id: "same" })).toMatchObject({ status: "completed" }));
    expect(done).toBe(2);
  });

  test("what a refused command wanted to begin is not begun", async () => {
    let done = 0;
    const never = definition(fresh("never"), { count: () => (done += 1) }, (ctx) => ctx.activity("count", null));
    const { calls, until } = await serving([never]);
    await expect(calls.beginAndFail({ id: "n1", definition: never.name })).rejects.toThrow(Refused);
    await calls.begin({ id: "n2", definition: never.name });
    await until("n2", "completed");
    expect(await calls.look({ id: "n1" })).toMatchObject({ status: "unknown" });
    expect(done).toBe(1);
  });

  test("commands as activities change the store once, and the context hears of the end once", async () => {
    const noting = definition(
      fresh("noting"),
      {},
      async (ctx) => {
        await Promise.all(["one", "two"].map((text) => ctx.activity("note", { text })));
        const code = await ctx.activity("note", { text: "refused" }).catch((error: { code: string }) => error.code);
        return { code, ...((await ctx.activity("note", { text: "three" })) as object) };
      },
      { activities: { note: { operation: "trials.note" } }, ended: "ended" },
    );
    const { calls, until } = await serving([noting]);
    await calls.begin({ id: "n1", definition: noting.name });
    expect((await until("n1", "completed")).result).toEqual({ code: "trials.refused", count: 3 });
    const notes = await calls.notes({});
    expect(notes.slice(0, 2).sort()).toEqual(["one", "two"]);
    expect(notes.slice(2)).toEqual(["three", "n1 completed"]);
  });

  test("a passing failure is tried again under the same key, and knows how far the last attempt was", async () => {
    const seen: { attempt: number; key: string; progress: unknown }[] = [];
    const flaky = definition(fresh("flaky"), {}, (ctx) => ctx.activity("wobble", { n: 1 }), {
      activities: {
        wobble: {
          retry: { attempts: 4, firstWaitMs: 5 },
          run: async (_: never, { attempt, idempotencyKey, progress, heartbeat }) => {
            seen.push({ attempt, key: idempotencyKey, progress });
            await heartbeat({ at: attempt });
            if (attempt < 3) throw new Error("not yet");
            return attempt;
          },
        },
      },
    });
    const { calls, until } = await serving([flaky]);
    await calls.begin({ id: "f1", definition: flaky.name });
    expect((await until("f1", "completed")).result).toBe(3);
    expect(seen.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
    expect(seen[2]!.progress).toEqual({ at: expect.any(Number) });
  });

  test("after its last attempt, or a definite failure, the definition gets the error with its code", async () => {
    let wobbles = 0;
    const failing = definition(
      fresh("failing"),
      {
        refuse: (_: never, ctx) => ctx.use(trials).note({ text: "refused" }),
        coded: () => {
          throw new Refused({});
        },
      },
      async (ctx) => {
        const caught: string[] = [];
        for (const name of ["refuse", "coded", "wobble"])
          await ctx.activity(name, null).catch((error: { code: string }) => caught.push(error.code));
        return caught;
      },
      {
        activities: {
          wobble: {
            retry: { attempts: 3, firstWaitMs: 5 },
            run: () => {
              wobbles += 1;
              throw new Error("never");
            },
          },
        },
      },
    );
    const { calls, until } = await serving([failing]);
    await calls.begin({ id: "f1", definition: failing.name });
    expect((await until("f1", "completed")).result).toEqual(["trials.refused", "trials.refused", "internal"]);
    expect(wobbles).toBe(3);
  });

  test("an attempt that takes too long, or is silent for too long, is given up", async () => {
    const aborted: string[] = [];
    const hang = (name: string) => (_: never, ctx: { readonly signal: AbortSignal }) =>
      new Promise((_resolve, reject) => {
        ctx.signal.addEventListener("abort", () => {
          aborted.push(name);
          reject(ctx.signal.reason);
        });
      });
    const retry = { attempts: 1 };
    const slow = definition(
      fresh("slow"),
      {},
      async (ctx) => {
        const codes: string[] = [];
        for (const name of ["long", "silent"])
          await ctx.activity(name, null).catch((error: { code: string }) => codes.push(error.code));
        return codes;
      },
      {
        activities: {
          long: { retry, timeoutMs: 50, run: hang("long") },
          silent: { retry, heartbeatTimeoutMs: 50, run: hang("silent") },
        },
      },
    );
    const { calls, until } = await serving([slow]);
    await calls.begin({ id: "s1", definition: slow.name });
    const timedOut = "execution.activity_timed_out";
    expect((await until("s1", "completed")).result).toEqual([timedOut, timedOut]);
    expect(aborted).toEqual(["long", "silent"]);
  });

  test("a signal that comes early counts, the first of its name wins, and one that does not come is not waited for", async () => {
    const waiting = definition(fresh("waiting"), {}, async (ctx) => {
      const early = await ctx.waitForSignal("early");
      const late = await ctx.waitForSignal("late");
      const never = (await ctx.waitForSignal("never", { timeoutMs: 30 })) ?? "none";
      return { early, late, never };
    });
    const { calls, until, untilLength } = await serving([waiting]);
    await calls.begin({ id: "w1", definition: waiting.name });
    await calls.tell({ id: "w1", name: "late", payload: 2 });
    // What is sent apart may come apart.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await calls.tell({ id: "w1", name: "late", payload: 3 });
    await calls.tell({ id: "w1", name: "early", payload: 1 });
    await untilLength("w1", 2);
    expect((await until("w1", "completed")).result).toEqual({ early: 1, late: 2, never: "none" });
  });

  test("it sleeps, and its time and its ids are the same whenever it is repeated", async () => {
    const seen: unknown[] = [];
    const clocked = definition(fresh("clocked"), { wait: () => null }, async (ctx) => {
      const first = { now: ctx.now(), id: ctx.uuid() };
      await ctx.sleep(30);
      const second = { now: ctx.now(), id: ctx.uuid() };
      await ctx.activity("wait", null);
      seen.push({ first, second });
      await ctx.waitForSignal("go");
      return { first, second } as never;
    });
    const before = await serving([clocked]);
    await before.calls.begin({ id: "c1", definition: clocked.name });
    await before.untilLength("c1", 2);
    await before.close();
    const after = await serving([clocked], before.tenant);
    await after.calls.tell({ id: "c1", name: "go" });
    const { result } = await after.until("c1", "completed");
    expect(seen.length).toBeGreaterThanOrEqual(2);
    for (const each of seen) expect(each).toEqual(result);
    const { first, second } = result as Record<"first" | "second", { now: number; id: string }>;
    expect(second.now).toBeGreaterThanOrEqual(first.now + 30);
    expect(second.id).not.toBe(first.id);
  });

  test("branches that go on side by side are repeated in the order in which they went", async () => {
    const branches = definition(fresh("branches"), { work: ({ name }: { name: string }) => name }, async (ctx) => {
      const order: string[] = [];
      const branch = async (name: string, rounds: number) => {
        for (let round = 0; round < rounds; round += 1) {
          order.push(String(await ctx.activity("work", { name: `${name}${round}` })));
          if (name === "b") await ctx.waitForSignal(`go${round}`);
        }
      };
      await Promise.all([branch("a", 3), branch("b", 2), branch("c", 3)]);
      return order.sort();
    });
    const { calls, until, untilLength } = await serving([branches]);
    await calls.begin({ id: "b1", definition: branches.name });
    await untilLength("b1", 7);
    await calls.tell({ id: "b1", name: "go1" });
    await calls.tell({ id: "b1", name: "go0" });
    expect((await until("b1", "completed")).result).toEqual(["a0", "a1", "a2", "b0", "b1", "c0", "c1", "c2"]);
  });

  for (const [change, names, named] of [
    ["renamed", ["bill", "ship"], "charge"],
    ["removed", ["charge"], "ship"],
    ["moved", ["ship", "charge"], "charge"],
  ] as const)
    test(`an activity that was ${change} under an execution fails it loudly, by name, and it can go on with the right code`, async () => {
      const all = { charge: () => 1, ship: () => 2, bill: () => 3 };
      const run = (asked: readonly string[]) => async (ctx: ExecutionContext) => {
        for (const name of asked) await ctx.activity(name, null);
        await ctx.waitForSignal("go");
        return "done";
      };
      const name = fresh("order");
      const right = definition(name, all, run(["charge", "ship"]));
      const before = await serving([right]);
      await before.calls.begin({ id: "o1", definition: name });
      await before.untilLength("o1", 2);
      await before.close();
      const wrong = await serving([definition(name, all, run(names))], before.tenant);
      await wrong.calls.tell({ id: "o1", name: "go" });
      const { error } = await wrong.until("o1", "failed");
      expect(error).toMatchObject({ code: "execution.diverged", message: expect.stringContaining(`"${named}"`) });
      await wrong.close();
      const after = await serving([right], before.tenant);
      await after.calls.again({ id: "o1" });
      expect((await after.until("o1", "completed")).result).toBe("done");
    });

  test("an execution stays with the version that it was begun with", async () => {
    const name = fresh("versioned");
    const of = (version: number) =>
      definition(name, {}, (ctx) => ctx.waitForSignal("go").then(() => version), { version });
    const { calls, until } = await serving([of(1), of(2)]);
    await calls.begin({ id: "v1", definition: name, version: 1 });
    await calls.begin({ id: "v2", definition: name, version: 2 });
    await vi.waitFor(async () => expect((await calls.look({ id: "v2" })).status).toBe("running"));
    await calls.tell({ id: "v1", name: "go" });
    await calls.tell({ id: "v2", name: "go" });
    expect((await until("v1", "completed")).result).toBe(1);
    expect((await until("v2", "completed")).result).toBe(2);
  });
}
