import { expect, vi } from "vitest";
import { definition, type ExecutionEngineSetup, onEngine, Refused } from "./execution-engine-fixture.ts";
import { fresh } from "./expectations.ts";
import type { RegisterTest } from "./suite.ts";

/** How executions end: failed, undone, canceled, gone on with, taken over. */
export function registerEngineEndTests(register: RegisterTest, setup: () => ExecutionEngineSetup): void {
  const { test, serving } = onEngine(register, setup);

  test("what failed for good is undone in reverse, and cannot be gone on with then", async () => {
    const log: string[] = [];
    const saga = definition(
      fresh("saga"),
      {
        book: ({ what }: { what: string }) => {
          log.push(`book ${what}`);
          if (what === "car") throw new Refused({});
          return `${what}-1`;
        },
        cancel: ({ id }: { id: string }) => void log.push(`cancel ${id}`),
      },
      async (ctx) => {
        for (const what of ["flight", "hotel", "car"])
          await ctx.activity("book", { what }, { compensate: (id: string) => ({ activity: "cancel", args: { id } }) });
        return null;
      },
      { ended: "ended" },
    );
    const { calls, until } = await serving([saga]);
    await calls.begin({ id: "s1", definition: saga.name });
    expect((await until("s1", "failed")).error).toMatchObject({ code: "trials.refused" });
    await calls.again({ id: "s1" });
    await calls.begin({ id: "s2", definition: saga.name });
    await until("s2", "failed");
    const once = ["book flight", "book hotel", "book car", "cancel hotel-1", "cancel flight-1"];
    expect(log).toEqual([...once, ...once]);
    expect((await calls.look({ id: "s1" })).status).toBe("failed");
    expect((await calls.notes({})).filter((note) => note.startsWith("s1"))).toEqual(["s1 failed"]);
  });

  test("one that is canceled while it waits undoes what it did, once, and hears of nothing more", async () => {
    const log: string[] = [];
    const patient = definition(
      fresh("patient"),
      { reserve: () => void log.push("reserve"), free: () => void log.push("free") },
      async (ctx) => {
        await ctx.activity("reserve", null, { compensate: () => ({ activity: "free", args: null }) });
        await ctx.waitForSignal("paid").catch(() => log.push("told"));
        return "all the same";
      },
      { ended: "ended" },
    );
    const { calls, until, untilLength } = await serving([patient]);
    await calls.begin({ id: "p1", definition: patient.name });
    await untilLength("p1", 1);
    await calls.stop({ id: "p1" });
    const { error, history } = await until("p1", "canceled");
    expect(error).toMatchObject({ message: "The execution was canceled: no longer wanted" });
    expect(history).toEqual(["activity reserve: value", "cancel : value", "compensation free: value"]);
    expect(log.filter((each) => each !== "told")).toEqual(["reserve", "free"]);
    await vi.waitFor(async () => expect(await calls.notes({})).toEqual(["p1 canceled"]));
  });

  test("one that is canceled while an activity is under way has it aborted", async () => {
    let aborted = 0;
    const busy = definition(
      fresh("busy"),
      {
        work: (_: never, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              aborted += 1;
              reject(signal.reason);
            });
          }),
      },
      (ctx) => ctx.activity("work", null),
    );
    const { calls, until } = await serving([busy]);
    await calls.begin({ id: "b1", definition: busy.name });
    await vi.waitFor(async () => expect((await calls.look({ id: "b1" })).status).toBe("running"));
    await calls.stop({ id: "b1" });
    await until("b1", "canceled");
    expect(aborted).toBeLessThanOrEqual(1);
  });

  test("one that failed goes on from before what made it fail, under a new key", async () => {
    let broken = true;
    const log: string[] = [];
    const keys = new Set<string>();
    const mended = definition(
      fresh("mended"),
      {
        first: () => void log.push("first"),
        second: (_: never, { idempotencyKey }) => {
          log.push("second");
          keys.add(idempotencyKey);
          if (broken) throw new Refused({});
          return "fine";
        },
      },
      async (ctx) => {
        await ctx.activity("first", null);
        return ctx.activity("second", null);
      },
      { ended: "ended" },
    );
    const { calls, until } = await serving([mended]);
    await calls.begin({ id: "m1", definition: mended.name });
    await until("m1", "failed");
    broken = false;
    await calls.again({ id: "m1" });
    expect((await until("m1", "completed")).result).toBe("fine");
    expect(log).toEqual(["first", "second", "second"]);
    expect(keys.size).toBe(2);
    await vi.waitFor(async () => expect(await calls.notes({})).toEqual(["m1 failed", "m1 completed"]));
  });

  test("no more go on at a time than a definition allows, in all and for one tenant", async () => {
    let now = 0;
    let most = 0;
    const bounded = (name: string, more: object) =>
      definition(
        name,
        {
          work: async () => {
            now += 1;
            most = Math.max(most, now);
            await new Promise((resolve) => setTimeout(resolve, 20));
            now -= 1;
          },
        },
        (ctx) => ctx.activity("work", null),
        more,
      );
    const inAll = bounded(fresh("bounded"), { concurrency: 2 });
    const forOne = bounded(fresh("bounded"), { concurrencyPerTenant: 1 });
    const { calls, until } = await serving([inAll, forOne]);
    for (const [{ name }, allowed] of [
      [inAll, 2],
      [forOne, 1],
    ] as const) {
      most = 0;
      const ids = Array.from({ length: 6 }, (_, at) => `${name}-${at}`);
      await Promise.all(ids.map((id) => calls.begin({ id, definition: name })));
      for (const id of ids) await until(id, "completed");
      expect(most).toBe(allowed);
    }
  });

  test("what a process held that was killed is gone on with by another, under the same keys", async (context) => {
    const keys: string[] = [];
    const log: string[] = [];
    let hang = true;
    const long = definition(
      fresh("long"),
      {
        first: () => void log.push("first"),
        second: (_: never, { idempotencyKey }) => {
          keys.push(idempotencyKey);
          return hang ? new Promise(() => undefined) : "done";
        },
      },
      async (ctx) => {
        await ctx.activity("first", null);
        return ctx.activity("second", null);
      },
    );
    const doomed = await serving([long]);
    if (doomed.kill === undefined) return context.skip("a process of this engine cannot be killed");
    await doomed.calls.begin({ id: "l1", definition: long.name });
    await vi.waitFor(() => expect(keys).toHaveLength(1), { timeout: 10_000 });
    await doomed.kill();
    hang = false;
    const heir = await serving([long], doomed.tenant);
    expect((await heir.until("l1", "completed")).result).toBe("done");
    expect(log).toEqual(["first"]);
    expect(new Set(keys).size).toBe(1);
  });

  test("two processes share the work, and each execution ends once", async () => {
    const seen: string[] = [];
    const shared = definition(
      fresh("shared"),
      {
        work: async (_: never, { executionId }) => {
          seen.push(executionId);
          await new Promise((resolve) => setTimeout(resolve, 5));
        },
      },
      async (ctx) => {
        for (let round = 0; round < 3; round += 1) await ctx.activity("work", null);
        return null;
      },
      { ended: "ended" },
    );
    const one = await serving([shared]);
    const two = await serving([shared], one.tenant);
    const ids = Array.from({ length: 20 }, (_, at) => `x-${at}`);
    await Promise.all(ids.map((id, at) => (at % 2 === 0 ? one : two).calls.begin({ id, definition: shared.name })));
    for (const id of ids) await one.until(id, "completed");
    expect(seen.sort()).toEqual(ids.flatMap((id) => [id, id, id]).sort());
    const notes = [...(await one.calls.notes({}))];
    expect(notes.sort()).toEqual(ids.map((id) => `${id} completed`).sort());
  });
}
