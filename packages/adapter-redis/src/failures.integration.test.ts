import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { CloudEvent } from "@armature/core";
import { recordingLogger } from "@armature/core/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type FreshRedis, freshRedis, PrivateRedis, severable, withoutRedis } from "./fresh-redis.ts";
import { type RedisStreams, type RedisStreamsOptions, redisStreams } from "./index.ts";
import { type RedisClient, RedisCommands, type Script } from "./redis-client.ts";
import { laneOf, partitionOf } from "./stream-event.ts";
import { COUNT_TRY, FINISH, PARK, SETTLE, TURN } from "./stream-scripts.ts";
import { testEvent } from "./test-event.ts";

const SOURCE = "/contexts/orders";
const QUICK = { backoffMs: 5, maxBackoffMs: 20, leaseMs: 600 } as const;
const skip = await withoutRedis();

/** A handler that writes down what it gets. */
function collector() {
  const events: CloudEvent[] = [];
  return {
    events,
    handle: async (event: CloudEvent) => {
      events.push(event);
    },
    of: (subject: string) => events.filter((event) => event.subject === subject).map(({ sequence }) => sequence),
    until: (count: number) =>
      vi.waitFor(() => expect(events.length).toBeGreaterThanOrEqual(count), { timeout: 15_000, interval: 5 }),
  };
}
const numbered = (subject: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => testEvent(SOURCE, subject, from + at));

