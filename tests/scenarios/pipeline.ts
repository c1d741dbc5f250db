import {
  Canceled,
  DeadlineExceeded,
  Forbidden,
  InternalError,
  InvalidInput,
  NotFound,
  ShuttingDown,
  systemClock,
} from "@armature/core";
import { fixedClock, intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { benchOn, gate } from "./bench.ts";
import { Counter, lab as labOfTests, TooMuch } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

const NUL = "\u0000";
const LONE = "\ud800";

export function pipelineScenarios(kind: PlaceKind): void {
  describe(`a call, ${kind.name}`, () => {
    const bench = benchOn(kind);

    describe("is refused", () => {
      test("after its deadline, before anybody looks at its input or asks for its permission", async () => {
        const asked: string[] = [];
        bench.allow((_principal, permission) => asked.push(permission) < 0);
        const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
        const late = lab.add({ counterId: 7 as never }, { timeoutMs: 0 });
        await expect(late).rejects.toThrow(DeadlineExceeded);
        expect(asked).toEqual([]);
      });

      test("when its input does not fit, before its permission is asked for", async () => {
        const asked: string[] = [];
        bench.allow((_principal, permission) => asked.push(permission) < 0);
        const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
        await expect(lab.add({ counterId: 7 as never })).rejects.toThrow(InvalidInput);
        await expect(lab.add({ counterId: "c", more: 1 } as never)).rejects.toThrow("more is not a known field");
        expect(asked).toEqual([]);
        await expect(lab.add({ counterId: "c" })).rejects.toThrow(Forbidden);
        expect(asked).toEqual(["lab:write"]);
      });

      test("without its permission, before the handler runs", async () => {
        const ran: string[] = [];
        bench.allow((_principal, permission) => permission === "lab:read");
        const app = await bench.start({
          lab: {
            add: async () => ({ value: ran.push("add") }),
            act: async () => ({ text: `${ran.push("act")}` }),
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        await expect(lab.add({ counterId: "c" })).rejects.toMatchObject({ details: { permission: "lab:write" } });
        await expect(lab.act({ text: "x" })).rejects.toThrow(Forbidden);
        expect(ran).toEqual([]);
      });

      test.each([
        ["a NUL character", `a${NUL}b`],
        ["half of a surrogate pair", `a${LONE}b`],
      ])("with %s anywhere in its input, and the store never sees it", async (_what, bad) => {
        const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
        await expect(lab.add({ counterId: "c", note: bad })).rejects.toThrow(InvalidInput);
        await expect(lab.collect({ values: [{ deep: [bad] }] })).rejects.toThrow(InvalidInput);
        await expect(lab.collect({ values: [{ [bad]: 1 }] })).rejects.toThrow(InvalidInput);
        await expect(lab.act({ text: bad })).rejects.toThrow(InvalidInput);
        await expect(lab.look({ counterId: bad })).rejects.toThrow(InvalidInput);
        await expect(lab.look({ counterId: "c" })).rejects.toThrow(NotFound);
      });

      test("when what is beside its input cannot be stored or means nothing", async () => {
        const app = await bench.start();
        const tenant = bench.tenant();
        const { lab } = app.as({ tenant, user: "ann" });
        for (const options of [
          { idempotencyKey: "" },
          { idempotencyKey: "a b" },
          { idempotencyKey: "x".repeat(256) },
          { idempotencyKey: `k${NUL}` },
          { correlationId: `c${NUL}` },
          { correlationId: "x".repeat(201) },
          { timeoutMs: Number.NaN },
          { timeoutMs: -1 },
          { timeoutMs: Number.POSITIVE_INFINITY },
        ])
          await expect(lab.add({ counterId: "c" }, options), JSON.stringify(options)).rejects.toThrow(InvalidInput);
        await expect(async () => app.as({ tenant, user: `ann${NUL}` })).rejects.toThrow(InvalidInput);
        await expect(app.call("lab.look", {}, { principal: { tenant, user: LONE } })).rejects.toThrow(InvalidInput);
      });

      test("when the operation is the context's own, whatever stands beside the call", async () => {
        const app = await bench.start();
        const tenant = bench.tenant();
        const client = app.as({ tenant, user: "ann" });
        expect(Object.keys(client.lab)).not.toContain("hidden");
        for (const smuggled of [{}, { from: "lab" }, { from: "lab", causationId: "x", deadline: 1e15 }]) {
          const principal = { tenant, user: "ann" };
          const call = app.call("lab.hidden", { counterId: "c" }, { principal, ...smuggled });
          await expect(call).rejects.toThrow(NotFound);
        }
        await expect(client.lab.look({ counterId: "c" }, { from: "lab" } as never)).rejects.toThrow(
          "There is no counter",
        );
        await expect(app.call("lab.nothing", {}, { principal: { tenant, user: "ann" } })).rejects.toThrow(NotFound);
      });
    });

    test("gives the handler a value of its own, never the caller's, and never another call's", async () => {
      const app = await bench.start({
        lab: {
          collect: async ({ options, values }) => {
            options.tags.push("seen");
            for (const value of values as { deep: string[] }[]) value.deep[0] = "changed";
            return { tags: options.tags, values };
          },
        },
      });
      const acme = app.as({ tenant: bench.tenant(), user: "ann" });
      const globex = app.as({ tenant: bench.tenant(), user: "gus" });
      const mine = { values: [{ deep: ["mine"] }] };
      expect(await acme.lab.collect(mine)).toEqual({ tags: ["seen"], values: [{ deep: ["changed"] }] });
      expect(mine).toEqual({ values: [{ deep: ["mine"] }] });
      // The default holds an object: the next caller must not find in it what the last one left there.
      expect(await globex.lab.collect()).toEqual({ tags: ["seen"], values: [] });
    });

    test("gives the caller a value of its own, never what the handler keeps", async () => {
      const kept = { tags: ["kept"], values: [{ a: 1 }] };
      const app = await bench.start({ lab: { collect: () => kept } });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      const got = await lab.collect();
      got.tags.push("mine");
      (got.values[0] as { a: number }).a = 2;
      expect(kept).toEqual({ tags: ["kept"], values: [{ a: 1 }] });
    });

    test("whose output does not fit commits nothing and says nothing of it", async () => {
      const app = await bench.start({
        lab: {
          add: async ({ counterId }, ctx) => {
            ctx.add(new Counter(counterId)).add(1);
            return { value: "canary" as never };
          },
        },
      });
      const tenant = bench.tenant();
      const { lab, audit } = app.as({ tenant, user: "ann" });
      const error = await lab.add({ counterId: "c" }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(InternalError);
      expect(JSON.stringify(error)).not.toMatch(/canary|value/);
      await expect(lab.look({ counterId: "c" })).rejects.toThrow(NotFound);
      expect((await audit.events()).items).toEqual([]);
      const [row] = (await audit.list()).items;
      expect(row).toMatchObject({ operation: "lab.add", outcome: "failed", errorCode: "internal" });
      expect(row!.traceId).toBe(error.details.traceId);
    });

    test("that fails unexpectedly becomes a bare error with the trace id, and the log has the rest under it", async () => {
      const app = await bench.start({
        lab: {
          look: async () => {
            throw new RangeError("the cause that nobody outside may see");
          },
          add: async () => {
            throw "not even an error";
          },
        },
      });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
      const error = await lab.look({ counterId: "c" }, { traceparent }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(InternalError);
      expect(error.details).toEqual({ traceId: "0af7651916cd43dd8448eb211c80319c" });
      expect(`${error} ${JSON.stringify(error)}`).not.toContain("nobody outside");
      const entry = bench.logger.entries.find(({ fields }) => fields["operation"] === "lab.look");
      expect(entry).toMatchObject({ level: "error", fields: { traceId: error.details.traceId } });
      expect(entry?.fields["error"]).toContain("RangeError: the cause that nobody outside may see");
      await expect(lab.add({ counterId: "c" })).rejects.toThrow(InternalError);
    });

    test("that changes something leaves a row in the audit, whether it succeeds, is refused or fails", async () => {
      const app = await bench.start({
        lab: {
          actAgain: async () => {
            throw new Error("broken");
          },
        },
      });
      const tenant = bench.tenant();
      bench.allow(({ actor }) => actor.id !== "eve");
      const ann = app.as({ tenant, user: "ann" });
      const agent = app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "ann" } });
      await ann.lab.add({ counterId: "c", note: "n" });
      await ann.lab.act({ text: "t", secret: "canary" });
      await expect(agent.lab.add({ counterId: "c", by: 5_000 })).rejects.toThrow(TooMuch);
      await expect(ann.lab.actAgain({ text: "t", secret: "canary" })).rejects.toThrow(InternalError);
      await expect(app.as({ tenant, user: "eve" }).lab.add({ counterId: "c" })).rejects.toThrow(Forbidden);
      await expect(ann.lab.add({ counterId: "" })).rejects.toThrow(InvalidInput);
      await ann.lab.look({ counterId: "c" });

      const { items } = await ann.audit.list();
      const rows = items.map(({ operation, outcome, errorCode, actor, onBehalfOf, target, input }) => [
        operation,
        outcome,
        errorCode,
        actor.id,
        onBehalfOf?.id,
        target,
        input,
      ]);
      expect(rows).toEqual([
        ["lab.add", "refused", "invalid_input", "ann", undefined, undefined, {}],
        ["lab.add", "refused", "forbidden", "eve", undefined, "c", { counterId: "c", by: 1, note: "" }],
        ["lab.actAgain", "failed", "internal", "ann", undefined, undefined, { text: "t", secret: "[redacted]" }],
        ["lab.add", "refused", "lab.too_much", "helper", "ann", "c", { counterId: "c", by: 5_000, note: "" }],
        ["lab.act", "succeeded", undefined, "ann", undefined, undefined, { text: "t", secret: "[redacted]" }],
        ["lab.add", "succeeded", undefined, "ann", undefined, "c", { counterId: "c", by: 1, note: "n" }],
      ]);
    });

    test("that cannot be written to the audit is still answered with its own error", async () => {
      const store = intercepted(await bench.place.open());
      const app = await bench.start({ store: store.port, relay: false });
      store.around("commit", async () => {
        throw new Error("the store is down");
      });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await expect(lab.add({ counterId: "" })).rejects.toThrow(InvalidInput);
      expect(bench.logger.text()).toContain("The audit row of a refused lab.add could not be written");
    });

    test("that loses races is run again, so that of many at once each lands exactly once", async () => {
      const app = await bench.start();
      const { lab, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
      const many = 30;
      const values = await Promise.all(Array.from({ length: many }, () => lab.add({ counterId: "c" })));
      expect(await lab.look({ counterId: "c" })).toEqual({ value: many });
      expect(values.map(({ value }) => value).sort((a, b) => a - b)).toEqual(
        Array.from({ length: many }, (_, at) => at + 1),
      );
      const history = await audit.events({ aggregateType: "counter", aggregateId: "c", direction: "asc", limit: 200 });
      expect(history.items.map(({ aggregateVersion }) => aggregateVersion)).toEqual(
        Array.from({ length: many }, (_, at) => at + 1),
      );
      expect((await audit.list({ limit: 200 })).items).toHaveLength(many);
    });

    test("that lost a race and then does not end keeps nobody else from the aggregate", async () => {
      const clock = fixedClock();
      const [loaded, raced, stuck, end] = [gate(), gate(), gate(), gate()];
      let runs = 0;
      const app = await bench.start({
        clock,
        relay: false,
        lab: {
          add: async ({ counterId, by, note }, ctx) => {
            const counter = (await ctx.tryLoad(Counter, counterId)) ?? ctx.add(new Counter(counterId));
            if (note === "stuck") {
              runs += 1;
              (runs === 1 ? loaded : stuck).open();
              await (runs === 1 ? raced : end).opened;
            }
            counter.add(by, note);
            return { value: counter.value };
          },
        },
      });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      const late = lab.add({ counterId: "c", note: "stuck" }, { timeoutMs: 1_000 });
      const givenUp = expect(late).rejects.toThrow(DeadlineExceeded);
      await loaded.opened;
      await lab.add({ counterId: "c" });
      raced.open();
      await stuck.opened;
      await clock.advance(1_000);
      await givenUp;
      // Two, so that the one that loses meets nobody the second time: it would wait for a clock that stands still.
      await Promise.all([lab.add({ counterId: "c" }), lab.add({ counterId: "c" })]);
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 3 });
      end.open();
    });

    test("sees of the outside only what its kind may use", async () => {
      const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      const outside = ["http", "secrets", "lease", "rateLimiter"];
      const changing = ["add", "send", "newId", "random"];
      const { has: command } = await lab.expose();
      const { has: query } = await lab.exposeToQuery();
      for (const port of outside) expect([...command, ...query]).not.toContain(port);
      for (const port of changing) expect(query).not.toContain(port);
      expect(command).toEqual(expect.arrayContaining(changing));
    });

    test("that only asks changes nothing, whatever it does to what it has loaded", async () => {
      const app = await bench.start({
        lab: {
          look: async ({ counterId }, ctx) => {
            const counter = await ctx.load(Counter, counterId);
            counter.add(100);
            return { value: counter.value };
          },
        },
      });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c" });
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 101 });
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 101 });
    });

    test("commits what it changes of what a search has found, and leaves the rest of it alone", async () => {
      const app = await bench.start();
      const { lab, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
      for (const counterId of ["a", "b", "c"]) await lab.add({ counterId, note: counterId === "c" ? "old" : "new" });
      expect(await lab.addToAll({ label: "new", by: 10 })).toEqual({ counters: 2 });
      const { items } = await lab.list();
      expect(items.map(({ counterId, value }) => [counterId, value])).toEqual([
        ["a", 11],
        ["b", 11],
        ["c", 1],
      ]);
      expect((await audit.events({ types: ["counter.added"] })).items).toHaveLength(5);
    });

    test("that changes found ones while somebody else does is run again, and nothing is lost", async () => {
      const app = await bench.start();
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "a", note: "x" });
      await Promise.all(Array.from({ length: 10 }, () => lab.addToAll({ label: "x", by: 1 })));
      expect(await lab.look({ counterId: "a" })).toEqual({ value: 11 });
    });

    test("belongs to one tenant: another one neither reads nor changes it", async () => {
      const app = await bench.start();
      const acme = app.as({ tenant: bench.tenant(), user: "ann" });
      const globex = app.as({ tenant: bench.tenant(), user: "ann" });
      await acme.lab.add({ counterId: "shared", by: 5 });
      await expect(globex.lab.look({ counterId: "shared" })).rejects.toThrow(NotFound);
      expect((await globex.lab.list()).items).toEqual([]);
      expect(await globex.lab.add({ counterId: "shared" })).toEqual({ value: 1 });
      expect(await acme.lab.look({ counterId: "shared" })).toEqual({ value: 5 });
      expect((await globex.audit.list()).items).toHaveLength(1);
    });

    test("goes on in the trace of its caller, sampled or not as that decided", async () => {
      const app = await bench.start();
      const { lab, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
      const trace = "0af7651916cd43dd8448eb211c80319c";
      await lab.add({ counterId: "a" }, { traceparent: `00-${trace}-b7ad6b7169203331-01`, correlationId: "cor-1" });
      await lab.add({ counterId: "b" }, { traceparent: `00-${trace}-b7ad6b7169203331-00` });
      await lab.add({ counterId: "c" }, { traceparent: "nonsense" });
      const [sampled, unsampled, fresh] = (await audit.events({ types: ["counter.added"], direction: "asc" })).items;
      expect(sampled!.traceparent).toMatch(new RegExp(`^00-${trace}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
      expect(sampled!.correlationId).toBe("cor-1");
      expect(unsampled!.traceparent).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-00$`));
      expect(fresh!.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(fresh!.correlationId).toBe(fresh!.causationId);
    });

    test("whose commit is done has succeeded, whatever a listener makes of it", async () => {
      const app = await bench.start();
      const heard: string[] = [];
      app.on("committed", () => {
        throw new Error("a broken listener");
      });
      app.on("committed", async () => {
        throw new Error("another one");
      });
      app.on("committed", ({ tenant }) => void heard.push(tenant));
      const tenant = bench.tenant();
      const { lab } = app.as({ tenant, user: "ann" });
      expect(await lab.add({ counterId: "c" })).toEqual({ value: 1 });
      expect(heard).toContain(tenant);
      expect(bench.logger.text()).toContain('A listener to "committed" failed');
    });

    describe("is given up", () => {
      test("at its deadline, although its handler does not end, and the handler's signal tells why", async () => {
        const clock = fixedClock();
        const stuck = gate();
        let waitingCalls = 0;
        const seen: unknown[] = [];
        const waiting = (ctx: { readonly signal: AbortSignal }) => {
          ctx.signal.addEventListener("abort", () => seen.push(ctx.signal.reason));
          waitingCalls += 1;
          if (waitingCalls === 2) stuck.open();
          return new Promise<never>((_resolve, reject) => {
            ctx.signal.addEventListener("abort", () => reject(new Error("stopped")));
          });
        };
        const app = await bench.start({
          clock,
          relay: false,
          lab: { act: (_input, ctx) => waiting(ctx), look: (_input, ctx) => waiting(ctx) },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const acting = expect(lab.act({ text: "x" }, { timeoutMs: 1_000 })).rejects.toThrow(DeadlineExceeded);
        const looking = expect(lab.look({ counterId: "c" }, { timeoutMs: 1_000 })).rejects.toThrow(DeadlineExceeded);
        await stuck.opened;
        await clock.advance(1_000);
        await Promise.all([acting, looking]);
        expect(seen.map((reason) => reason instanceof DeadlineExceeded)).toEqual([true, true]);
      });

      test("when its caller does, and the handler's signal says so", async () => {
        const begun = gate();
        let aborted = false;
        const app = await bench.start({
          lab: {
            act: (_input, ctx) =>
              new Promise((_resolve, reject) => {
                ctx.signal.addEventListener("abort", () => {
                  aborted = true;
                  reject(ctx.signal.reason);
                });
                begun.open();
              }),
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const caller = new AbortController();
        const call = lab.act({ text: "x" }, { signal: caller.signal });
        await begun.opened;
        caller.abort(new Error("the person left"));
        await expect(call).rejects.toThrow(Canceled);
        expect(aborted).toBe(true);
        await expect(lab.add({ counterId: "c" }, { signal: caller.signal })).rejects.toThrow(Canceled);
        await expect(lab.look({ counterId: "c" }, { signal: caller.signal })).rejects.toThrow(Canceled);
        await expect(lab.act({ text: "x" }, { signal: caller.signal })).rejects.toThrow(Canceled);
      });

      test("before it commits: a command that is too late changes nothing", async () => {
        const begun = gate();
        const go = gate();
        const app = await bench.start({
          lab: {
            add: async ({ counterId }, ctx) => {
              ctx.add(new Counter(counterId)).add(1);
              begun.open();
              await go.opened;
              return { value: 1 };
            },
          },
        });
        const tenant = bench.tenant();
        const { lab } = app.as({ tenant, user: "ann" });
        const caller = new AbortController();
        const call = lab.add({ counterId: "c" }, { signal: caller.signal });
        await begun.opened;
        caller.abort();
        await expect(call).rejects.toThrow(Canceled);
        go.open();
        await app.close();
        const { lab: after } = (await bench.start()).as({ tenant, user: "ann" });
        await expect(after.look({ counterId: "c" })).rejects.toThrow(NotFound);
      });

      test("without a trace: one that had ended in an error before is not heard of again", async () => {
        const caller = new AbortController();
        const app = await bench.start({
          lab: {
            act: () => {
              throw new TooMuch({ value: 1 });
            },
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        await expect(lab.act({ text: "x" }, { signal: caller.signal })).rejects.toThrow(TooMuch);
        const unhandled: unknown[] = [];
        const note = (reason: unknown) => unhandled.push(reason);
        process.on("unhandledRejection", note);
        caller.abort();
        await new Promise((resolve) => setImmediate(resolve));
        process.off("unhandledRejection", note);
        expect(unhandled).toEqual([]);
      });
    });

    describe("of a stream", () => {
      test("goes on after the cursor that the caller has", async () => {
        const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
        const first: string[] = [];
        for await (const { cursor, item } of lab.watch({ upTo: 5 })) {
          first.push(`${cursor}:${item.n}`);
          if (item.n === 2) break;
        }
        expect(first).toEqual(["1:1", "2:2"]);
        const rest: string[] = [];
        for await (const { cursor } of lab.watch({ upTo: 5 }, { after: "2" })) rest.push(cursor);
        expect(rest).toEqual(["3", "4", "5"]);
      });

      test("ends its generator when the reader stops early", async () => {
        let closed = 0;
        const app = await bench.start({
          lab: {
            watch: async function* () {
              try {
                for (let n = 1; ; n += 1) yield { cursor: String(n), item: { n } };
              } finally {
                closed += 1;
              }
            },
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        for await (const { item } of lab.watch({ upTo: 1 })) if (item.n === 3) break;
        expect(closed).toBe(1);
      });

      test("ends when the caller gives up, also while it waits", async () => {
        const app = await bench.start({
          lab: {
            watch: async function* (_input, ctx) {
              yield { cursor: "1", item: { n: 1 } };
              await systemClock().sleep(60_000, ctx.signal);
            },
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const caller = new AbortController();
        const seen: number[] = [];
        for await (const { item } of lab.watch({ upTo: 1 }, { signal: caller.signal })) {
          seen.push(item.n);
          setImmediate(() => caller.abort());
        }
        expect(seen).toEqual([1]);
      });

      test("ends with a refusal when its caller is no longer allowed", async () => {
        const clock = fixedClock();
        let allowed = true;
        const app = await bench.start({ clock, relay: false, authorizer: () => allowed });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const seen: number[] = [];
        const reading = async () => {
          for await (const { item } of lab.watch({ upTo: 5 })) {
            seen.push(item.n);
            if (item.n === 2) allowed = false;
            await clock.advance(1_000);
          }
        };
        await expect(reading()).rejects.toMatchObject({ code: "forbidden" });
        expect(seen).toEqual([1, 2]);
      });

      test("fails with a typed error, and gives nothing that does not fit", async () => {
        const app = await bench.start({
          lab: {
            watch: async function* ({ upTo }) {
              yield { cursor: "1", item: { n: 1 } };
              if (upTo === 1) throw new TooMuch({ value: 1 });
              yield { cursor: "2", item: { n: "two" as never } };
            },
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const read = async (upTo: number) => {
          const got: number[] = [];
          const error = await (async () => {
            for await (const { item } of lab.watch({ upTo })) got.push(item.n);
          })().catch((thrown) => thrown);
          return [got, error];
        };
        expect(await read(1)).toEqual([[1], expect.any(TooMuch)]);
        expect(await read(2)).toEqual([[1], expect.any(InternalError)]);
        bench.allow(() => false);
        expect(await read(3)).toEqual([[], expect.any(Forbidden)]);
        expect(await read("x" as never)).toEqual([[], expect.any(InvalidInput)]);
      });

      test("lasts longer than a call may, and can ask queries all the while", async () => {
        const clock = fixedClock();
        const app = await bench.start({
          clock,
          relay: false,
          lab: {
            watch: async function* (_input, ctx) {
              yield { cursor: "1", item: { n: 1 } };
              const { has } = await ctx.use(labOfTests).exposeToQuery();
              yield { cursor: "2", item: { n: has.length > 0 ? 2 : 0 } };
            },
          },
        });
        const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
        const seen: number[] = [];
        for await (const { item } of lab.watch({ upTo: 1 })) {
          seen.push(item.n);
          await clock.advance(3_600_000);
        }
        expect(seen).toEqual([1, 2]);
      });
    });

    describe("and the end of the application", () => {
      test("calls under way are answered first, new ones are refused", async () => {
        const begun = gate();
        const go = gate();
        const app = await bench.start({
          lab: {
            act: async ({ text }) => {
              begun.open();
              await go.opened;
              return { text };
            },
          },
        });
        const { lab, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
        const call = lab.act({ text: "done" });
        await begun.opened;
        let closed = false;
        const closing = app.close().then(() => {
          closed = true;
        });
        await expect(lab.add({ counterId: "c" })).rejects.toThrow(ShuttingDown);
        await expect(audit.list()).rejects.toThrow(ShuttingDown);
        expect(closed).toBe(false);
        go.open();
        expect(await call).toEqual({ text: "done" });
        await closing;
        await app.settled();
      });

      test("a handler whose caller has left is waited for, and what it did is in the audit", async () => {
        const begun = gate();
        const go = gate();
        const app = await bench.start({
          lab: {
            act: async ({ text }) => {
              begun.open();
              await go.opened;
              return { text };
            },
          },
        });
        const tenant = bench.tenant();
        const caller = new AbortController();
        const { lab } = app.as({ tenant, user: "ann" });
        const call = lab.act({ text: "late" }, { signal: caller.signal });
        await begun.opened;
        caller.abort();
        await expect(call).rejects.toThrow(Canceled);
        let closed = false;
        const closing = app.close().then(() => {
          closed = true;
        });
        for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        expect(closed).toBe(false);
        go.open();
        await closing;
        const { audit } = (await bench.start()).as({ tenant, user: "ann" });
        const rows = (await audit.list()).items.map(({ outcome, errorCode }) => [outcome, errorCode]);
        expect(rows).toEqual([
          ["succeeded", undefined],
          ["failed", "canceled"],
        ]);
      });

      test("leaves nobody asleep", async () => {
        const clock = fixedClock();
        const app = await bench.start({ clock });
        const { lab, desk } = app.as({ tenant: bench.tenant(), user: "ann" });
        await lab.add({ counterId: "c" });
        await lab.act({ text: "x" }, { idempotencyKey: "k" });
        await desk.tell({ noteId: "n", counterId: "c" });
        await app.settled();
        await expect(lab.act({ text: 1 as never })).rejects.toThrow(InvalidInput);
        await app.close();
        await app.close();
        expect(clock.sleeping).toBe(0);
      });
    });
  });
}
