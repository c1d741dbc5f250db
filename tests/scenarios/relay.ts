import {
  type CloudEvent,
  createArmature,
  defineContext,
  defineContract,
  type EventBus,
  headOf,
  type Message,
  NotFound,
} from "@armature/core";
import { fixedClock, intercepted } from "@armature/core/testing";
import { describe, expect, test, vi } from "vitest";
import { benchOn, gate, type LabApp } from "./bench.ts";
import { Added, labContext, lab as labOfTests, Note, noteDown, noteOf, type OnAdded } from "./lab.ts";
import { keyEncryptionKey, type PlaceKind } from "./place.ts";

const range = (count: number) => Array.from({ length: count }, (_, at) => `${at + 1}`);

/** Resolves when a delivery has failed this often. */
function failure(app: LabApp, consumer: string, attempts: number): Promise<void> {
  return new Promise((resolve) => {
    const off = app.on("delivery-failed", (event) => {
      if (event.consumer !== consumer || event.attempts !== attempts) return;
      off();
      resolve();
    });
  });
}

/** A bus that can be down, and remembers what it took. */
function fallibleBus() {
  const taken: CloudEvent[] = [];
  const state = { down: false, attempts: 0 };
  const bus: EventBus = {
    publish: async (events) => {
      state.attempts += 1;
      if (state.down) throw new Error("the bus is down");
      taken.push(...events);
    },
    subscribe: async () => ({ close: async () => undefined }),
    ping: async () => undefined,
    close: async () => undefined,
  };
  return { bus, taken, state };
}

