import { everyPartition, Forbidden, NotFound, type SentCommand } from "@armature/core";
import { fixedClock, intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { benchOn } from "./bench.ts";
import { LedgerClosed, lab as labOfTests, Note } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

export function commitScenarios(kind: PlaceKind): void {
  describe(`commands that join one commit, ${kind.name}`, () => {
    const bench = benchOn(kind);

    test("are committed together in one commit, each with its own audit row", async () => {
      const store = intercepted(await bench.place.open());
      const commits: unknown[] = [];
      store.around("commit", (proceed, [, commit]) => {
        commits.push(commit);
        return proceed();
      });
      const { desk, ledger, audit } = (await bench.start({ store: store.port, relay: false })).as({
        tenant: bench.tenant(),
        user: "ann",
      });
      await desk.order({ noteId: "n", amounts: [1, 2] });
      expect(commits).toHaveLength(1);
      expect(await ledger.total({ entryId: "n" })).toEqual({ total: 3 });
      expect((await desk.read({ noteId: "n" })).texts).toEqual(["ordered 1, 2"]);
      const { items } = await audit.list();
      expect(items.map(({ operation, outcome, target }) => [operation, outcome, target]).sort()).toEqual([
        ["desk.order", "succeeded", "n"],
        ["ledger.book", "succeeded", "n"],
        ["ledger.book", "succeeded", "n"],
      ]);
      expect(new Set(items.map(({ traceId }) => traceId)).size).toBe(1);
    });

    test("leave nothing behind when one of them is refused, and the refusal is in the audit", async () => {
      const { desk, ledger, audit } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await expect(desk.order({ noteId: "n", amounts: [1, 200] })).rejects.toThrow(LedgerClosed);
      await expect(ledger.total({ entryId: "n" })).rejects.toThrow(NotFound);
      await expect(desk.read({ noteId: "n" })).rejects.toThrow(NotFound);
      const { items } = await audit.list();
      expect(items.map(({ operation, outcome, errorCode }) => [operation, outcome, errorCode])).toEqual([
        ["desk.order", "refused", "ledger.closed"],
        ["ledger.book", "refused", "ledger.closed"],
      ]);
    });

    test("leave nothing behind when a refusal is caught and the rest goes on", async () => {
      const { desk, ledger } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await expect(desk.order({ noteId: "n", amounts: [1, 200, 2], swallow: true })).rejects.toThrow(LedgerClosed);
      await expect(ledger.total({ entryId: "n" })).rejects.toThrow(NotFound);
      await expect(desk.read({ noteId: "n" })).rejects.toThrow(NotFound);
    });

    test("are each authorised by themselves", async () => {
      bench.allow((_principal, permission) => permission !== "ledger:write");
      const { desk } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      const order = desk.order({ noteId: "n", amounts: [1], swallow: true });
      await expect(order).rejects.toMatchObject({ details: { permission: "ledger:write" } });
      await expect(desk.read({ noteId: "n" })).rejects.toThrow(NotFound);
    });

    test("are run again together when one of them loses a race", async () => {
      const { desk, ledger } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await Promise.all(Array.from({ length: 10 }, () => desk.order({ noteId: "n", amounts: [1, 1] })));
      expect(await ledger.total({ entryId: "n" })).toEqual({ total: 20 });
      expect((await desk.read({ noteId: "n" })).texts).toHaveLength(10);
    });
  });

  describe(`a command that is sent, ${kind.name}`, () => {
    const bench = benchOn(kind);

    test("is in the audit under the credential that its sender presented", async () => {
      const app = await bench.start();
      const { desk, audit } = app.as({
        tenant: bench.tenant(),
        actor: { type: "user", id: "ann" },
        credential: "key_1",
      });
      await desk.tell({ noteId: "n", counterId: "c" });
      await app.settled();
      const { items } = await audit.list();
      expect(items.map(({ operation, credential }) => [operation, credential]).sort()).toEqual([
        ["desk.tell", "key_1"],
        ["lab.add", "key_1"],
      ]);
    });

    test("runs once after the commit, as the same principal", async () => {
      const app = await bench.start();
      const tenant = bench.tenant();
      const { desk, lab, audit } = app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "ann" } });
      await desk.tell({ noteId: "n", counterId: "c", by: 3 }, { correlationId: "cor-1" });
      await app.settled();
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 3 });
      const [row] = (await audit.list({ operation: "lab.add" })).items;
      expect(row).toMatchObject({ actor: { id: "helper" }, onBehalfOf: { id: "ann" }, correlationId: "cor-1" });
      const [told] = (await audit.list({ operation: "desk.tell" })).items;
      expect(row!.traceId).toBe(told!.traceId);
      const [noted, added] = (await audit.events({ types: ["note.written", "counter.added"], direction: "asc" })).items;
      expect(added).toMatchObject({ correlationId: "cor-1", causationId: noted!.causationId });
    });

    test("is not sent when its sender is refused", async () => {
      const app = await bench.start({
        lab: {
          add: async () => {
            throw new Error("never to be run");
          },
        },
      });
      const { desk, lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await expect(desk.tell({ noteId: "n", counterId: "c", by: 0.5 as never })).rejects.toThrow();
      await app.settled();
      await expect(lab.look({ counterId: "c" })).rejects.toThrow(NotFound);
    });

    test("runs in the next process when its own one dies before it could", async () => {
      const tenant = bench.tenant();
      const first = await bench.start({ relay: false });
      await first.as({ tenant, user: "ann" }).desk.tell({ noteId: "n", counterId: "c" });
      await first.close();
      for (let process = 1; process <= 2; process += 1) {
        const next = await bench.start();
        await next.settled();
        expect(await next.as({ tenant, user: "ann" }).lab.look({ counterId: "c" })).toEqual({ value: 1 });
        await next.close();
      }
    });

    test("runs once also when its process dies after it ran and before that was noted", async () => {
      const tenant = bench.tenant();
      const store = intercepted(await bench.place.open());
      store.around("outbox.settle", async () => {
        throw new Error("the process died");
      });
      const first = await bench.start({ store: store.port });
      const ran = new Promise((resolve) => {
        first.on("committed", (event) => event.tenant === tenant && event.contexts.includes("lab") && resolve(event));
      });
      await first.as({ tenant, user: "ann" }).desk.tell({ noteId: "n", counterId: "c" });
      await ran;
      await first.close();
      const next = await bench.start();
      await next.settled();
      expect(await next.as({ tenant, user: "ann" }).lab.look({ counterId: "c" })).toEqual({ value: 1 });
    });

    test("that is refused when it runs is not repeated, and its refusal is in the audit", async () => {
      const app = await bench.start();
      const { desk, lab, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c", by: 1_000 });
      await desk.tell({ noteId: "n", counterId: "c" });
      await app.settled();
      await app.settled();
      const { items } = await audit.list({ operation: "lab.add", outcome: "refused" });
      expect(items.map(({ errorCode }) => errorCode)).toEqual(["lab.too_much"]);
      expect(await bench.place.store.outbox.size("desk")).toBe(0);
      expect(bench.logger.text()).toContain("A sent command was refused");
    });

    test("that fails is tried again after a while, and others are not held up by it", async () => {
      const clock = fixedClock();
      const attempts: number[] = [];
      const app = await bench.start({
        clock,
        lab: {
          actAgain: async ({ text }, ctx) => {
            if (text === "fail") attempts.push(ctx.attempt);
            if (text === "fail" && attempts.length < 3) throw new Error("the other side is down");
            return { text };
          },
        },
      });
      const { desk, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
      await desk.have({ noteId: "n", text: "fail" });
      await desk.have({ noteId: "n", text: "work" });
      await app.settled();
      expect(attempts).toEqual([1]);
      expect((await audit.list({ operation: "lab.actAgain", outcome: "succeeded" })).items).toHaveLength(1);
      await clock.advance(200);
      await app.settled();
      expect(attempts).toEqual([1, 2]);
      await clock.advance(399);
      await app.settled();
      expect(attempts).toEqual([1, 2]);
      await clock.advance(1);
      await app.settled();
      expect(attempts).toEqual([1, 2, 3]);
      expect((await audit.list({ operation: "lab.actAgain", outcome: "succeeded" })).items).toHaveLength(2);
    });

    test("whose operation is not known here waits for a process that knows it", async () => {
      const tenant = bench.tenant();
      const { store } = bench.place;
      const command: SentCommand = {
        id: `cmd_${tenant}`,
        tenant,
        context: "desk",
        operation: "lab.ofTheNextVersion",
        input: {},
        time: "2026-01-01T00:00:00.000Z",
        actor: { type: "user", id: "ann" },
        correlationId: "cor",
        causationId: "call",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      };
      const part = { context: "desk", aggregates: [], events: [], messages: [command], audit: [] };
      await store.commit(tenant, { parts: [part] });
      const app = await bench.start();
      await app.settled();
      const waiting = await store.outbox.read("desk", {
        cursors: everyPartition,
        limit: 10,
      });
      expect(waiting.map(({ failures }) => failures.map(({ attempts }) => attempts))).toEqual([[1]]);
      await app.close();
      const { claims } = await store.outbox.claim("desk", { member: "test", ttlMs: 1, now: Date.now() });
      await store.outbox.settle("desk", claims, { published: [], finished: waiting });
      await store.outbox.leave("desk", "test");
    });

    test("with text that cannot be stored is the sender's defect: nothing is committed", async () => {
      const app = await bench.start({
        desk: {
          first: async (event, ctx) => {
            ctx.add(new Note(`of-${event.aggregateId}`)).write("x");
            ctx.send(labOfTests, "add", { counterId: "other", note: "nul \u0000" });
          },
        },
        relay: { maxAttempts: 1 },
      });
      const tenant = bench.tenant();
      const { lab, desk } = app.as({ tenant, user: "ann" });
      await lab.add({ counterId: "c" });
      await app.settled();
      await expect(desk.read({ noteId: "of-c" })).rejects.toThrow(NotFound);
      const { store } = bench.place;
      const { items } = await store.deadLetters({ tenant, context: "lab" }, { limit: 10 });
      expect(items.map(({ consumer }) => consumer)).toEqual(["desk.first"]);
    });

    test("needs its permission when it runs", async () => {
      const app = await bench.start({ relay: false });
      const tenant = bench.tenant();
      await app.as({ tenant, user: "ann" }).desk.tell({ noteId: "n", counterId: "c" });
      await app.close();
      bench.allow((_principal, permission) => permission !== "lab:write");
      const next = await bench.start();
      await next.settled();
      const { lab, audit } = next.as({ tenant, user: "ann" });
      await expect(lab.look({ counterId: "c" })).rejects.toThrow(NotFound);
      const [row] = (await audit.list({ operation: "lab.add" })).items;
      expect(row).toMatchObject({ outcome: "refused", errorCode: Forbidden.code });
    });
  });
}
