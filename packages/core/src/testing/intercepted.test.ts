import { describe, expect, test } from "vitest";
import { inMemory } from "../in-memory/index.ts";
import { fixedClock } from "./fixed-clock.ts";
import { intercepted } from "./intercepted.ts";

const part = { context: "lab", aggregates: [], events: [], messages: [], audit: [] };

async function store() {
  const plain = inMemory();
  await plain.migrate([{ name: "lab", aggregates: [] }]);
  return intercepted(plain);
}

describe("a port whose calls are intercepted", () => {
  test("works as before where nobody intercepts", async () => {
    const { port } = await store();
    expect(await port.commit("acme", { parts: [part] })).toEqual({ status: "committed" });
    expect(port.embedded).toBe(true);
    expect(await (await port.lease.acquire("key", 1_000))?.renew(1_000)).toBe(true);
  });

  test("can fail before a call, and after it, until that is lifted", async () => {
    const { port, around } = await store();
    const scope = { tenant: "acme", context: "lab" };
    const before = around("records.put", async () => {
      throw new Error("before");
    });
    await expect(port.records.put(scope, "a", {}, 0)).rejects.toThrow("before");
    before();
    const after = around("records.put", async (proceed) => {
      await proceed();
      throw new Error("after");
    });
    await expect(port.records.put(scope, "a", {}, 0)).rejects.toThrow("after");
    after();
    expect(await port.records.put(scope, "a", {}, 0)).toBe(false);
    expect(await port.records.get(scope, "a")).toEqual({ version: 1, value: {} });
  });

  test("is asked by the last interception first, with what the call was given", async () => {
    const { port, around } = await store();
    const seen: unknown[] = [];
    around("outbox.size", (proceed, [context]) => {
      seen.push(["inner", context]);
      return proceed();
    });
    around("outbox.size", async (proceed) => {
      seen.push("outer");
      return ((await proceed()) as number) + 1;
    });
    expect(await port.outbox.size("lab")).toBe(1);
    expect(seen).toEqual(["outer", ["inner", "lab"]]);
  });
});

test("a clock can be asked for those who wake soon, among many who sleep for long", async () => {
  const clock = fixedClock();
  const late = clock.sleep(30_000);
  const seen: string[] = [];
  const soon = clock.untilSleeping(1, 200).then(() => seen.push("asleep"));
  await clock.advance(0);
  expect(seen).toEqual([]);
  const short = clock.sleep(100);
  await soon;
  await clock.advance(100);
  await short;
  await clock.advance(29_900);
  await late;
});
