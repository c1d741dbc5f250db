import { InvalidInput, VersionMismatch } from "@armature/core";
import { intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { benchOn } from "./bench.ts";
import { Counter } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

export function versionScenarios(kind: PlaceKind): void {
  describe(`a command with the version that its caller has seen, ${kind.name}`, () => {
    const bench = benchOn(kind);
    const mismatch = (actual: number) =>
      expect.objectContaining({
        code: "version_mismatch",
        kind: "precondition",
        details: { type: "counter", id: "c", expected: 1, actual },
      });

    test("happens while the aggregate is at that version, and no more when it was changed since", async () => {
      const { lab, audit } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c" });
      expect(await lab.add({ counterId: "c" }, { expectedVersion: 1 })).toEqual({ value: 2 });
      await expect(lab.add({ counterId: "c" }, { expectedVersion: 1 })).rejects.toEqual(mismatch(2));
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 2 });
      const [row] = (await audit.list()).items;
      expect([row?.outcome, row?.errorCode, row?.target]).toEqual(["refused", "version_mismatch", "c"]);
    });

    test("of many at once happens once, and the others are refused without being run again and again", async () => {
      const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c" });
      const calls = Array.from({ length: 10 }, () => lab.add({ counterId: "c" }, { expectedVersion: 1 }));
      const results = await Promise.allSettled(calls);
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const result of results)
        if (result.status === "rejected") expect(result.reason).toBeInstanceOf(VersionMismatch);
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 2 });
    });

    test("is refused when another one commits between its load and its commit", async () => {
      const store = intercepted(await bench.place.open());
      const app = await bench.start({ store: store.port, relay: false });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c" });
      let first = true;
      store.around("commit", async (proceed) => {
        if (first) {
          first = false;
          await lab.add({ counterId: "c", by: 10 });
        }
        return proceed();
      });
      await expect(lab.add({ counterId: "c" }, { expectedVersion: 1 })).rejects.toEqual(mismatch(2));
      expect(await lab.look({ counterId: "c" })).toEqual({ value: 11 });
    });

    test("commits nothing when the handler goes on in spite of the refusal", async () => {
      const app = await bench.start({
        lab: {
          add: async ({ counterId }, ctx) => {
            await ctx.tryLoad(Counter, counterId).catch(() => undefined);
            ctx.add(new Counter("other")).add(1);
            return { value: 1 };
          },
        },
      });
      const tenant = bench.tenant();
      const ready = (await bench.start()).as({ tenant, user: "ann" });
      await ready.lab.add({ counterId: "c" });
      await ready.lab.add({ counterId: "c" });
      const { lab } = app.as({ tenant, user: "ann" });
      await expect(lab.add({ counterId: "c" }, { expectedVersion: 1 })).rejects.toEqual(mismatch(2));
      await expect(lab.look({ counterId: "other" })).rejects.toMatchObject({ code: "not_found" });
    });

    test("compares what a search found too", async () => {
      const app = await bench.start({
        lab: {
          add: async ({ counterId, by }, ctx) => {
            const { items } = await ctx.find(Counter, { limit: 10 });
            const counter = items.find(({ id }) => id === counterId);
            counter?.add(by);
            return { value: counter?.value ?? 0 };
          },
        },
      });
      const tenant = bench.tenant();
      const ready = (await bench.start()).as({ tenant, user: "ann" });
      await ready.lab.add({ counterId: "c" });
      const { lab } = app.as({ tenant, user: "ann" });
      expect(await lab.add({ counterId: "c" }, { expectedVersion: 1 })).toEqual({ value: 2 });
      await expect(lab.add({ counterId: "c" }, { expectedVersion: 1 })).rejects.toEqual(mismatch(2));
    });

    test("answers a repetition with its key like the first time, whatever the version is by then", async () => {
      const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await lab.add({ counterId: "c" });
      const options = { expectedVersion: 1, idempotencyKey: "k" };
      expect(await lab.add({ counterId: "c" }, options)).toEqual({ value: 2 });
      expect(await lab.add({ counterId: "c" }, options)).toEqual({ value: 2 });
    });

    test("says nothing to the commands that join it", async () => {
      const { desk, ledger } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await desk.order({ noteId: "n", amounts: [1] });
      await desk.order({ noteId: "n", amounts: [1, 1] }, { expectedVersion: 1 });
      expect(await ledger.total({ entryId: "n" })).toEqual({ total: 3 });
    });

    test("is refused where nothing has that version: no target, a new one, another kind of call", async () => {
      const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
      await expect(lab.addToAll({ label: "", by: 1 }, { expectedVersion: 1 })).rejects.toThrow(InvalidInput);
      await expect(lab.add({ counterId: "new" }, { expectedVersion: 1 })).rejects.toThrow(
        "expectedVersion cannot be given: what the call changes has no version",
      );
      await expect(lab.look({ counterId: "new" })).rejects.toMatchObject({ code: "not_found" });
      await expect(lab.look({ counterId: "c" }, { expectedVersion: 1 })).rejects.toThrow(
        "expectedVersion can only be given to a command",
      );
      for (const expectedVersion of [0, -1, 1.5, Number.NaN])
        await expect(lab.add({ counterId: "c" }, { expectedVersion })).rejects.toThrow("must be a version: 1 or more");
    });
  });

  describe(`the tenant, users and roles, ${kind.name}`, () => {
    const bench = benchOn(kind);

    test("show their version, and change only at the one that the caller has seen", async () => {
      const app = await bench.start();
      const { identity } = app.as({ tenant: bench.tenant(), system: "setup" });
      await identity.createTenant({ name: "Acme" });
      const { version } = await identity.getTenant();
      await identity.renameTenant({ name: "Acme 2" }, { expectedVersion: version });
      await expect(identity.renameTenant({ name: "Acme 3" }, { expectedVersion: version })).rejects.toThrow(
        VersionMismatch,
      );
      expect(await identity.getTenant()).toMatchObject({ name: "Acme 2", version: version + 1 });

      await identity.createUser({ userId: "ann", name: "Ann" });
      const ann = await identity.getUser({ userId: "ann" });
      await identity.updateUser({ userId: "ann", name: "Ann B." }, { expectedVersion: ann.version });
      await expect(
        identity.updateUser({ userId: "ann", name: "Ann C." }, { expectedVersion: ann.version }),
      ).rejects.toThrow(VersionMismatch);
    });
  });
}
