import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inMemory } from "../../in-memory/index.ts";
import type { CallOptions, StreamItem } from "../../kernel/contract.ts";
import { Forbidden, InvalidInput } from "../../kernel/errors.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";

let app: Armature;
let clock: ReturnType<typeof fixedClock>;
const as = (user: string, tenant = "acme") => app.as({ tenant, user });

/** One tenant with four calls, a second apart; the last is refused. */
beforeEach(async () => {
  clock = fixedClock();
  app = await createArmature({ store: inMemory(), clock, relay: false });
  const system = app.as({ tenant: "acme", system: "setup" }).identity;
  await system.createTenant({ name: "Acme" });
  await clock.advance(1_000);
  await system.createUser({ userId: "ann", name: "Ann", roles: ["owner"] });
  await clock.advance(1_000);
  await as("ann").identity.createUser({ userId: "bob", name: "Bob" });
  await clock.advance(1_000);
  await as("bob")
    .identity.renameTenant({ name: "Mine" })
    .catch(() => undefined);
});

afterEach(() => app.close());

describe("the audit trail", () => {
  test("has a row for every change and every refusal, newest first", async () => {
    const { items } = await as("ann").audit.list();
    expect(items.map(({ actor, operation, outcome, errorCode }) => [actor.id, operation, outcome, errorCode])).toEqual([
      ["bob", "identity.renameTenant", "refused", "forbidden"],
      ["ann", "identity.createUser", "succeeded", undefined],
      ["setup", "identity.createUser", "succeeded", undefined],
      ["setup", "identity.createTenant", "succeeded", undefined],
    ]);
    expect(items[0]!.input).toEqual({ name: "Mine" });
    expect(items[1]!.input).toMatchObject({ userId: "bob", name: "[redacted]" });
  });

  test("can be narrowed to an actor, an operation, an outcome and a span of time", async () => {
    const { audit } = as("ann");
    const times = (await audit.list()).items.map(({ time }) => time).reverse();
    const count = async (filter: Parameters<typeof audit.list>[0]) => (await audit.list(filter)).items.length;
    expect(await count({ actor: "setup" })).toBe(2);
    expect(await count({ operation: "identity.createUser" })).toBe(2);
    expect(await count({ outcome: "refused" })).toBe(1);
    expect(await count({ since: times[1]! })).toBe(3);
    expect(await count({ until: times[1]! })).toBe(1);
    expect(await count({ actor: "setup", operation: "identity.createUser", since: times[0]!, until: times[2]! })).toBe(
      1,
    );
    expect(await count({ actor: "nobody" })).toBe(0);
  });

  test("is read page by page without gaps", async () => {
    const { audit } = as("ann");
    const seen: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await audit.list({ limit: 3, after });
      seen.push(...page.items.map(({ id }) => id));
      if (page.next === undefined) break;
      after = page.next;
    }
    expect(seen).toEqual((await audit.list()).items.map(({ id }) => id));
    expect(new Set(seen).size).toBe(4);
  });

  test("can be read oldest first too", async () => {
    const { audit } = as("ann");
    const oldest = await audit.list({ direction: "asc", limit: 3 });
    const rest = await audit.list({ direction: "asc", after: oldest.next });
    const newest = (await audit.list()).items;
    expect([...oldest.items, ...rest.items].map(({ id }) => id)).toEqual(newest.map(({ id }) => id).reverse());
    await expect(audit.list({ direction: "desc", after: oldest.next })).rejects.toThrow(InvalidInput);
  });

  test("is shown to who may read it, and only of the own tenant", async () => {
    await expect(as("bob").audit.list()).rejects.toThrow(Forbidden);
    await expect(as("bob").audit.events()).rejects.toThrow(Forbidden);
    const globex = app.as({ tenant: "globex", system: "setup" }).audit;
    expect(await globex.list()).toEqual({ items: [] });
    expect(await globex.events()).toEqual({ items: [] });
  });
});

