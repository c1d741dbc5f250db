import { type JsonObject, parse, type Records, type Scope, type StoredRecord } from "@armature/core";
import { z } from "zod";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";

const recordKey = z.string().min(1).max(512);

/** Single values with compare-and-set, beside the commit. */
export class PostgresRecords implements Records {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async get(scope: Scope, key: string): Promise<StoredRecord | undefined> {
    return (await this.#call(scope, "record_get", [key])) as StoredRecord | undefined;
  }

  async put(scope: Scope, key: string, value: JsonObject, expectedVersion: number): Promise<boolean> {
    parse(recordKey, key, "The key of a record");
    return (await this.#call(scope, "record_put", [key, JSON.stringify(value), expectedVersion])) as boolean;
  }

  async delete(scope: Scope, key: string): Promise<void> {
    await this.#call(scope, "record_delete", [key]);
  }

  async list(
    scope: Scope,
    query: { readonly prefix: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly string[]> {
    const { prefix, after = "", limit } = query;
    return (await this.#call(scope, "record_list", [prefix, after, limit])) as readonly string[];
  }

  #call(scope: Scope, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(scope.context, contextSchema(scope.context), name, [scope.tenant, ...values]);
  }
}
