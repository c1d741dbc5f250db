import type { JsonObject } from "./schema.ts";
import type { Scope } from "./scope.ts";

/** A single JSON value with a version. */
export interface StoredRecord {
  readonly version: number;
  readonly value: JsonObject;
}

/** Values by key with compare-and-set. Keys are at most 512 characters. */
export interface Records {
  get(scope: Scope, key: string): Promise<StoredRecord | undefined>;
  /**
   * Writes when the current version is `expectedVersion` (0: must not exist).
   *
   * @returns whether it was written; the new version is then `expectedVersion + 1`
   */
  put(scope: Scope, key: string, value: JsonObject, expectedVersion: number): Promise<boolean>;
  delete(scope: Scope, key: string): Promise<void>;
  /** Keys that start with the prefix, in code-point order. */
  list(
    scope: Scope,
    query: { readonly prefix: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly string[]>;
}