describe("an export", () => {
  const collect = async <T>(items: AsyncIterable<T>, most = Number.POSITIVE_INFINITY): Promise<T[]> => {
    const all: T[] = [];
    for await (const each of items) {
      all.push(each);
      if (all.length === most) break;
    }
    return all;
  };

  test("gives everything up to its start, oldest first, and ends", async () => {
    await clock.advance(1_000);
    const rows: { item: { id: string; operation: string } }[] = [];
    for await (const row of as("ann").audit.export()) {
      // What happens meanwhile is the next export's.
      if (rows.length === 0) await as("ann").identity.createUser({ userId: "meanwhile", name: "Later" });
      rows.push(row);
    }
    expect(rows.map(({ item }) => item.operation)).toEqual([
      ...["identity.createTenant", "identity.createUser", "identity.createUser", "identity.renameTenant"],
    ]);
    await clock.advance(1_000);
    expect(await collect(as("ann").audit.export())).toHaveLength(5);
  });

  test("goes on behind any cursor, without a gap and nothing twice, over many pages", async () => {
    for (let at = 0; at < 1_100; at += 1) await as("ann").identity.createUser({ userId: `u${at}`, name: "U" });
    await clock.advance(1_000);
    const { audit } = as("ann");
    type Export = (input: object, options?: CallOptions) => AsyncIterable<StreamItem<{ readonly id: string }>>;
    for (const exported of [audit.export, audit.exportEvents] as readonly Export[]) {
      const all = await collect(exported({}));
      expect(all.length).toBeGreaterThan(1_100);
      expect(new Set(all.map(({ item }) => item.id)).size).toBe(all.length);
      for (const left of [1, 499, 500, 501, 1_000, all.length]) {
        const begun = await collect(exported({}), left);
        const rest = await collect(exported({}, { after: begun.at(-1)!.cursor }));
        expect([...begun, ...rest].map(({ item }) => item.id)).toEqual(all.map(({ item }) => item.id));
      }
    }
  });

  test("can be narrowed", async () => {
    await clock.advance(1_000);
    const { audit } = as("ann");
    const times = (await audit.list({ direction: "asc" })).items.map(({ time }) => time);
    const count = async (items: AsyncIterable<unknown>) => (await collect(items)).length;
    expect(await count(audit.export({ outcome: "refused" }))).toBe(1);
    expect(await count(audit.export({ actor: "setup", since: times[1]! }))).toBe(1);
    expect(await count(audit.export({ until: times[1]! }))).toBe(1);
    expect(await count(audit.exportEvents({ types: ["identity.user_created"] }))).toBe(2);
    expect(await count(audit.exportEvents({ since: times[1]!, until: times[2]! }))).toBe(2);
  });

  test("is refused to who may not read, and with a cursor that is none", async () => {
    await expect(collect(as("bob").audit.export())).rejects.toThrow(Forbidden);
    await expect(collect(as("bob").audit.exportEvents())).rejects.toThrow(Forbidden);
    for (const after of ["x", "", Buffer.from('["x"]').toString("base64url"), "e30"])
      await expect(collect(as("ann").audit.export({}, { after }))).rejects.toThrow(InvalidInput);
    expect(await collect(app.as({ tenant: "globex", system: "setup" }).audit.export())).toEqual([]);
  });
});

describe("the event timeline", () => {
  test("shows what happened, with who caused it", async () => {
    const { items } = await as("ann").audit.events({ direction: "asc" });
    expect(
      items.map(({ type, aggregateId, aggregateVersion, actor }) => [type, aggregateId, aggregateVersion, actor.id]),
    ).toEqual([
      ["identity.tenant_created", "acme", 1, "setup"],
      ["identity.user_created", "ann", 1, "setup"],
      ["identity.owner_added", "acme", 2, "setup"],
      ["identity.user_created", "bob", 1, "ann"],
    ]);
    const newestFirst = (await as("ann").audit.events()).items;
    expect(newestFirst.map(({ id }) => id)).toEqual(items.map(({ id }) => id).reverse());
  });

  test("can be narrowed to types, and to one aggregate's history", async () => {
    const { audit } = as("ann");
    const types = (await audit.events({ types: ["identity.user_created"] })).items.map(
      ({ aggregateId }) => aggregateId,
    );
    expect(types).toEqual(["bob", "ann"]);
    const history = await audit.events({ aggregateType: "tenant", aggregateId: "acme", direction: "asc" });
    expect(history.items.map(({ aggregateVersion }) => aggregateVersion)).toEqual([1, 2]);
    await expect(audit.events({ aggregateType: "tenant" })).rejects.toThrow(InvalidInput);
  });
});