describe.skipIf(skip)("on a Redis that fails", () => {
  let server: PrivateRedis;
  let redis: FreshRedis;
  let bus: RedisStreams;
  beforeAll(async () => {
    server = await PrivateRedis.start();
  });
  afterAll(() => server.remove());
  beforeEach(async () => {
    redis = await freshRedis(server.url);
    bus = redisStreams({ client: redis.client, prefix: redis.prefix, ...QUICK });
  });
  afterEach(async () => {
    await bus.close();
    await redis.close();
  });

  test("one that stands still: publishing is given up in time, and goes on with it", async () => {
    const { client, prefix } = redis;
    const hasty = redisStreams({ client, prefix, ...QUICK, timeoutMs: 200 });
    const seen = collector();
    await hasty.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    server.signal("SIGSTOP");
    await expect(hasty.publish(numbered("order/a", 1, 2))).rejects.toMatchObject({ code: "redis.timed_out" });
    server.signal("SIGCONT");
    // It had taken them all the same, so the relay's second attempt is a repetition and nothing worse.
    await vi.waitFor(() => hasty.publish(numbered("order/a", 1, 2)), { timeout: 5_000, interval: 20 });
    await hasty.publish(numbered("order/a", 3, 3));
    await vi.waitFor(() => expect(seen.of("order/a")).toContain(3), { timeout: 10_000 });
    expect([...new Set(seen.of("order/a"))]).toEqual([1, 2, 3]);
    await hasty.close();
  });

  test("one that was flushed: groups are made again, and what is published after the flush arrives", async () => {
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await bus.publish(numbered("order/a", 1, 2));
    await seen.until(2);
    await redis.client.sendCommand(["FLUSHALL"]);
    // Before any member has noticed.
    await bus.publish(numbered("order/a", 3, 4));
    await seen.until(4);
    expect(seen.of("order/a")).toEqual([1, 2, 3, 4]);
  });

  test("one that was flushed while handlers are at work: no other member overtakes them", async () => {
    const subjects = Array.from({ length: 12 }, (_, at) => `order/${at}`);
    const seen = collector();
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const handle = async (event: CloudEvent) => {
      if (event.sequence === 1) await gate;
      await seen.handle(event);
    };
    const others = [1, 2].map(() => redisStreams({ client: redis.client, prefix: redis.prefix, ...QUICK }));
    for (const each of others) await each.subscribe({ group: "g", sources: [SOURCE], handle });
    const owners = async () => {
      const fields = await redis.client.hGetAll(`${redis.prefix}bus:{${SOURCE}}:group:g`);
      const owned = Object.entries(fields).flatMap(([name, token]) => (name.startsWith("o:") ? [token] : []));
      return new Set(owned.map((token) => token.split("#")[0])).size;
    };
    await vi.waitFor(async () => expect(await owners()).toBe(2));
    await bus.publish(subjects.map((subject) => testEvent(SOURCE, subject, 1)));
    const pending = async (number: number) =>
      (await redis.client.xPending(`${redis.prefix}bus:{${SOURCE}}:${number}`, "g")).pending;
    const partitions = Array.from({ length: 16 }, (_, number) => number);
    await vi.waitFor(async () => {
      const each = await Promise.all(partitions.map(pending));
      expect(each.reduce((sum, count) => sum + count, 0)).toBe(subjects.length);
    });
    await redis.client.sendCommand(["FLUSHALL"]);
    await bus.publish(subjects.map((subject) => testEvent(SOURCE, subject, 2)));
    // Longer than a lease: by then whoever had them would have been given up.
    await new Promise((resolve) => setTimeout(resolve, 2 * QUICK.leaseMs));
    expect(seen.events).toEqual([]);
    letGo();
    await seen.until(2 * subjects.length);
    for (const subject of subjects) expect(seen.of(subject)).toEqual([1, 2]);
    await Promise.all(others.map((each) => each.close()));
  });

  test("one that was flushed while a handler fails: what else is at work in its partition is not overtaken", async () => {
    const partition = (subject: string) => partitionOf(laneOf({ tenant: "acme", subject }), 16);
    const others = Array.from({ length: 200 }, (_, at) => `order/other-${at}`);
    const failing = others.find((subject) => partition(subject) === partition("order/slow"))!;
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let fail = () => {};
    const failure = new Promise<void>((_, reject) => {
      fail = () => reject(new Error("once"));
    });
    const begun: string[] = [];
    await bus.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async ({ subject, sequence }) => {
        begun.push(`${subject} ${sequence}`);
        if (sequence > 1) return;
        if (subject === "order/slow") await gate;
        else if (begun.filter((each) => each === `${failing} 1`).length === 1) await failure;
      },
    });
    await bus.publish([testEvent(SOURCE, "order/slow", 1), testEvent(SOURCE, failing, 1)]);
    await vi.waitFor(() => expect(begun).toHaveLength(2));
    await redis.client.sendCommand(["FLUSHALL"]);
    fail();
    await vi.waitFor(() => expect(begun).toEqual(["order/slow 1", `${failing} 1`, `${failing} 1`]));
    await bus.publish([testEvent(SOURCE, "order/slow", 2), testEvent(SOURCE, failing, 2)]);
    await vi.waitFor(() => expect(begun).toContain(`${failing} 2`));
    expect(begun).not.toContain("order/slow 2");
    letGo();
    await vi.waitFor(() => expect(begun).toContain("order/slow 2"));
  });

  test("one that was flushed forgets what was parked, and what then fails for good is parked for others to see", async () => {
    const hasty = redisStreams({ client: redis.client, prefix: redis.prefix, ...QUICK, maxAttempts: 1 });
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let sick = true;
    const seen = collector();
    await hasty.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async (event) => {
        if (event.subject === "order/late" && event.sequence === 1) {
          await gate;
          throw new Error("late");
        }
        if (sick) throw new Error("sick");
        await seen.handle(event);
      },
    });
    const parked = async () =>
      (await hasty.deadLetters({ source: SOURCE, group: "g" })).map(({ subject, event }) => [subject, event?.sequence]);
    await hasty.publish([testEvent(SOURCE, "order/sick", 1), testEvent(SOURCE, "order/late", 1)]);
    await vi.waitFor(async () => expect(await parked()).toEqual([["order/sick", 1]]));
    sick = false;
    await redis.client.sendCommand(["FLUSHALL"]);
    await hasty.publish(numbered("order/sick", 2, 2));
    await vi.waitFor(() => expect(seen.of("order/sick")).toEqual([2]), { timeout: 5_000 });
    letGo();
    await vi.waitFor(async () => expect(await parked()).toEqual([["order/late", 1]]));
    await hasty.publish(numbered("order/late", 2, 2));
    await vi.waitFor(async () =>
      expect(await parked()).toEqual([
        ["order/late", 1],
        ["order/late", 2],
      ]),
    );
    await hasty.close();
  });

  test("one of whose streams somebody has deleted: the group is made again", async () => {
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await bus.publish(numbered("order/a", 1, 1));
    await seen.until(1);
    const partition = partitionOf(laneOf({ tenant: "acme", subject: "order/a" }), 16);
    await redis.client.unlink(`${redis.prefix}bus:{${SOURCE}}:${partition}`);
    await bus.publish(numbered("order/a", 2, 3));
    await seen.until(3);
    expect(seen.of("order/a")).toEqual([1, 2, 3]);
  });

  test("one that is full takes none of a batch, and says that it is unavailable", async () => {
    await redis.client.sendCommand(["CONFIG", "SET", "maxmemory", "1"]);
    try {
      await expect(bus.publish(numbered("order/a", 1, 3))).rejects.toMatchObject({
        code: "redis.unavailable",
        details: { reason: "OOM" },
      });
    } finally {
      await redis.client.sendCommand(["CONFIG", "SET", "maxmemory", "0"]);
    }
    expect(await redis.client.keys(`${redis.prefix}*`)).toEqual([]);
  });

  test("one that is away when a subscription begins: it is refused, and can be tried again", async () => {
    await server.kill();
    const seen = collector();
    const subscribe = () => bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await expect(subscribe()).rejects.toMatchObject({ kind: "unavailable" });
    await server.start();
    await vi.waitFor(subscribe, { timeout: 5_000, interval: 20 });
    await bus.publish(numbered("order/a", 1, 1));
    await seen.until(1);
  });
});

