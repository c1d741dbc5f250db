import type { HeldLease, Lease } from "@armature/core";
import { beforeAll, expect, vi } from "vitest";
import { fresh } from "./expectations.ts";
import { expectOutage, type Losable, onceBack, withoutBackend } from "./outage-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface LeaseSetup extends Losable {
  readonly lease: Lease;
  /** The same leases as another process sees them; the same object when absent. */
  readonly elsewhere?: Lease;
  /** Moves the adapter's time. Without it the suite uses short times and waits until they have really run out. */
  pass?(ms: number): Promise<void> | void;
}

const SHORT_MS = 150;
const LONG_MS = 600_000;

/** What every `Lease` must do. */
export function leaseSuite(
  adapter: string,
  setup: () => LeaseSetup | Promise<LeaseSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Lease", adapter, options, (test) => {
    let ready: LeaseSetup;
    beforeAll(async () => {
      ready = await setup();
    });
    const here = () => ready.lease;
    const elsewhere = () => ready.elsewhere ?? ready.lease;

    /** The lease of a key as soon as whoever holds it for a short time has lost it. */
    const afterExpiry = async (key: string, by: Lease): Promise<HeldLease> => {
      await ready.pass?.(SHORT_MS);
      return vi.waitFor(
        async () => {
          const held = await by.acquire(key, LONG_MS);
          expect(held).toBeDefined();
          return held!;
        },
        { timeout: 10_000, interval: 10 },
      );
    };
    /** Returns when a short lease that was taken before the call has run out: one that is taken now has. */
    const shortTimeIsOver = async () => {
      const watch = fresh("watch");
      await here().acquire(watch, SHORT_MS);
      await afterExpiry(watch, here());
    };
    const expectHeld = (held: HeldLease | undefined): HeldLease => {
      expect(held).toBeDefined();
      return held!;
    };

    test("a free lease is given, with its key and a fence", async () => {
      const key = fresh("key");
      const held = expectHeld(await here().acquire(key, LONG_MS));
      expect(held.key).toBe(key);
      expect(Number.isSafeInteger(held.fence)).toBe(true);
    });

    test("a lease that somebody holds is given to nobody, here or elsewhere", async () => {
      const key = fresh("key");
      await here().acquire(key, LONG_MS);
      expect(await here().acquire(key, LONG_MS)).toBeUndefined();
      expect(await elsewhere().acquire(key, LONG_MS)).toBeUndefined();
    });

    test("leases of different keys have nothing to do with each other", async () => {
      const key = fresh("key");
      const keys = [key, `${key}/`, `${key} 日本語`, `${key}'"%_`, `${key}:${"k".repeat(200)}`, key.toUpperCase()];
      for (const each of keys) expectHeld(await here().acquire(each, LONG_MS));
      for (const each of keys) expect(await elsewhere().acquire(each, LONG_MS)).toBeUndefined();
    });

    test("of many who ask at once exactly one gets it, time after time", async () => {
      for (let round = 0; round < 5; round += 1) {
        const key = fresh("key");
        const asked = Array.from({ length: 20 }, (_, at) =>
          (at % 2 === 0 ? here() : elsewhere()).acquire(key, LONG_MS),
        );
        expect((await Promise.all(asked)).filter((held) => held !== undefined)).toHaveLength(1);
      }
    });

    test("a lease that is given back is free", async () => {
      const key = fresh("key");
      const held = expectHeld(await here().acquire(key, LONG_MS));
      await held.release();
      expectHeld(await elsewhere().acquire(key, LONG_MS));
    });

    test("a lease runs out by itself", async () => {
      const key = fresh("key");
      expectHeld(await here().acquire(key, SHORT_MS));
      expectHeld(await afterExpiry(key, elsewhere()));
    });

    test("the fence grows with every holder, whether the one before gave the lease back, lost it or renewed it", async () => {
      const key = fresh("key");
      const fences: number[] = [];
      for (let round = 0; round < 4; round += 1) {
        const held = expectHeld(await (round % 2 === 0 ? here() : elsewhere()).acquire(key, LONG_MS));
        await held.renew(LONG_MS);
        fences.push(held.fence);
        await held.release();
      }
      fences.push(expectHeld(await here().acquire(key, SHORT_MS)).fence);
      const next = await afterExpiry(key, elsewhere());
      fences.push(next.fence);
      await next.release();
      const last = await Promise.all(Array.from({ length: 5 }, () => here().acquire(key, LONG_MS)));
      fences.push(expectHeld(last.find((held) => held !== undefined)).fence);
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    });

    test("a renewed lease lasts from then on", async () => {
      const key = fresh("key");
      const held = expectHeld(await here().acquire(key, SHORT_MS));
      expect(await held.renew(LONG_MS)).toBe(true);
      await shortTimeIsOver();
      expect(await elsewhere().acquire(key, LONG_MS)).toBeUndefined();
      expect(await held.renew(LONG_MS)).toBe(true);
    });

    test("a lease can be renewed to a shorter time", async () => {
      const key = fresh("key");
      const held = expectHeld(await here().acquire(key, LONG_MS));
      expect(await held.renew(SHORT_MS)).toBe(true);
      expectHeld(await afterExpiry(key, elsewhere()));
    });

    test("a lease that has run out cannot be renewed, even when nobody has taken it", async () => {
      const key = fresh("key");
      const held = expectHeld(await here().acquire(key, SHORT_MS));
      await shortTimeIsOver();
      expect(await held.renew(LONG_MS)).toBe(false);
      expectHeld(await elsewhere().acquire(key, LONG_MS));
    });

    test("whoever has lost a lease can neither renew it nor give away what another holds", async () => {
      const key = fresh("key");
      const lost = expectHeld(await here().acquire(key, SHORT_MS));
      const present = await afterExpiry(key, elsewhere());
      expect(await lost.renew(LONG_MS)).toBe(false);
      await lost.release();
      expect(await here().acquire(key, LONG_MS)).toBeUndefined();
      expect(await present.renew(LONG_MS)).toBe(true);
    });

    test("a lease that was given back cannot be renewed or given back again", async () => {
      const key = fresh("key");
      const first = expectHeld(await here().acquire(key, LONG_MS));
      await first.release();
      expect(await first.renew(LONG_MS)).toBe(false);
      const second = expectHeld(await here().acquire(key, LONG_MS));
      await first.release();
      expect(await here().acquire(key, LONG_MS)).toBeUndefined();
      expect(await second.renew(LONG_MS)).toBe(true);
    });

    test("however takers of two instances meet, never two hold it, and each has a higher fence than the one before", async () => {
      const key = fresh("key");
      let holding = 0;
      let most = 0;
      const fences: number[] = [];
      const taker = async (by: Lease, at: number) => {
        for (let turn = 0; turn < 8; ) {
          const held = await by.acquire(key, LONG_MS);
          if (held === undefined) {
            await new Promise((resolve) => setImmediate(resolve));
            continue;
          }
          holding += 1;
          most = Math.max(most, holding);
          fences.push(held.fence);
          if ((turn + at) % 3 === 0) expect(await held.renew(LONG_MS)).toBe(true);
          else await new Promise((resolve) => setImmediate(resolve));
          holding -= 1;
          await held.release();
          turn += 1;
        }
      };
      await Promise.all(Array.from({ length: 4 }, (_, at) => taker(at % 2 === 0 ? here() : elsewhere(), at)));
      expect(most).toBe(1);
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
      expect(fences).toHaveLength(32);
    }, 30_000);

    test("while the backend is away nobody gets or keeps a lease; after that there is one holder, with a higher fence", async (context) => {
      const [key, free] = [fresh("key"), fresh("key")];
      const held = expectHeld(await here().acquire(key, LONG_MS));
      await withoutBackend(context, ready, async () => {
        await expectOutage(here().acquire(free, LONG_MS));
        await expectOutage(held.renew(LONG_MS));
      });
      expectHeld(await onceBack(() => here().acquire(free, LONG_MS)));
      // A backend may have forgotten who held it: then it is lost, and whoever is next can be told apart.
      const next = await onceBack(() => elsewhere().acquire(key, LONG_MS));
      expect(await held.renew(LONG_MS)).toBe(next === undefined);
      if (next !== undefined) expect(next.fence).toBeGreaterThan(held.fence);
    }, 60_000);
  });
}