export function relayScenarios(kind: PlaceKind): void {
  describe(`events, ${kind.name}`, () => {
    const bench = benchOn(kind);

    const textsOf = async (app: LabApp, tenant: string, consumer: string, counter: string) => {
      const { desk } = app.as({ tenant, user: "ann" });
      return desk.read({ noteId: noteOf(consumer, counter) }).then(
        ({ texts }) => texts,
        () => [],
      );
    };
    const noteIn = (message: Message) => message.kind === "event" && message.event.data["note"];
    const lettersOf = async (tenant: string) => {
      const { store } = bench.place;
      return (await store.deadLetters({ tenant, context: "lab" }, { limit: 200 })).items;
    };
    /** Adds with the notes 1, 2, 3 …, one after the other. */
    const addMany = async (app: LabApp, tenant: string, counterId: string, count: number) => {
      const { lab } = app.as({ tenant, user: "ann" });
      for (const note of range(count)) await lab.add({ counterId, note });
    };

    test("reach every consumer, those of one aggregate in their order", async () => {
      const app = await bench.start();
      const tenant = bench.tenant();
      const counters = ["a", "b", "c", "d"];
      await Promise.all(counters.map((counter) => addMany(app, tenant, counter, 8)));
      await app.settled();
      for (const counter of counters)
        for (const consumer of ["first", "second"])
          expect(await textsOf(app, tenant, consumer, counter), `${consumer} ${counter}`).toEqual(range(8));
    });

    test("are tried again after growing waits, while other aggregates and consumers go on", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const runs: number[] = [];
      const began = clock.now();
      const first: OnAdded = async (event, ctx) => {
        if (event.tenant !== tenant || event.aggregateId !== "bad") return noteDown("first")(event, ctx);
        runs.push(clock.now() - began);
        if (runs.length < 4) throw new Error("not now");
        return noteDown("first")(event, ctx);
      };
      const app = await bench.start({ clock, desk: { first } });
      const failed = failure(app, "desk.first", 1);
      await addMany(app, tenant, "bad", 2);
      await addMany(app, tenant, "good", 2);
      await failed;
      await app.settled();
      expect(await textsOf(app, tenant, "first", "bad")).toEqual([]);
      expect(await textsOf(app, tenant, "second", "bad")).toEqual(range(2));
      expect(await textsOf(app, tenant, "first", "good")).toEqual(range(2));
      for (const wait of [200, 400, 800]) {
        await clock.advance(wait - 1);
        await app.settled();
        await clock.advance(1);
        await app.settled();
      }
      expect(runs.slice(0, 4)).toEqual([0, 200, 600, 1_400]);
      expect(await textsOf(app, tenant, "first", "bad")).toEqual(range(2));
    });

    test("are parked after the last attempt with the rest of their aggregate, for that consumer only", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const other = bench.tenant();
      let broken = true;
      const first: OnAdded = async (event, ctx) => {
        if (broken && event.tenant === tenant && event.aggregateId === "bad") throw new Error("never");
        return noteDown("first")(event, ctx);
      };
      const app = await bench.start({ clock, desk: { first }, relay: { maxAttempts: 3 } });
      await addMany(app, tenant, "bad", 3);
      await addMany(app, tenant, "good", 1);
      await addMany(app, other, "bad", 1);
      for (const wait of [0, 200, 400]) {
        await clock.advance(wait);
        await app.settled();
      }
      await app.as({ tenant, user: "ann" }).lab.add({ counterId: "bad", note: "4" });
      await app.settled();
      const letters = await lettersOf(tenant);
      expect(letters.map(({ consumer, attempts, message }) => [consumer, attempts, noteIn(message)])).toEqual([
        ["desk.first", 3, "1"],
        ["desk.first", 0, "2"],
        ["desk.first", 0, "3"],
        ["desk.first", 0, "4"],
      ]);
      expect(letters[0]!.reason).toBe("Error: never");
      expect(letters[1]!.reason).toContain("an earlier event of the same aggregate is parked");
      expect(await lettersOf(other)).toEqual([]);
      expect(await textsOf(app, tenant, "second", "bad")).toEqual(range(4));
      expect(await textsOf(app, tenant, "first", "good")).toEqual(["1"]);
      expect(await textsOf(app, other, "first", "bad")).toEqual(["1"]);
      const { store } = bench.place;
      expect(await store.outbox.size("lab")).toBe(0);

      // Delivered again: in order, before what is new, and to nobody who had them.
      broken = false;
      const { delivery, audit } = app.as({ tenant, user: "ann" });
      const { items: parked } = await delivery.listDeadLetters();
      expect(parked.map(({ aggregate, attempts }) => [aggregate?.version, attempts])).toEqual([
        [1, 3],
        [2, 0],
        [3, 0],
        [4, 0],
      ]);
      const { context, consumer, messageId } = parked[2]!;
      expect(await delivery.getDeadLetter({ context, consumer, messageId })).toMatchObject({
        kind: "event",
        type: "counter.added",
        data: { counterId: "bad", note: "3" },
      });
      // One of them is given up, and who did so and why can be read.
      await delivery.skipDeadLetter({ context, consumer, messageId, reason: "a test of a supplier" });
      const [row] = (await audit.list({ operation: "delivery.skipDeadLetter" })).items;
      expect(row).toMatchObject({ target: messageId, outcome: "succeeded", input: { reason: "a test of a supplier" } });
      await expect(delivery.getDeadLetter({ context, consumer, messageId })).rejects.toThrow(NotFound);
      await expect(delivery.retryDeadLetter({ context, consumer, messageId })).rejects.toThrow(NotFound);
      await delivery.retryDeadLetter({ context, consumer, messageId: parked[1]!.messageId });
      await app.as({ tenant, user: "ann" }).lab.add({ counterId: "bad", note: "5" });
      await app.settled();
      expect(await textsOf(app, tenant, "first", "bad")).toEqual(["1", "2", "4", "5"]);
      expect(await textsOf(app, tenant, "second", "bad")).toEqual(range(5));
      expect(await lettersOf(tenant)).toEqual([]);
      expect(await store.outbox.size("lab")).toBe(0);
    });

    test("of the past can be given to a consumer that came later, from a point in time on and before what is new", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const before = await bench.start({ clock, desk: { first: async () => undefined } });
      await addMany(before, tenant, "c", 2);
      await before.settled();
      await clock.advance(60_000);
      await addMany(before, tenant, "c", 3);
      await addMany(before, tenant, "d", 1);
      await before.settled();
      const [, , from] = (
        await before.as({ tenant, user: "ann" }).audit.events({ types: ["counter.added"], direction: "asc" })
      ).items;
      await before.close();

      // It has handled nothing of the past, as far as the store knows.
      const seen: string[] = [];
      const app = await bench.start({ clock, desk: { first: async () => undefined } });
      const late = defineContext(defineContract("late", {}, { events: [] }), {
        dependsOn: [labOfTests],
        handlers: {},
        subscriptions: (on) => [
          on(Added, { consumer: "late.copy" }, async (event) => {
            if (event.tenant === tenant) seen.push(`${event.aggregateId}@${event.aggregateVersion}`);
          }),
        ],
      });
      await app.close();
      const next = await createArmature({
        clock,
        keyEncryptionKey,
        authorizer: () => true,
        store: await bench.place.open(),
        contexts: [labContext(), late],
        logger: bench.logger,
      });
      try {
        await next.migrate();
        const { delivery } = next.as({ tenant, user: "ann" });
        const all: number[] = [];
        const query = { context: "lab", consumer: "late.copy", since: from!.time, limit: 3 };
        for (let after: string | undefined; ; ) {
          const page = await delivery.redeliver({ ...query, ...(after === undefined ? {} : { after }) });
          all.push(page.events);
          after = page.next;
          if (after === undefined) break;
        }
        await next.settled();
        expect(all).toEqual([3, 1]);
        expect(seen.toSorted()).toEqual(["c@3", "c@4", "c@5", "d@1"]);
        expect(seen.filter((each) => each.startsWith("c"))).toEqual(["c@3", "c@4", "c@5"]);
        await delivery.redeliver(query);
        await next.settled();
        expect(seen).toHaveLength(4);
        expect(await bench.place.store.outbox.size("lab")).toBe(0);
        await expect(delivery.redeliver({ ...query, consumer: "late.nobody" })).rejects.toThrow(NotFound);
      } finally {
        await next.close();
      }
    });

    test("that are replayed while another consumer is at work on them reach their consumer", async () => {
      const tenant = bench.tenant();
      const [begun, go] = [gate(), gate()];
      let broken = true;
      const first: OnAdded = async (event, ctx) => {
        if (broken && event.tenant === tenant) throw new Error("never");
        return noteDown("first")(event, ctx);
      };
      const second: OnAdded = async (event, ctx) => {
        if (event.tenant === tenant) begun.open();
        await go.opened;
        return noteDown("second")(event, ctx);
      };
      const store = intercepted(await bench.place.open());
      let read = gate();
      store.around("outbox.read", async (proceed, [context]) => {
        const entries = await proceed();
        if (context === "lab") read.open();
        return entries;
      });
      const app = await bench.start({ store: store.port, desk: { first, second }, relay: { maxAttempts: 1 } });
      await addMany(app, tenant, "c", 1);
      await begun.opened;
      broken = false;
      const { delivery } = app.as({ tenant, user: "ann" });
      const [letter] = (await delivery.listDeadLetters()).items;
      await delivery.retryDeadLetter({ context: "lab", consumer: "desk.first", messageId: letter!.messageId });
      // One read may be under way already; the second has carried the replay out.
      for (let reads = 0; reads < 2; reads += 1) {
        read = gate();
        await read.opened;
      }
      go.open();
      await app.settled();
      for (const consumer of ["first", "second"]) expect(await textsOf(app, tenant, consumer, "c")).toEqual(["1"]);
      expect(await lettersOf(tenant)).toEqual([]);
      expect(await bench.place.store.outbox.size("lab")).toBe(0);
    });

    test("that wait for a free place are left to others when the application closes", async () => {
      const tenant = bench.tenant();
      const [begun, go] = [gate(), gate()];
      let runs = 0;
      const first: OnAdded = async (event, ctx) => {
        if (event.tenant !== tenant) return;
        runs += 1;
        if (runs === 2) begun.open();
        await go.opened;
        return noteDown("first")(event, ctx);
      };
      const writing = await bench.start({ relay: false });
      for (const counter of range(12)) await addMany(writing, tenant, counter, 1);
      const app = await bench.start({ desk: { first }, relay: { concurrency: 2 } });
      await begun.opened;
      const closing = app.close();
      go.open();
      await closing;
      expect(runs).toBe(2);
      const next = await bench.start();
      await next.settled();
      for (const counter of range(12)) expect(await textsOf(next, tenant, "first", counter)).toEqual(["1"]);
    });

    test("whose failure cannot be noted are not tried again at once", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      let runs = 0;
      const first: OnAdded = async (event) => {
        if (event.tenant !== tenant) return;
        runs += 1;
        throw new Error("not now");
      };
      const store = intercepted(await bench.place.open());
      store.around("outbox.failed", async (proceed) => {
        if (runs <= 20) throw new Error("the database cannot be written to");
        return proceed();
      });
      const app = await bench.start({ clock, store: store.port, desk: { first } });
      await addMany(app, tenant, "c", 1);
      await app.settled();
      expect(runs).toBe(1);
      await clock.advance(1_000);
      await app.settled();
      expect(runs).toBe(2);
    });

    test("of a version that is not known here are parked at once", async () => {
      const tenant = bench.tenant();
      const app = await bench.start({ relay: false });
      const { lab, audit } = app.as({ tenant, user: "ann" });
      await lab.add({ counterId: "c", note: "1" });
      const [known] = (await audit.events()).items;
      const { store } = bench.place;
      const event = { ...known!, id: `${known!.id}x`, version: 2, aggregateVersion: 2, context: "lab" };
      const aggregate = { type: "counter", id: "c", expectedVersion: 1 };
      await store.commit(tenant, {
        parts: [
          {
            context: "lab",
            aggregates: [
              {
                ...aggregate,
                write: { version: 2, stateVersion: 1, state: { value: 2, label: "" }, index: { label: "4" } },
              },
            ],
            events: [event],
            messages: [],
            audit: [],
          },
        ],
      });
      const next = await bench.start();
      await next.settled();
      const letters = await lettersOf(tenant);
      expect(letters.map(({ consumer, attempts }) => [consumer, attempts]).sort()).toEqual([
        ["desk.first", 1],
        ["desk.second", 1],
      ]);
      expect(letters[0]!.reason).toContain("version is newer than 1");
      expect(await textsOf(next, tenant, "first", "c")).toEqual(["1"]);
    });

    test("whose handler fails with an odd text are parked like others and hold nobody up", async () => {
      const tenant = bench.tenant();
      const first: OnAdded = async (event, ctx) => {
        if (event.tenant === tenant && event.aggregateId === "bad")
          throw new Error(`nul \u0000, half a pair \ud800, and long ${"x".repeat(100_000)}`);
        return noteDown("first")(event, ctx);
      };
      const app = await bench.start({ desk: { first }, relay: { maxAttempts: 1 } });
      await addMany(app, tenant, "bad", 1);
      await addMany(app, tenant, "good", 1);
      await app.settled();
      const [letter] = await lettersOf(tenant);
      expect(letter!.reason.length).toBeLessThanOrEqual(1_000);
      expect(letter!.reason).toContain("nul , half a pair \ufffd, and long x");
      expect(await textsOf(app, tenant, "first", "good")).toEqual(["1"]);
    });

    test("that more than a page of failing ones stands before are handled nevertheless", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const writing = await bench.start({ clock, relay: false });
      await addMany(writing, tenant, "bad", 520);
      await addMany(writing, tenant, "good", 2);
      await writing.close();
      const store = intercepted(await bench.place.open());
      const limits = new Set<unknown>();
      store.around("outbox.read", (proceed, [, query]) => {
        limits.add((query as { limit: number }).limit);
        return proceed();
      });
      let tries = 0;
      const broken: OnAdded = async (event, ctx) => {
        if (event.tenant !== tenant || event.aggregateId === "good") return noteDown("first")(event, ctx);
        tries += 1;
        throw new Error("not now");
      };
      const app = await bench.start({ clock, store: store.port, desk: { first: broken } });
      await app.settled();
      expect(await textsOf(app, tenant, "first", "good")).toEqual(range(2));
      expect(tries).toBe(1);
      expect(Math.max(...([...limits] as number[]))).toBeLessThanOrEqual(500);
      await app.close();
      const mended = await bench.start();
      await mended.settled();
      expect(await textsOf(mended, tenant, "first", "bad")).toEqual(range(520));
    });

    test("wait for a bus that is down while local consumers go on, and then go to it in their order", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const { bus, taken, state } = fallibleBus();
      const writing = await bench.start({ clock, relay: false });
      await addMany(writing, tenant, "c", 230);
      await writing.close();
      state.down = true;
      let handled = 0;
      const first: OnAdded = async (event, ctx) => {
        await noteDown("first")(event, ctx);
        handled += 1;
        // In the middle of a pass the bus comes back, and it would be time to try it again.
        if (handled === 100) {
          await clock.advance(10_000);
          state.down = false;
        }
      };
      const app = await bench.start({ clock, bus, desk: { first } });
      await app.settled();
      expect(await textsOf(app, tenant, "first", "c")).toEqual(range(230));
      await clock.advance(60_000);
      await app.settled();
      const counted = taken.filter(({ type, tenant: of }) => type === "counter.added" && of === tenant);
      expect(counted.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 230 }, (_, at) => at + 1));
      expect(await bench.place.store.outbox.size("lab")).toBe(0);
    });

    test("are read once while the bus is down, however many wait, and again when it is tried", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const { bus, taken, state } = fallibleBus();
      const writing = await bench.start({ clock, relay: false });
      await addMany(writing, tenant, "c", 100);
      await writing.close();
      state.down = true;
      const store = await bench.place.open();
      const { outbox } = store;
      const read = vi.spyOn(outbox, "read");
      const brought = async () => {
        const pages = await Promise.all(read.mock.results.map(({ value }) => value as ReturnType<typeof outbox.read>));
        read.mockClear();
        return pages.flat().filter(({ message }) => headOf(message).tenant === tenant).length;
      };
      try {
        const app = await bench.start({ store, clock, bus, relay: { backoffMs: 10_000, pollMs: 1_000 } });
        await app.settled();
        expect(await brought()).toBeGreaterThanOrEqual(100);
        for (let second = 0; second < 5; second += 1) {
          await clock.advance(1_000);
          await app.settled();
        }
        await addMany(app, tenant, "d", 1);
        await app.settled();
        expect(await textsOf(app, tenant, "first", "d")).toEqual(["1"]);
        expect(await brought()).toBeLessThan(50);
        state.down = false;
        await clock.advance(60_000);
        await app.settled();
        expect(taken.filter(({ type, tenant: of }) => type === "counter.added" && of === tenant)).toHaveLength(101);
      } finally {
        read.mockRestore();
      }
    });

    test("go to the bus as CloudEvents", async () => {
      const { bus, taken } = fallibleBus();
      const tenant = bench.tenant();
      const app = await bench.start({ bus });
      const agent = app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "ann" } });
      await agent.lab.add({ counterId: "c", note: "n" }, { correlationId: "cor-1" });
      await app.settled();
      const [stored] = (await agent.audit.events({ types: ["counter.added"] })).items;
      expect(taken.find((event) => event.tenant === tenant)).toEqual({
        specversion: "1.0",
        id: stored!.id,
        source: "/contexts/lab",
        type: "counter.added",
        subject: "counter/c",
        time: stored!.time,
        datacontenttype: "application/json",
        data: { counterId: "c", by: 1, note: "n" },
        dataversion: 1,
        tenant,
        sequence: 1,
        actor: "agent:helper",
        onbehalfof: "user:ann",
        correlationid: "cor-1",
        causationid: stored!.causationId,
        traceparent: stored!.traceparent,
      });
    });

    test("have their effect once when the process dies between the effect and its note", async () => {
      const tenant = bench.tenant();
      const store = intercepted(await bench.place.open());
      store.around("outbox.settle", async () => {
        throw new Error("the process died");
      });
      const first = await bench.start({ store: store.port });
      const delivered = new Promise<void>((resolve) => {
        let left = 2;
        first.on("delivered", () => {
          left -= 1;
          if (left === 0) resolve();
        });
      });
      await addMany(first, tenant, "c", 1);
      await delivered;
      await first.close();
      const next = await bench.start();
      await next.settled();
      for (const consumer of ["first", "second"]) expect(await textsOf(next, tenant, consumer, "c")).toEqual(["1"]);
      expect(await bench.place.store.outbox.size("lab")).toBe(0);
    });

    test("are handled once and in order when several processes work on one store", async () => {
      const tenant = bench.tenant();
      const apps = await Promise.all([bench.start(), bench.start(), bench.start()]);
      const counters = ["a", "b", "c"];
      // Each process writes to each counter, so that every order but that of the store is wrong.
      await Promise.all(
        apps.flatMap((app) =>
          counters.map(async (counterId) => {
            const { lab } = app.as({ tenant, user: "ann" });
            for (let at = 0; at < 5; at += 1) {
              const note = `${app === apps[0] ? "x" : "y"}${at}`;
              await lab.add({ counterId, note });
            }
          }),
        ),
      );
      // Whoever has the lease works; the others have nothing to do.
      await Promise.all(apps.map((app) => app.settled()));
      const { audit } = apps[0]!.as({ tenant, user: "ann" });
      for (const counter of counters) {
        const history = await audit.events({ aggregateType: "counter", aggregateId: counter, direction: "asc" });
        const notes = history.items.map(({ data }) => data["note"]);
        expect(notes).toHaveLength(15);
        for (const consumer of ["first", "second"])
          expect(await textsOf(apps[1]!, tenant, consumer, counter)).toEqual(notes);
      }
    });

    test("are taken over by another process when the one that works on them closes", async () => {
      const tenant = bench.tenant();
      const working = await bench.start();
      await addMany(working, tenant, "c", 1);
      await working.settled();
      const waiting = await bench.start();
      await working.close();
      await addMany(waiting, tenant, "c", 1);
      await waiting.settled();
      expect(await textsOf(waiting, tenant, "first", "c")).toEqual(["1", "1"]);
    });

    test("are handled by the system on behalf of who caused them", async () => {
      const tenant = bench.tenant();
      const seen: unknown[] = [];
      const app = await bench.start({
        desk: {
          first: async (event, ctx) => {
            if (event.tenant === tenant) seen.push([event.aggregateId, ctx.principal]);
          },
        },
      });
      await app.as({ tenant, user: "ann" }).lab.add({ counterId: "user" });
      await app.as({ tenant, service: "importer" }).lab.add({ counterId: "service" });
      await app
        .as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "bob" } })
        .lab.add({ counterId: "agent" });
      await app.as({ tenant, system: "setup" }).lab.add({ counterId: "system" });
      await app.settled();
      const actor = { type: "system", id: "desk.first" };
      expect(seen).toEqual([
        ["user", { tenant, actor, onBehalfOf: { type: "user", id: "ann" } }],
        ["service", { tenant, actor, onBehalfOf: { type: "service", id: "importer" } }],
        ["agent", { tenant, actor, onBehalfOf: { type: "user", id: "bob" } }],
        ["system", { tenant, actor, onBehalfOf: undefined }],
      ]);
    });

    test("tell what caused them, from the first call to the last effect", async () => {
      const tenant = bench.tenant();
      const second: OnAdded = async (event, ctx) => {
        await noteDown("second")(event, ctx);
        if (event.aggregateId === "c") ctx.send(labOfTests, "add", { counterId: "d" });
      };
      const app = await bench.start({ desk: { second } });
      const { lab, audit } = app.as({ tenant, user: "ann" });
      await lab.add({ counterId: "c" }, { correlationId: "cor-1" });
      await app.settled();
      const { items } = await audit.events({ direction: "asc" });
      const about = (aggregate: string) => items.filter(({ aggregateId }) => aggregateId === aggregate);
      const [added] = about("c");
      expect(added).toMatchObject({ causationId: expect.stringMatching(/^call_/), correlationId: "cor-1" });
      // What the event's handlers did, and what one of them has sent, was caused by the event.
      const [sent] = about("d");
      for (const event of [...about(noteOf("first", "c")), ...about(noteOf("second", "c")), sent!])
        expect(event).toMatchObject({ causationId: added!.id, correlationId: "cor-1" });
      for (const event of about(noteOf("first", "d"))) expect(event.causationId).toBe(sent!.id);
      expect(items).toHaveLength(6);
      const traces = items.map(({ traceparent }) => traceparent.slice(3, 35));
      expect(new Set(traces).size).toBe(1);
      expect(about(noteOf("first", "c"))[0]!.actor).toEqual({ type: "system", id: "desk.first" });
    });

    test("whose handler does not end are given up and tried again, and others go on", async () => {
      const clock = fixedClock();
      const tenant = bench.tenant();
      const stuck = gate();
      let runs = 0;
      const first: OnAdded = (event, ctx) => {
        if (event.tenant !== tenant || event.aggregateId !== "bad") return noteDown("first")(event, ctx);
        runs += 1;
        if (runs > 1) return noteDown("first")(event, ctx);
        stuck.open();
        return new Promise((_resolve, reject) => {
          ctx.signal.addEventListener("abort", () => reject(new Error("stopped")));
        });
      };
      const app = await bench.start({ clock, desk: { first } });
      const failed = failure(app, "desk.first", 1);
      await addMany(app, tenant, "bad", 1);
      await stuck.opened;
      await addMany(app, tenant, "good", 1);
      await clock.advance(30_000);
      await failed;
      await app.settled();
      expect(await textsOf(app, tenant, "first", "good")).toEqual(["1"]);
      await clock.advance(200);
      await app.settled();
      expect(await textsOf(app, tenant, "first", "bad")).toEqual(["1"]);
    });

    test("under way are finished before the application closes", async () => {
      const tenant = bench.tenant();
      const begun = gate();
      const go = gate();
      const app = await bench.start({
        desk: {
          first: async (event, ctx) => {
            ctx.add(new Note(noteOf("first", event.aggregateId))).write("done");
            begun.open();
            await go.opened;
          },
        },
      });
      await addMany(app, tenant, "c", 1);
      await begun.opened;
      const closing = app.close();
      go.open();
      await closing;
      const next = await bench.start({ relay: false });
      expect(await textsOf(next, tenant, "first", "c")).toEqual(["done"]);
    });
  });
}
