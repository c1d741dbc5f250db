import {
  Canceled,
  DeadlineExceeded,
  Forbidden,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  IdempotencyResultNotKept,
  InternalError,
  LimitExceeded,
  UnknownOutcome,
} from "@armature/core";
import { type FixedClock, fixedClock, intercepted } from "@armature/core/testing";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { benchOn, gate } from "./bench.ts";
import { lab as labOfTests, TooMuch } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

const key = "key-1";

export function idempotencyScenarios(kind: PlaceKind): void {
  describe(`the same key again, ${kind.name}`, () => {
    const bench = benchOn(kind);
    let tenant: string;
    let clock: FixedClock;

    beforeEach(() => {
      tenant = bench.tenant();
      clock = fixedClock();
    });

    describe("for a command", () => {
      test("gives the first result, and the effect is there once", async () => {
        const { lab, audit } = (await bench.start()).as({ tenant, user: "ann" });
        expect(await lab.add({ counterId: "c", by: 2 }, { idempotencyKey: key })).toEqual({ value: 2 });
        await lab.add({ counterId: "c", by: 5 });
        expect(await lab.add({ counterId: "c", by: 2 }, { idempotencyKey: key })).toEqual({ value: 2 });
        // A default that is written out is the same input.
        expect(await lab.add({ note: "", by: 2, counterId: "c" }, { idempotencyKey: key })).toEqual({ value: 2 });
        expect(await lab.look({ counterId: "c" })).toEqual({ value: 7 });
        expect((await audit.list({ operation: "lab.add" })).items).toHaveLength(2);
      });

      test("gives it also when both come at the same moment", async () => {
        const { lab } = (await bench.start()).as({ tenant, user: "ann" });
        const calls = Array.from({ length: 10 }, () => lab.add({ counterId: "c" }, { idempotencyKey: key }));
        expect(await Promise.all(calls)).toEqual(Array.from({ length: 10 }, () => ({ value: 1 })));
        expect(await lab.look({ counterId: "c" })).toEqual({ value: 1 });
      });

      test("gives it also when the process died between the commit and the answer", async () => {
        const store = intercepted(await bench.place.open());
        const { lab } = (await bench.start({ store: store.port, relay: false })).as({ tenant, user: "ann" });
        store.around("commit", async (proceed) => {
          await proceed();
          throw new Error("the process died");
        });
        await expect(lab.add({ counterId: "c" }, { idempotencyKey: key })).rejects.toThrow(InternalError);
        const { lab: next } = (await bench.start()).as({ tenant, user: "ann" });
        expect(await next.add({ counterId: "c" }, { idempotencyKey: key })).toEqual({ value: 1 });
        expect(await next.look({ counterId: "c" })).toEqual({ value: 1 });
      });

      test("with another input is an error", async () => {
        const { lab } = (await bench.start()).as({ tenant, user: "ann" });
        await lab.add({ counterId: "c" }, { idempotencyKey: key });
        await expect(lab.add({ counterId: "c", by: 3 }, { idempotencyKey: key })).rejects.toThrow(IdempotencyKeyReused);
        expect(await lab.look({ counterId: "c" })).toEqual({ value: 1 });
      });

      test("after a refusal asks anew: nothing had changed", async () => {
        const { lab } = (await bench.start()).as({ tenant, user: "ann" });
        await lab.add({ counterId: "c", by: 1_000 });
        const once = () => lab.add({ counterId: "c" }, { idempotencyKey: key });
        await expect(once()).rejects.toThrow(TooMuch);
        await lab.add({ counterId: "c", by: -10 });
        expect(await once()).toEqual({ value: 991 });
      });

      test("needs the permission again", async () => {
        const { lab } = (await bench.start()).as({ tenant, user: "ann" });
        await lab.add({ counterId: "c" }, { idempotencyKey: key });
        bench.allow(() => false);
        await expect(lab.add({ counterId: "c" }, { idempotencyKey: key })).rejects.toThrow(Forbidden);
      });

      test("means something else for another caller, operation and tenant", async () => {
        const app = await bench.start();
        const other = bench.tenant();
        const callers = [
          app.as({ tenant, user: "ann" }),
          app.as({ tenant, user: "bob" }),
          app.as({ tenant, service: "ann" }),
          app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "ann" } }),
          app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "bob" } }),
        ];
        for (const [at, { lab }] of callers.entries())
          expect(await lab.add({ counterId: "c" }, { idempotencyKey: key })).toEqual({ value: at + 1 });
        await callers[0]!.lab.issue({ counterId: "c" }, { idempotencyKey: key });
        const globex = app.as({ tenant: other, user: "ann" });
        expect(await globex.lab.add({ counterId: "c" }, { idempotencyKey: key })).toEqual({ value: 1 });
      });

      test("keeps no result that is sensitive, and says that it was done", async () => {
        const { lab } = (await bench.start()).as({ tenant, user: "ann" });
        expect(await lab.issue({ counterId: "c" }, { idempotencyKey: key })).toEqual({ token: "once" });
        await expect(lab.issue({ counterId: "c" }, { idempotencyKey: key })).rejects.toThrow(IdempotencyResultNotKept);
        expect(await lab.look({ counterId: "c" })).toEqual({ value: 1 });
      });
    });

    describe("for an action", () => {
      test("gives the first result without acting again, a refusal as well", async () => {
        const acted: string[] = [];
        const app = await bench.start({
          lab: {
            act: async ({ text }, ctx) => {
              acted.push(ctx.callId);
              if (text === "no") throw new TooMuch({ value: 1 });
              return { text: `${text} ${acted.length}` };
            },
          },
        });
        const { lab, audit } = app.as({ tenant, user: "ann" });
        const yes = () => lab.act({ text: "yes" }, { idempotencyKey: "yes" });
        const no = () => lab.act({ text: "no" }, { idempotencyKey: "no" });
        expect([await yes(), await yes()]).toEqual([{ text: "yes 1" }, { text: "yes 1" }]);
        await expect(no()).rejects.toThrow(TooMuch);
        await expect(no()).rejects.toMatchObject({ code: "lab.too_much", details: { value: 1 } });
        expect(await lab.act({ text: "yes" })).toEqual({ text: "yes 3" });
        expect(acted).toHaveLength(3);
        expect((await audit.list({ outcome: "succeeded" })).items).toHaveLength(2);
        await expect(lab.act({ text: "other" }, { idempotencyKey: "yes" })).rejects.toThrow(IdempotencyKeyReused);
      });

      test("keeps a result that holds what a database may not like", async () => {
        let acted = 0;
        const odd = "nul \u0000, half a pair \ud800, quotes \" and ' and \\";
        const app = await bench.start({
          lab: {
            act: async () => {
              acted += 1;
              return { text: odd };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        expect(await lab.act({ text: "x" }, { idempotencyKey: key })).toEqual({ text: odd });
        expect(await lab.act({ text: "x" }, { idempotencyKey: key })).toEqual({ text: odd });
        expect(acted).toBe(1);
      });

      test("keeps no result that is sensitive, and says that it was done", async () => {
        const drawn: string[] = [];
        const app = await bench.start({ lab: { draw: async () => ({ token: `token ${drawn.push("token")}` }) } });
        const { lab } = app.as({ tenant, user: "ann" });
        expect(await lab.draw({}, { idempotencyKey: key })).toEqual({ token: "token 1" });
        await expect(lab.draw({}, { idempotencyKey: key })).rejects.toThrow(IdempotencyResultNotKept);
        expect(drawn).toHaveLength(1);
      });

      test("while the first is under way is refused, with the longest time to wait", async () => {
        const begun = gate();
        const go = gate();
        const app = await bench.start({
          clock,
          relay: false,
          lab: {
            act: async ({ text }) => {
              begun.open();
              await go.opened;
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const first = lab.act({ text: "x" }, { idempotencyKey: key, timeoutMs: 10_000 });
        await begun.opened;
        await clock.advance(4_000);
        const second = lab.act({ text: "x" }, { idempotencyKey: key });
        await expect(second).rejects.toMatchObject({
          code: "idempotency.in_progress",
          details: { key, retryAfterMs: 6_000 },
        });
        go.open();
        expect(await first).toEqual({ text: "x" });
        expect(await lab.act({ text: "x" }, { idempotencyKey: key })).toEqual({ text: "x" });
      });

      /** Begins an action in a process that never comes back from it, and lets its claim lapse. */
      async function cutOff(operation: "act" | "actAgain" | "actByHandler") {
        const begun = gate();
        const died = gate();
        const store = intercepted(await bench.place.open());
        const stuck = async () => {
          begun.open();
          await died.opened;
          return { text: "of the dead" };
        };
        const app = await bench.start({ clock, relay: false, store: store.port, lab: { [operation]: stuck } });
        const { lab } = app.as({ tenant, user: "ann" });
        const lost = lab[operation]({ text: "x" }, { idempotencyKey: key, timeoutMs: 10_000 }).catch(() => undefined);
        await begun.opened;
        // Whatever it still does, it writes no more.
        store.around("commit", async () => {
          throw new Error("dead");
        });
        await clock.advance(10_000);
        died.open();
        await lost;
      }

      test("after the first was cut off is an unknown outcome, and stays one", async () => {
        await cutOff("act");
        let acted = 0;
        const app = await bench.start({
          clock,
          relay: false,
          lab: {
            act: async () => {
              acted += 1;
              return { text: "again" };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.act({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(UnknownOutcome);
        await expect(again()).rejects.toThrow(UnknownOutcome);
        expect(acted).toBe(0);
      });

      test("after the first was cut off acts again where that is declared to do no harm", async () => {
        await cutOff("actAgain");
        const seen: unknown[] = [];
        const app = await bench.start({
          clock,
          relay: false,
          lab: {
            actAgain: async (_input, ctx) => {
              seen.push(ctx.attempt, ctx.callId);
              return { text: "again" };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.actAgain({ text: "x" }, { idempotencyKey: key });
        expect([await again(), await again()]).toEqual([{ text: "again" }, { text: "again" }]);
        expect(seen).toEqual([2, expect.stringMatching(/^call_[0-9a-f]{32}$/)]);
      });

      test("after the first was cut off tells the handler, which decides", async () => {
        await cutOff("actByHandler");
        const app = await bench.start({
          clock,
          relay: false,
          lab: {
            actByHandler: async (_input, ctx) => {
              if (ctx.attempt > 1) throw new UnknownOutcome({ operation: "lab.actByHandler" });
              return { text: "first" };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.actByHandler({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(UnknownOutcome);
        await expect(again()).rejects.toThrow(UnknownOutcome);
        expect(await lab.actByHandler({ text: "x" }, { idempotencyKey: "fresh" })).toEqual({ text: "first" });
      });

      test("has the same call id in every attempt, and another one for another caller", async () => {
        const ids: string[] = [];
        const app = await bench.start({
          lab: {
            actAgain: async (_input, ctx) => {
              ids.push(ctx.callId);
              throw new Error("not yet");
            },
          },
        });
        const call = (user: string) =>
          app
            .as({ tenant, user })
            .lab.actAgain({ text: "x" }, { idempotencyKey: key })
            .catch(() => undefined);
        await call("ann");
        await call("ann");
        await call("bob");
        expect(ids[0]).toBe(ids[1]);
        expect(ids[0]).not.toBe(ids[2]);
      });

      test("after a failure that may pass acts again at once", async () => {
        const attempts: number[] = [];
        const app = await bench.start({
          lab: {
            actAgain: async ({ text }, ctx) => {
              attempts.push(ctx.attempt);
              if (attempts.length < 3) throw new Error("the other side is down");
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.actAgain({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(InternalError);
        await expect(again()).rejects.toThrow(InternalError);
        expect(await again()).toEqual({ text: "x" });
        expect(await again()).toEqual({ text: "x" });
        expect(attempts).toEqual([1, 2, 3]);
      });

      test("after a failure that may have had its effect is an unknown outcome where it must not be repeated", async () => {
        let acted = 0;
        const app = await bench.start({
          lab: {
            act: async () => {
              acted += 1;
              throw new Error("the answer was lost");
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.act({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(InternalError);
        await expect(again()).rejects.toThrow(UnknownOutcome);
        expect(acted).toBe(1);
      });

      test("after a limit was reached before anything happened is the first attempt once more", async () => {
        const attempts: number[] = [];
        const app = await bench.start({
          lab: {
            act: async ({ text }, ctx) => {
              attempts.push(ctx.attempt);
              if (attempts.length < 3) throw new LimitExceeded({ limit: "ours", retryAfterMs: 10 });
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.act({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(LimitExceeded);
        await expect(again()).rejects.toThrow(LimitExceeded);
        expect(await again()).toEqual({ text: "x" });
        expect(attempts).toEqual([1, 1, 1]);
      });

      test("after a limit that a later part of the handler met is an unknown outcome", async () => {
        let limited = true;
        const app = await bench.start({
          lab: {
            act: async ({ text }, ctx) => {
              await ctx.use(labOfTests).add({ counterId: "c" });
              await ctx.use(labOfTests).actAgain({ text: "x" });
              return { text };
            },
            actAgain: async ({ text }) => {
              if (limited) throw new LimitExceeded({ limit: "of the second", retryAfterMs: 10 });
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const again = () => lab.act({ text: "x" }, { idempotencyKey: key });
        await expect(again()).rejects.toThrow(LimitExceeded);
        limited = false;
        await expect(again()).rejects.toThrow(UnknownOutcome);
        expect(await lab.look({ counterId: "c" })).toEqual({ value: 1 });
      });

      test("after an attempt that had not begun when its caller gave up is the first attempt once more", async () => {
        const store = intercepted(await bench.place.open());
        const attempts: number[] = [];
        const app = await bench.start({
          store: store.port,
          relay: false,
          lab: {
            act: async ({ text }, ctx) => {
              attempts.push(ctx.attempt);
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const caller = new AbortController();
        const lift = store.around("commit", async (proceed) => {
          caller.abort();
          return proceed();
        });
        const call = lab.act({ text: "x" }, { idempotencyKey: key, signal: caller.signal });
        await expect(call).rejects.toThrow(Canceled);
        lift();
        // Who has given up does not wait until the claim is given back.
        const again = () => lab.act({ text: "x" }, { idempotencyKey: key });
        await vi.waitFor(async () => expect(await again()).toEqual({ text: "x" }), { timeout: 5_000 });
        expect(attempts).toEqual([1]);
      });

      test("gives what the handler came to after its caller had left", async () => {
        const begun = gate();
        const go = gate();
        let acted = 0;
        const app = await bench.start({
          lab: {
            act: async ({ text }) => {
              acted += 1;
              begun.open();
              await go.opened;
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const caller = new AbortController();
        const call = lab.act({ text: "late" }, { idempotencyKey: key, signal: caller.signal });
        await begun.opened;
        caller.abort();
        await expect(call).rejects.toThrow(Canceled);
        // It is at work still, so nobody else may begin.
        await expect(lab.act({ text: "late" }, { idempotencyKey: key })).rejects.toThrow(IdempotencyInProgress);
        go.open();
        await app.close();
        const { lab: next } = (await bench.start()).as({ tenant, user: "ann" });
        expect(await next.act({ text: "late" }, { idempotencyKey: key })).toEqual({ text: "late" });
        expect(acted).toBe(1);
      });

      test("that overtook the first one is what counts, whatever the first one still comes to", async () => {
        const begun = gate();
        const go = gate();
        const slow = await bench.start({
          clock,
          relay: false,
          lab: {
            actAgain: async () => {
              begun.open();
              await go.opened;
              return { text: "of the first" };
            },
          },
        });
        const first = slow
          .as({ tenant, user: "ann" })
          .lab.actAgain({ text: "x" }, { idempotencyKey: key, timeoutMs: 1_000 });
        const gaveUp = expect(first).rejects.toThrow(DeadlineExceeded);
        await begun.opened;
        await clock.advance(1_000);
        await gaveUp;
        const quick = await bench.start({
          clock,
          relay: false,
          lab: { actAgain: async () => ({ text: "of the second" }) },
        });
        const { lab, audit } = quick.as({ tenant, user: "ann" });
        const again = () => lab.actAgain({ text: "x" }, { idempotencyKey: key });
        expect(await again()).toEqual({ text: "of the second" });
        go.open();
        await slow.close();
        expect(await again()).toEqual({ text: "of the second" });
        const { items } = await audit.list({ operation: "lab.actAgain" });
        expect(items.map(({ outcome }) => outcome).sort()).toEqual(["failed", "succeeded"]);
      });

      test("is answered with its own error when that could not be written down", async () => {
        const store = intercepted(await bench.place.open());
        const app = await bench.start({
          store: store.port,
          relay: false,
          lab: {
            act: async () => {
              store.around("commit", async () => {
                throw new Error("the store is down");
              });
              throw new TooMuch({ value: 3 });
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        await expect(lab.act({ text: "x" }, { idempotencyKey: key })).rejects.toThrow(TooMuch);
        expect(bench.logger.text()).toContain("could not be recorded");
      });

      test("does not stay refused because of a race that an inner call had lost", async () => {
        const inner = gate();
        const go = gate();
        const app = await bench.start({
          lab: {
            actAgain: async ({ text }, ctx) => ctx.use(labOfTests).act({ text }, { idempotencyKey: "inner" }),
            act: async ({ text }) => {
              inner.open();
              await go.opened;
              return { text };
            },
          },
        });
        const { lab } = app.as({ tenant, user: "ann" });
        const first = lab.actAgain({ text: "x" }, { idempotencyKey: "one" });
        await inner.opened;
        const second = () => lab.actAgain({ text: "x" }, { idempotencyKey: "two" });
        await expect(second()).rejects.toThrow(IdempotencyInProgress);
        go.open();
        expect(await first).toEqual({ text: "x" });
        expect(await second()).toEqual({ text: "x" });
      });
    });
  });
}
