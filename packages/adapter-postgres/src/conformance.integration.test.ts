import { storeSuite } from "@armature/conformance";
import type { StoreAdapter } from "@armature/core";
import { afterAll, describe } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { pglite } from "./pglite.ts";
import { postgres } from "./postgres.ts";

// One embedded database for the whole file: it takes seconds to start and a lot of memory.
const embedded = pglite();
afterAll(() => embedded.close());

storeSuite("PGlite", () => lent(embedded));

describe.skipIf(await withoutServer())("on a server", () => {
  const opened: FreshDatabase[] = [];
  afterAll(() => dropAll(opened));
  const open = async () => {
    const database = await freshDatabase();
    opened.push(database);
    return postgres({ pool: database.pool, rolePrefix: database.name });
  };

  storeSuite("PostgreSQL", open);
});

/** The same store, except that closing it is somebody else's. */
function lent(store: StoreAdapter): StoreAdapter {
  return new Proxy(store, {
    get: (target, key) => {
      if (key === "close") return async () => {};
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
