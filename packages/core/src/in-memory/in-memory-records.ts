import { z } from "zod";
import { compareText } from "../kernel/index-value.ts";
import { jsonCopy } from "../kernel/json-copy.ts";
import { parse } from "../kernel/parse.ts";
import type { JsonObject } from "../kernel/schema.ts";
import type { Records, Scope, StoredRecord } from "../kernel/store.ts";
import { keyOf, type Tables, upsert } from "./tables.ts";

const recordKey = z.string().min(1).max(512);

/** Single values with compare-and-set, beside the commit. */
export class InMemoryRecords implements Records {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async get(scope: Scope, key: string): Promise<StoredRecord | undefined> {
    const record = this.#of(scope)?.get(key);
    return record === undefined ? undefined : jsonCopy(record);
  }

  async put(scope: Scope, key: string, value: JsonObject, expectedVersion: number): Promise<boolean> {
    parse(recordKey, key, "The key of a record");
    if ((this.#of(scope)?.get(key)?.version ?? 0) !== expectedVersion) return false;
    const records = upsert(this.#tables.context(scope.context).records, keyOf(scope.tenant), () => new Map());
    records.set(key, { version: expectedVersion + 1, value: jsonCopy(value) });
    return true;
  }

  async delete(scope: Scope, key: string): Promise<void> {
    this.#of(scope)?.delete(key);
  }

  async list(
    scope: Scope,
    query: { readonly prefix: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly string[]> {
    const { prefix, limit, after } = query;
    return [...(this.#of(scope)?.keys() ?? [])]
      .filter((key) => key.startsWith(prefix) && (after === undefined || compareText(key, after) > 0))
      .sort(compareText)
      .slice(0, limit);
  }

  #of(scope: Scope): Map<string, StoredRecord> | undefined {
    return this.#tables.context(scope.context).records.get(scope.tenant);
  }
}
