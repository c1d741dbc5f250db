import { randomUUID } from "node:crypto";
import type { HeldLease, Lease } from "@armature/core";
import type { Database } from "./database.ts";

/** Mutual exclusion between the processes of one database, by the database's clock. */
export class PostgresLease implements Lease {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async acquire(key: string, ttlMs: number): Promise<HeldLease | undefined> {
    const owner = randomUUID();
    const fence = await this.#call("lease_acquire", [key, owner, Math.ceil(ttlMs)]);
    if (fence === undefined) return undefined;
    return {
      key,
      fence: fence as number,
      renew: async (ms) => (await this.#call("lease_renew", [key, owner, Math.ceil(ms)])) as boolean,
      release: async () => {
        await this.#call("lease_release", [key, owner]);
      },
    };
  }

  #call(name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call("armature", "armature", name, values);
  }
}
