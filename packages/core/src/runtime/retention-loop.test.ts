import { expect, test } from "vitest";
import { inMemory } from "../in-memory/index.ts";
import { toInstant } from "../kernel/clock.ts";
import { InvalidInput } from "../kernel/errors.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { recordingLogger } from "../testing/recording-logger.ts";
import type { ArmatureOptions } from "./armature.ts";
import { createArmature } from "./create-armature.ts";
import type { RetentionOptions } from "./retention-loop.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const scope = { tenant: "acme", context: "identity" };

async function bench(retention: RetentionOptions = {}) {
  const clock = fixedClock();
  const [store, logger] = [inMemory({ clock }), recordingLogger()];
  const looks: string[] = [];
  const { prune } = store;
  store.prune = (context, query) => {
    if (context === "identity") looks.push(`${query.olderThanMs / DAY_MS} days`);
    return prune.call(store, context, query);
  };
  const app = await createArmature({ store, clock, logger, retention, relay: false });
  const handle = async (count: number) => {
    const nothing = { aggregates: [], events: [], messages: [], audit: [] };
    for (let at = 0; at < count; at += 1)
      await store.commit("acme", {
        parts: [
          {
            ...{ context: "identity", ...nothing, inbox: { consumer: "identity.test", messageId: `evt_${at}` } },
            idempotency: {
              ...{ key: `identity.test ${at}`, inputHash: "hash", attempt: 1, claimedUntil: 0 },
              ...{ step: "settle", outcome: { type: "result" } },
            },
          },
        ],
      });
  };
  const recorded = async (count: number) => {
    const keys = Array.from({ length: count }, (_, at) => `identity.test ${at}`);
    const records = await Promise.all(keys.map((key) => store.idempotency(scope, key)));
    return records.filter((record) => record !== undefined).length;
  };
  const removed = () => logger.entries.flatMap(({ fields }) => fields["rows"] ?? []);
  return { app, clock, store, logger, looks, handle, recorded, removed };
}

test("what is older than thirty days goes within the hour, and what is younger stays", async () => {
  const { app, clock, handle, recorded, removed } = await bench();
  await handle(3);
  await clock.advance(30 * DAY_MS - HOUR_MS);
  expect(await recorded(3)).toBe(3);
  await clock.advance(2 * HOUR_MS);
  expect(await recorded(3)).toBe(0);
  expect(removed()).toEqual([3]);
  await app.close();
});

test("it looks a minute after the start and then once an hour", async () => {
  const { app, clock, looks } = await bench({ keepMs: 2 * DAY_MS });
  await clock.advance(59_000);
  expect(looks).toEqual([]);
  await clock.advance(1_000);
  expect(looks).toEqual(["2 days"]);
  await clock.advance(HOUR_MS - 1);
  expect(looks).toHaveLength(1);
  await clock.advance(1);
  expect(looks).toHaveLength(2);
  await app.close();
});

test("much that is old goes in batches with pauses in between, and is told of once", async () => {
  const { app, clock, looks, handle, recorded, removed } = await bench({ keepMs: DAY_MS, inbox: true });
  await handle(1_250);
  await clock.advance(DAY_MS);
  await clock.advance(60_000);
  expect(looks).toHaveLength(25);
  await clock.advance(0);
  const left = await recorded(1_250);
  expect(left, "a batch has gone").toBe(1_250);
  await clock.advance(250);
  expect(await recorded(1_250)).toBe(500);
  expect(removed()).toEqual([]);
  await clock.advance(250);
  expect(await recorded(1_250)).toBe(0);
  await clock.advance(250);
  expect(removed()).toEqual([2_500]);
  expect(looks).toHaveLength(27);
  await app.close();
});

test("a consumer is redelivered nothing of a time of which it is forgotten what it has handled", async () => {
  const redeliver = async (retention: RetentionOptions) => {
    const { app, clock } = await bench(retention);
    const since = toInstant(clock.now() - 2 * DAY_MS);
    const owner = app.as({ tenant: "acme", actor: { type: "system", id: "test" } });
    try {
      return await owner.delivery.redeliver({ context: "identity", consumer: "connectors.disconnect-all", since });
    } finally {
      await app.close();
    }
  };
  await expect(redeliver({ keepMs: DAY_MS, inbox: true })).rejects.toThrow(/since/);
  for (const retention of [{ keepMs: DAY_MS }, { keepMs: 3 * DAY_MS, inbox: true }])
    expect(await redeliver(retention)).toEqual({ events: 0 });
});

test("an app that closes does not wait for the rest", async () => {
  const { app, clock, handle, recorded, logger } = await bench({ keepMs: DAY_MS });
  await handle(2_500);
  await clock.advance(DAY_MS + 60_000);
  await app.close();
  expect(await recorded(2_500)).toBeGreaterThan(0);
  expect(logger.entries.filter(({ level }) => level === "warn")).toEqual([]);
});

test("two processes do not look at the same time, and a store that is away is asked again an hour later", async () => {
  const { app, clock, store, looks, logger } = await bench();
  const held = await store.lease.acquire("retention", 61_000);
  expect(held).toBeDefined();
  await clock.advance(60_000);
  expect(looks).toEqual([]);
  const { prune } = store;
  store.prune = () => Promise.reject(new Error("away"));
  await clock.advance(HOUR_MS);
  expect(logger.entries.filter(({ level }) => level === "warn")).toHaveLength(1);
  store.prune = prune;
  await clock.advance(HOUR_MS);
  expect(looks).toHaveLength(1);
  await app.close();
});

test("it is done by default where there is a relay, and nowhere that it is switched off", async () => {
  const looksWith = async (options: Pick<ArmatureOptions, "relay" | "retention">) => {
    const clock = fixedClock();
    const store = inMemory({ clock });
    const looks: string[] = [];
    store.prune = async (context) => {
      looks.push(context);
      return 0;
    };
    const app = await createArmature({ store, clock, ...options });
    await clock.advance(60_000);
    await app.close();
    return looks;
  };
  const all = [
    "agents",
    "approvals",
    "audit",
    "connectors",
    "delivery",
    "identity",
    "projections",
    "secrets",
    "workflows",
  ];
  expect((await looksWith({})).sort()).toEqual(all);
  expect((await looksWith({ relay: false, retention: {} })).sort()).toEqual(all);
  expect(await looksWith({ retention: false })).toEqual([]);
  expect(await looksWith({ relay: false })).toEqual([]);
});

test("less than a day cannot be asked for", async () => {
  for (const keepMs of [DAY_MS - 1, 0, -1, Number.NaN, 1.5 * DAY_MS + 0.5, 1e15])
    await expect(bench({ keepMs })).rejects.toThrow(InvalidInput);
  const { app } = await bench({ keepMs: DAY_MS });
  await app.close();
});