describe.skipIf(skip)("on Redis Streams", () => {
  let redis: FreshRedis;
  const open: RedisStreams[] = [];
  const children = new Set<ChildProcess>();
  beforeEach(async () => {
    redis = await freshRedis();
  });
  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(open.splice(0).map((bus) => bus.close()));
    await redis.close();
  });
  const makeBus = (options: Partial<RedisStreamsOptions> = {}) => {
    const bus = redisStreams({ client: redis.client, prefix: redis.prefix, ...QUICK, ...options });
    open.push(bus);
    return bus;
  };
  const keys = (suffix: string) => redis.client.keys(`${redis.prefix}bus:{${SOURCE}}${suffix}`);

  test("a poison event goes to the dead letters with the rest of its subject, and holds up no other", async () => {
    const logger = recordingLogger();
    const bus = makeBus({ partitions: 1, maxAttempts: 3, logger });
    const seen = collector();
    let calls = 0;
    await bus.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async (event) => {
        if (event.subject !== "order/sick" || event.sequence !== 2) return seen.handle(event);
        calls += 1;
        throw new Error("cannot be done");
      },
    });
    await bus.publish([...numbered("order/sick", 1, 4), ...numbered("order/well", 1, 4)]);
    const parked = await vi.waitFor(async () => {
      const letters = await bus.deadLetters({ source: SOURCE, group: "g" });
      expect(letters).toHaveLength(3);
      return letters;
    });
    expect(calls).toBe(3);
    expect(parked.map(({ event, attempts }) => [event?.sequence, attempts])).toEqual([
      [2, 3],
      [3, 0],
      [4, 0],
    ]);
    expect(parked[0]?.reason).toBe("Error: cannot be done");
    expect([seen.of("order/sick"), seen.of("order/well")]).toEqual([[1], [1, 2, 3, 4]]);
    expect(logger.entries.filter(({ level }) => level === "error")).toHaveLength(3);
    // A member that comes later knows of it.
    await bus.close();
    const next = makeBus({ partitions: 1, maxAttempts: 3 });
    await next.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await next.publish([...numbered("order/sick", 5, 5), ...numbered("order/well", 5, 5)]);
    await vi.waitFor(async () => expect(await next.deadLetters({ source: SOURCE, group: "g" })).toHaveLength(4));
    expect([seen.of("order/sick"), seen.of("order/well").at(-1)]).toEqual([[1], 5]);
  });

  test("dead letters are tried again in order, skipped, and then the subject goes on", async () => {
    const bus = makeBus({ maxAttempts: 1 });
    const seen = collector();
    let sick = true;
    await bus.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async (event) => {
        if (sick && event.sequence > 1) throw new Error("sick");
        await seen.handle(event);
      },
    });
    const letters = () => bus.deadLetters({ source: SOURCE, group: "g" });
    const subject = { source: SOURCE, group: "g", tenant: "acme", subject: "order/a" };
    await expect(bus.retryDeadLetters(subject)).rejects.toMatchObject({ code: "not_found" });
    await bus.publish(numbered("order/a", 1, 4));
    await vi.waitFor(async () => expect(await letters()).toHaveLength(3));
    // Still sick: the second attempt fails, and nothing is lost.
    await bus.retryDeadLetters(subject);
    await vi.waitFor(async () => expect(await keys(":group:g:wishes")).toEqual([]));
    expect(await letters()).toHaveLength(3);
    sick = false;
    await bus.skipDeadLetter(subject);
    await vi.waitFor(async () => expect(await letters()).toEqual([]));
    await bus.publish(numbered("order/a", 5, 5));
    await seen.until(4);
    expect(seen.of("order/a")).toEqual([1, 3, 4, 5]);
    expect(await keys(":group:g:parked:*")).toEqual([]);
  });

  test("what is no event is parked with a line in the log, and holds up nothing", async () => {
    const logger = recordingLogger();
    const bus = makeBus({ partitions: 1, logger });
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    const stream = `${redis.prefix}bus:{${SOURCE}}:0`;
    await redis.client.xAdd(stream, "*", { e: "{not json" });
    await redis.client.xAdd(stream, "*", { e: '{"specversion":"1.0","tenant":"acme"}' });
    await redis.client.xAdd(stream, "*", { something: "" });
    await bus.publish(numbered("order/a", 1, 1));
    await seen.until(1);
    await vi.waitFor(async () => expect(await bus.deadLetters({ source: SOURCE, group: "g" })).toHaveLength(3));
    const errors = logger.entries.filter(({ level }) => level === "error");
    expect(errors).toHaveLength(3);
    expect(errors[0]?.fields["error"]).toMatch("malformed:");
    expect(logger.text()).not.toContain("{not json");
  });

  test("an entry goes when every group has finished it, and no sooner", async () => {
    const bus = makeBus({ partitions: 1, leaseMs: 150 });
    const quick = collector();
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    await bus.subscribe({ group: "quick", sources: [SOURCE], handle: quick.handle });
    await bus.subscribe({
      group: "slow",
      sources: [SOURCE],
      handle: ({ sequence }) => (sequence > 1 ? gate : Promise.resolve()),
    });
    await bus.publish(numbered("order/a", 1, 50));
    await quick.until(50);
    const stream = `${redis.prefix}bus:{${SOURCE}}:0`;
    const length = () => redis.client.xLen(stream);
    // The first is finished by both; the rest waits for the slow one.
    await vi.waitFor(async () => expect(await length()).toBe(49), { timeout: 5_000 });
    expect(quick.of("order/a")).toHaveLength(50);
    letGo();
    await vi.waitFor(async () => expect(await length()).toBe(0), { timeout: 5_000 });
  });

  test("what no group has subscribed to is kept for its time, and a first group still gets it", async () => {
    const bus = makeBus({ partitions: 1, retainMs: 60_000 });
    await bus.publish(numbered("order/a", 1, 3));
    const seen = collector();
    await bus.subscribe({ group: "late", sources: [SOURCE], handle: seen.handle });
    await seen.until(3);
    // Kept for no time at all, it goes with the next publication that looks after the streams.
    const forgetful = makeBus({ prefix: `${redis.prefix}other:`, partitions: 1, retainMs: 1 });
    await forgetful.publish(numbered("order/a", 1, 3));
    const stream = `${redis.prefix}other:bus:{${SOURCE}}:0`;
    await vi.waitFor(
      async () => {
        const again = makeBus({ prefix: `${redis.prefix}other:`, partitions: 1, retainMs: 1 });
        await again.publish(numbered("order/b", 1, 1));
        expect(await redis.client.xLen(stream)).toBeLessThan(3);
      },
      { timeout: 5_000, interval: 20 },
    );
  });

  test("a slow consumer has no more in its memory than it was told to, and gets everything", async () => {
    const bus = makeBus({ partitions: 1, prefetch: 5, concurrency: 1 });
    const seen = collector();
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    await bus.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async (event) => {
        await gate;
        await seen.handle(event);
      },
    });
    await bus.publish(numbered("order/a", 1, 40));
    const stream = `${redis.prefix}bus:{${SOURCE}}:0`;
    const pending = async () => (await redis.client.xPending(stream, "g")).pending;
    await vi.waitFor(async () => expect(await pending()).toBe(5));
    await bus.publish(numbered("order/b", 1, 5));
    expect(await pending()).toBe(5);
    letGo();
    await seen.until(45);
    expect(seen.of("order/a")).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
  });

  test("another number of partitions than the streams have is refused, where it is published and where it is read", async () => {
    await makeBus({ partitions: 4 }).publish(numbered("order/a", 1, 1));
    const other = makeBus({ partitions: 8 });
    await expect(other.publish(numbered("order/a", 2, 2))).rejects.toMatchObject({ code: "redis.partitions_differ" });
    await expect(other.subscribe({ group: "g", sources: [SOURCE], handle: async () => {} })).rejects.toMatchObject({
      code: "redis.partitions_differ",
    });
  });

  test("members share the partitions, and give some back when another joins", async () => {
    const members = [makeBus(), makeBus(), makeBus()];
    const owners = async () => {
      const fields = await redis.client.hGetAll(`${redis.prefix}bus:{${SOURCE}}:group:g`);
      const owned = Object.entries(fields).flatMap(([name, token]) =>
        name.startsWith("o:") ? [token.split("#")[0]] : [],
      );
      return [...Map.groupBy(owned, (owner) => owner).values()].map((its) => its.length).sort();
    };
    for (const bus of members) await bus.subscribe({ group: "g", sources: [SOURCE], handle: async () => {} });
    await vi.waitFor(async () => expect(await owners()).toEqual([4, 6, 6]), { timeout: 5_000 });
    await members[1]!.close();
    await vi.waitFor(async () => expect(await owners()).toEqual([8, 8]), { timeout: 5_000 });
  });

  test("events that were given in an answer that was lost come before those behind them", async () => {
    const { client } = redis;
    let lost = 0;
    // Done, and the connection breaks before the answer.
    const losing: RedisClient = {
      get isReady() {
        return client.isReady;
      },
      on: (event, listener) => client.on(event, listener),
      duplicate: () => client.duplicate(),
      sendCommand: async (args) => {
        const answer = await client.sendCommand([...args]);
        if (args[1] !== TURN.sha || !JSON.stringify(answer).includes("order.changed") || lost === 2) return answer;
        lost += 1;
        throw new Error("Socket closed unexpectedly");
      },
    };
    const bus = redisStreams({ client: losing, prefix: redis.prefix, ...QUICK, partitions: 1 });
    open.push(bus);
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await bus.publish(numbered("order/a", 1, 3));
    await vi.waitFor(() => expect(lost).toBeGreaterThan(0));
    await bus.publish(numbered("order/a", 4, 6));
    await seen.until(6);
    expect([lost, seen.of("order/a")]).toEqual([2, [1, 2, 3, 4, 5, 6]]);
  });

  test("a member that Redis has not heard of for too long begins nothing more, and what it had is another's", async () => {
    const { client, sever } = severable(await redis.connect());
    const cut = redisStreams({ client, prefix: redis.prefix, ...QUICK, partitions: 1, concurrency: 1, timeoutMs: 100 });
    const begun: number[] = [];
    let ended = 0;
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    await cut.subscribe({
      group: "g",
      sources: [SOURCE],
      handle: async ({ sequence }) => {
        begun.push(sequence);
        await gate;
        ended += 1;
      },
    });
    const bus = makeBus({ partitions: 1 });
    await bus.publish(numbered("order/a", 1, 5));
    await vi.waitFor(() => expect(begun).toEqual([1]));
    sever();
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await seen.until(5);
    letGo();
    expect(seen.of("order/a")).toEqual([1, 2, 3, 4, 5]);
    // Its handler ends, and the events that it had read are in its memory still.
    await vi.waitFor(() => expect(ended).toBe(1));
    await new Promise((resolve) => setImmediate(resolve));
    await cut.close();
    expect(begun).toEqual([1]);
  });

  test("an event whose handler ends its process is parked after its attempts, and the others go on", {
    timeout: 60_000,
  }, async () => {
    const bus = makeBus({ partitions: 1, maxAttempts: 2 });
    await bus.publish([
      ...numbered("order/well", 1, 1),
      ...numbered("order/deadly", 1, 2),
      ...numbered("order/well", 2, 2),
    ]);
    const handled: string[] = [];
    for (let deaths = 0; deaths < 3; deaths += 1) {
      const child = spawn(
        process.execPath,
        ["--conditions=@armature/source", new URL("test-member.ts", import.meta.url).pathname, redis.url, redis.prefix],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      children.add(child);
      createInterface({ input: child.stdout }).on("line", (line) => handled.push(line));
      await once(child, "exit");
      children.delete(child);
      if (child.signalCode === null) break;
    }
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await vi.waitFor(async () => expect(await bus.deadLetters({ source: SOURCE, group: "g" })).toHaveLength(2), {
      timeout: 10_000,
    });
    await bus.publish(numbered("order/well", 3, 3));
    await vi.waitFor(() => expect(seen.of("order/well")).toContain(3), { timeout: 10_000 });
    expect(seen.of("order/deadly")).toEqual([]);
    const well = [
      ...handled.filter((line) => line.startsWith("order/well")),
      ...seen.of("order/well").map((n) => `order/well ${n}`),
    ];
    expect([...new Set(well)].sort()).toEqual(["order/well 1", "order/well 2", "order/well 3"]);
    expect(handled.filter((line) => line === "order/deadly 1").length).toBeGreaterThanOrEqual(2);
  });

  test("what a dead member was at is begun one by one, also when some of it goes to a third member meanwhile", async () => {
    const { client, sever } = severable(await redis.connect());
    const dead = redisStreams({ client, prefix: redis.prefix, ...QUICK, timeoutMs: 100 });
    const never = new Promise<void>(() => undefined);
    await dead.subscribe({ group: "g", sources: [SOURCE], handle: () => never });
    const subjects = Array.from({ length: 16 }, (_, at) => `order/${at}`);
    const bus = makeBus();
    await bus.publish(subjects.map((subject) => testEvent(SOURCE, subject, 1)));
    const seen = collector();
    const handle = async (event: CloudEvent) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await seen.handle(event);
    };
    await vi.waitFor(async () => {
      const fields = await redis.client.hKeys(`${redis.prefix}bus:{${SOURCE}}:group:g`);
      expect(fields.filter((name) => name.startsWith("o:"))).toHaveLength(16);
    });
    await bus.subscribe({ group: "g", sources: [SOURCE], handle });
    await vi.waitFor(async () => {
      const pending = await Promise.all(
        subjects.map((_, number) => redis.client.xPending(`${redis.prefix}bus:{${SOURCE}}:${number}`, "g")),
      );
      expect(pending.reduce((sum, each) => sum + each.pending, 0)).toBe(subjects.length);
    });
    sever();
    // The survivor has begun with the first of what it took over, and is told to give half of it back.
    await seen.until(1);
    await makeBus().subscribe({ group: "g", sources: [SOURCE], handle });
    await bus.publish(subjects.map((subject) => testEvent(SOURCE, subject, 2)));
    await vi.waitFor(() => expect(subjects.map((each) => seen.of(each).at(-1))).toEqual(subjects.map(() => 2)), {
      timeout: 10_000,
    });
    for (const subject of subjects) expect([...new Set(seen.of(subject))]).toEqual([1, 2]);
  });

  test("whoever has been replaced can read nothing, take note of nothing and park nothing", async () => {
    const bus = makeBus({ partitions: 1 });
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: () => gate });
    await bus.publish(numbered("order/a", 1, 1));
    const stream = `${redis.prefix}bus:{${SOURCE}}:0`;
    const pending = async () => (await redis.client.xPending(stream, "g")).pending;
    await vi.waitFor(async () => expect(await pending()).toBe(1));
    const id = (await redis.client.xRange(stream, "-", "+"))![0]!.id;
    const commands = new RedisCommands({ client: redis.client, prefix: redis.prefix });
    const asReplaced = (script: Script, ...args: (string | number)[]) =>
      commands.run(script, [`${redis.prefix}bus:{${SOURCE}}`], ["g", ...args]);
    expect(await asReplaced(TURN, 1_000, 0, "old#1", "0", 10, 1, id)).toEqual([null]);
    expect(await asReplaced(COUNT_TRY, 0, "old#1", id)).toBe(-1);
    expect(await asReplaced(FINISH, 0, "old#1", id)).toBe(0);
    expect(await asReplaced(PARK, 0, "old#1", id, "acme order/a", "{}", "why", 1, "now")).toBe(0);
    expect(await asReplaced(SETTLE, 0, "old#1", id, "acme order/a")).toBe(-1);
    expect([await pending(), await bus.deadLetters({ source: SOURCE, group: "g" })]).toEqual([1, []]);
    letGo();
    await vi.waitFor(async () => expect(await pending()).toBe(0));
  });

  test("a group that is forgotten holds nothing back any more", async () => {
    const bus = makeBus({ partitions: 1, leaseMs: 150 });
    const away = await bus.subscribe({ group: "away", sources: [SOURCE], handle: async () => {} });
    await away.close();
    const seen = collector();
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: seen.handle });
    await bus.publish(numbered("order/a", 1, 3));
    await seen.until(3);
    const length = () => redis.client.xLen(`${redis.prefix}bus:{${SOURCE}}:0`);
    expect(await length()).toBe(3);
    await bus.forgetGroup({ source: SOURCE, group: "away" });
    await vi.waitFor(async () => expect(await length()).toBe(0), { timeout: 5_000 });
    expect(await keys(":group:away*")).toEqual([]);
  });
});
