import { deepStrictEqual } from "node:assert/strict";
import { compareText, type Store } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, BETA } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

/** Single values with compare-and-set. */
export function registerRecordsTests(test: RegisterTest, store: () => Store): void {
  const scopeOf = (tenant: string, context = ALPHA) => ({ tenant, context });

  test("a record is read as it was written, at version 1", async () => {
    const scope = scopeOf(fresh("t"));
    const value = { text: "日本語 🗝️", list: [1, { a: null }], "": {} };
    expect(await store().records.get(scope, "key")).toBeUndefined();
    expect(await store().records.put(scope, "key", value, 0)).toBe(true);
    deepStrictEqual(await store().records.get(scope, "key"), { version: 1, value });
  });

  test("a record is replaced only by a writer that knows its version", async () => {
    const scope = scopeOf(fresh("t"));
    expect(await store().records.put(scope, "key", { at: 1 }, 1)).toBe(false);
    expect(await store().records.get(scope, "key")).toBeUndefined();
    await store().records.put(scope, "key", { at: 1 }, 0);
    expect(await store().records.put(scope, "key", { at: 2 }, 1)).toBe(true);
    for (const stale of [0, 1, 3]) expect(await store().records.put(scope, "key", { at: 99 }, stale)).toBe(false);
    expect(await store().records.get(scope, "key")).toEqual({ version: 2, value: { at: 2 } });
  });

  test("of many writers that know the same version exactly one wins", async () => {
    const scope = scopeOf(fresh("t"));
    for (let version = 0; version < 5; version += 1) {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, writer) => store().records.put(scope, "key", { version, writer }, version)),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await store().records.get(scope, "key")).toEqual({
        version: version + 1,
        value: { version, writer: results.indexOf(true) },
      });
    }
  });

  test("writers that add to one record lose nothing", async () => {
    const scope = scopeOf(fresh("t"));
    const add = async () => {
      for (;;) {
        const record = await store().records.get(scope, "sum");
        const sum = (record?.value["sum"] as number | undefined) ?? 0;
        if (await store().records.put(scope, "sum", { sum: sum + 1 }, record?.version ?? 0)) return;
      }
    };
    await Promise.all(Array.from({ length: 12 }, add));
    expect(await store().records.get(scope, "sum")).toEqual({ version: 12, value: { sum: 12 } });
  });

  test("a deleted record is gone and its key is free again", async () => {
    const scope = scopeOf(fresh("t"));
    await store().records.delete(scope, "key");
    await store().records.put(scope, "key", { a: 1 }, 0);
    await store().records.put(scope, "key", { a: 2 }, 1);
    await store().records.put(scope, "other", { a: 3 }, 0);
    await store().records.delete(scope, "key");
    expect(await store().records.get(scope, "key")).toBeUndefined();
    expect(await store().records.list(scope, { prefix: "", limit: 10 })).toEqual(["other"]);
    expect(await store().records.put(scope, "key", { a: 4 }, 2)).toBe(false);
    expect(await store().records.put(scope, "key", { a: 4 }, 0)).toBe(true);
    expect(await store().records.get(scope, "key")).toEqual({ version: 1, value: { a: 4 } });
  });

  test("keys are listed by prefix in code-point order, page by page", async () => {
    const scope = scopeOf(fresh("t"));
    const keys = ["a/1", "a/10", "a/2", "A/1", "a", "a_1", "b", "ä", "｡", "😀", "a/😀", "a/｡", "%", "a%", "a\\b"];
    for (const key of [...keys].reverse()) await store().records.put(scope, key, {}, 0);
    const ordered = [...keys].sort(compareText);
    const listed = async (prefix: string, limit: number) => {
      const found: string[] = [];
      for (let after: string | undefined; ; after = found.at(-1)) {
        const page = await store().records.list(scope, { prefix, limit, ...(after === undefined ? {} : { after }) });
        found.push(...page);
        if (page.length < limit) return found;
      }
    };
    for (const limit of [1, 4, 100])
      for (const prefix of ["", "a", "a/", "A", "a_", "%", "a%", "a\\", "ä", "none"])
        expect(await listed(prefix, limit), prefix).toEqual(ordered.filter((key) => key.startsWith(prefix)));
  });

  test("a key of 512 signs works, and one of another script too", async () => {
    const scope = scopeOf(fresh("t"));
    for (const key of ["k".repeat(512), "鍵".repeat(512)]) {
      expect(await store().records.put(scope, key, { key: "long" }, 0)).toBe(true);
      expect(await store().records.get(scope, key)).toEqual({ version: 1, value: { key: "long" } });
      expect(await store().records.list(scope, { prefix: key.slice(0, 500), limit: 5 })).toEqual([key]);
    }
  });

  test("the same key in another context is another record", async () => {
    const tenant = fresh("t");
    await store().records.put(scopeOf(tenant, ALPHA), "key", { in: "alpha" }, 0);
    expect(await store().records.get(scopeOf(tenant, BETA), "key")).toBeUndefined();
    expect(await store().records.put(scopeOf(tenant, BETA), "key", { in: "beta" }, 0)).toBe(true);
    await store().records.delete(scopeOf(tenant, BETA), "key");
    expect(await store().records.get(scopeOf(tenant, ALPHA), "key")).toEqual({ version: 1, value: { in: "alpha" } });
  });

  test("what a caller does to its own objects does not change a record", async () => {
    const scope = scopeOf(fresh("t"));
    const value = { list: [1] };
    await store().records.put(scope, "key", value, 0);
    value.list.push(2);
    const read = await store().records.get(scope, "key");
    expect(read?.value).toEqual({ list: [1] });
    if (!Object.isFrozen(read!.value["list"])) (read!.value["list"] as number[]).push(3);
    expect((await store().records.get(scope, "key"))?.value).toEqual({ list: [1] });
  });
}
