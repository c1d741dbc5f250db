import { randomBytes } from "node:crypto";
import { pglite, postgres } from "@armature/adapter-postgres";
import { type ArmatureOptions, embeddedEngine, type StoreAdapter } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { dropAll, freshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";

/** Somewhere to keep things in, that several applications can open one after the other or side by side. */
export interface Place {
  readonly name: string;
  /** A store as another process would open it. Closing it leaves what it holds, and the place. */
  open(): Promise<StoreAdapter>;
  /** Where its applications keep executions, when that is not their store. */
  executions?(): NonNullable<ArmatureOptions["executions"]>;
  /** One to look into the place with. */
  readonly store: StoreAdapter;
  close(): Promise<void>;
}

/** What makes a place for one test file. */
export interface PlaceKind {
  readonly name: string;
  make(): Promise<Place>;
}

export const inMemoryPlace: PlaceKind = {
  name: "in memory",
  make: async () => {
    const store = inMemory();
    return { name: "in memory", store, open: async () => keptOpen(store), close: () => store.close() };
  },
};

/** Executions lie in a store of their own: what commits ask of them goes through the outbox. */
export const apartPlace: PlaceKind = {
  name: "in memory, executions apart",
  make: async () => {
    const place = await inMemoryPlace.make();
    const apart = inMemory();
    return {
      ...place,
      name: "in memory, executions apart",
      executions: () => ({ engine: embeddedEngine({ store: keptOpen(apart), pollMs: 100 }) }),
    };
  },
};

/** One process only: applications share the instance. */
export const pglitePlace: PlaceKind = {
  name: "PGlite",
  make: async () => {
    const store = pglite();
    return { name: "PGlite", store, open: async () => keptOpen(store), close: () => store.close() };
  },
};

export const postgresPlace: PlaceKind = {
  name: "PostgreSQL",
  make: async () => {
    const database = await freshDatabase();
    const open = () => postgres({ pool: database.pool, rolePrefix: database.name });
    return {
      name: "PostgreSQL",
      store: open(),
      open: async () => open(),
      close: () => dropAll([database]),
    };
  },
};

/** One key for all: what one application seals the next one opens. */
export const keyEncryptionKey = randomBytes(32).toString("base64");

/** The store without its `close`. */
function keptOpen(store: StoreAdapter): StoreAdapter {
  return new Proxy(store, {
    get(target, key) {
      if (key === "close") return async () => undefined;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
