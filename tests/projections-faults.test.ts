import { createArmature, defineError, type ProjectionBatch, type StoreAdapter, systemClock } from "@armature/core";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { SeededRandom } from "../packages/core/src/testing/faults/seeded-random.ts";
import { inMemoryPlace, keyEncryptionKey, type Place, pglitePlace, postgresPlace } from "./scenarios/place.ts";
import { byCustomer, salesContext } from "./scenarios/sales.ts";

const NAME = "sales.by_customer";
const LONG_MS = 300_000;
const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

class Down extends defineError("test.down", {
  kind: "unavailable",
  details: z.object({}),
  message: () => "The store is down.",
}) {}

type Commit = (batch: ProjectionBatch, commit: () => Promise<boolean>) => Promise<boolean>;

/** The store with something around every commit of a projection. */
function around(store: StoreAdapter, commit: Commit): StoreAdapter {
  const projections = new Proxy(store.projections, {
    get(target, key) {
      if (key === "commit")
        return (context: string, batch: ProjectionBatch) => commit(batch, () => target.commit(context, batch));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return new Proxy(store, {
    get(target, key) {
      if (key === "projections") return projections;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe.each(places)("projections when things go wrong, $name", ({ make }) => {
  const opened: Place[] = [];
  afterEach(async () => {
    for (const place of opened.splice(0)) await place.close();
  });
  const place = async () => {
    const made = await make();
    opened.push(made);
    return made;
  };
  const start = async (store: StoreAdapter, more: object = {}, context = salesContext()) => {
    const app = await createArmature({
      ...{ store, keyEncryptionKey, contexts: [context], authorizer: () => true },
      projections: { batch: 3, pollMs: 5, backoffMs: 1, maxBackoffMs: 2 },
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      ...more,
    });
    await app.migrate();
    return app;
  };
  type App = Awaited<ReturnType<typeof start>>;
  const acme = (app: App) => app.as({ tenant: "acme", user: "ann" }).sales;
  const operator = (app: App) => app.as({ tenant: "host", system: "operator" }).projections;
  const rowsOf = async (app: App) => {
    const { items } = await acme(app).customers({ limit: 200 });
    return Object.fromEntries(items.map(({ customer, ...row }) => [customer, row]));
  };
  /** What somebody sells who has noted it. */
  const seller = (app: App, random: SeededRandom) => {
    const events = new Map<string, number>();
    const sell = async () => {
      const customer = `c${Math.floor(random.next() * 5)}`;
      await acme(app).make({ customer, amount: 1 });
      events.set(customer, (events.get(customer) ?? 0) + 1);
    };
    return { events, sell };
  };
  const counts = (rows: Awaited<ReturnType<typeof rowsOf>>) =>
    new Map(Object.entries(rows).map(([customer, row]) => [customer, row.events]));

  test(
    "each event is applied once, though runners of two processes die at any commit, or never hear of it",
    async () => {
      const made = await place();
      const random = new SeededRandom(7);
      const faulty: Commit = async (_batch, commit) => {
        const chance = random.next();
        // What the other one does meanwhile.
        for (let turns = random.next() * 4; turns > 1; turns -= 1)
          await new Promise((resolve) => setImmediate(resolve));
        if (chance < 0.2) throw new Down({});
        const done = await commit();
        if (chance < 0.4) throw new Down({});
        return done;
      };
      // They hold their leases apart, so nothing but the comparison of positions keeps one from the other's work.
      const apps = await Promise.all(
        [3, 5].map(async (batch) =>
          start(around(await made.open(), faulty), {
            projections: { batch, pollMs: 5 },
            lease: {
              acquire: async (key: string) => ({ key, fence: 1, renew: async () => true, release: async () => {} }),
            },
            relay: false,
          }),
        ),
      );
      const [one, two] = apps as [App, App];
      const mine = seller(one, random);
      for (let at = 0; at < 40; at += 1) await mine.sell();
      await Promise.all([one.settled({ timeoutMs: LONG_MS }), two.settled({ timeoutMs: LONG_MS })]);
      expect(counts(await rowsOf(one))).toEqual(mine.events);
      await Promise.all(apps.map((app) => app.close()));
    },
    LONG_MS,
  );

  test(
    "a runner that was away for longer than its lease cannot write over what the next one has done",
    async () => {
      const made = await place();
      let held: (() => void) | undefined;
      let away: (() => void) | undefined;
      const isAway = new Promise<void>((resolve) => {
        away = resolve;
      });
      const answers: boolean[] = [];
      // It is stopped right before it commits what seven is paid for.
      const sleepy: Commit = async (batch, commit) => {
        if (batch.rows.some(({ write }) => write?.row["spent"] === 7)) {
          away?.();
          await new Promise<void>((resolve) => {
            held = resolve;
          });
          const done = await commit();
          answers.push(done);
          return done;
        }
        return commit();
      };
      let owner: "slow" | "next" = "slow";
      const leaseOf = (who: typeof owner) => ({
        acquire: async (key: string) =>
          owner === who ? { key, fence: 1, renew: async () => owner === who, release: async () => {} } : undefined,
      });
      const slow = await start(around(await made.open(), sleepy), { lease: leaseOf("slow"), relay: false });
      await acme(slow).make({ customer: "bo", amount: 2 });
      await slow.settled({ timeoutMs: LONG_MS });
      await acme(slow).make({ customer: "bo", amount: 5 });
      await isAway;
      owner = "next";
      const next = await start(await made.open(), { lease: leaseOf("next"), relay: false });
      await acme(next).make({ customer: "bo", amount: 5 });
      await next.settled({ timeoutMs: LONG_MS });
      expect(await rowsOf(next)).toMatchObject({ bo: { spent: 12, events: 3 } });
      held?.();
      while (answers.length === 0) await systemClock().sleep(1);
      expect(answers).toEqual([false]);
      expect(await rowsOf(next)).toMatchObject({ bo: { spent: 12, events: 3 } });
      await Promise.all([slow.close(), next.close()]);
    },
    LONG_MS,
  );

  test(
    "a rebuild while others write comes to what a projection does that begins afterwards",
    async () => {
      const made = await place();
      const app = await start(await made.open());
      const step = fc.constantFrom<"sell" | "refund" | "rebuild" | "pause" | "resume">(
        ...(["sell", "sell", "sell", "refund", "rebuild", "pause", "resume"] as const),
      );
      const runs = made.name === "in memory" ? 40 : 4;
      let sales: string[] = [];
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
          for (const [at, what] of steps.entries()) {
            if (what === "sell") sales.push((await acme(app).make({ customer: `c${at % 4}`, amount: 2 + at })).saleId);
            else if (what === "refund" && sales.length > 0)
              await acme(app).refund({ saleId: sales[at % sales.length]!, amount: 1 });
            else if (what === "rebuild")
              await operator(app)
                .rebuild({ projection: NAME })
                .catch(() => undefined);
            else if (what === "pause" || what === "resume") await operator(app)[what]({ projection: NAME });
          }
          sales = sales.slice(-10);
          await operator(app).resume({ projection: NAME });
          await app.settled({ timeoutMs: LONG_MS });
          const followed = await rowsOf(app);
          await operator(app)
            .rebuild({ projection: NAME })
            .catch(() => undefined);
          await app.settled({ timeoutMs: LONG_MS });
          expect(await rowsOf(app)).toEqual(followed);
        }),
        { numRuns: runs },
      );
      // And what a process shows that has never heard of any of it.
      const followed = await rowsOf(app);
      await app.close();
      const fresh = await start(await made.open(), {}, salesContext(byCustomer({ version: 2 })));
      await fresh.settled({ timeoutMs: LONG_MS });
      const doubled = Object.entries(followed).map(([customer, row]) => [customer, { ...row, spent: row.spent * 2 }]);
      expect(await rowsOf(fresh)).toEqual(Object.fromEntries(doubled));
      await fresh.close();
    },
    LONG_MS,
  );
});
