import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import {
  type Armature,
  type ArmatureOptions,
  type CloudEvent,
  type ContextDefinition,
  createArmature,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { Pool } from "pg";
import type { FreshDatabase } from "../packages/adapter-postgres/src/fresh-database.ts";

/** An application, and how to wait until something in it has ended. */
export interface OurApp<X extends readonly ContextDefinition[]> {
  readonly app: Armature<X>;
  /** Resolves when an event has told of the end of what has this id. To be asked before it begins. */
  ended(id: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts an application, on a database or without. Who waits for an end hears of it as everybody does: by the event
 * that the relay publishes.
 *
 * @param endOf the id of what has ended, when an event says that it has
 */
export async function ourApp<const X extends readonly ContextDefinition[] = readonly []>(
  database: (Pick<FreshDatabase, "name" | "url"> & { readonly connections: number }) | undefined,
  given: Omit<ArmatureOptions<X>, "store">,
  endOf: (event: CloudEvent) => string | undefined,
): Promise<OurApp<X>> {
  const waiting = new Map<string, () => void>();
  const hear = (event: CloudEvent) => {
    const id = endOf(event);
    if (id === undefined) return;
    waiting.get(id)?.();
    waiting.delete(id);
  };
  const bus: ArmatureOptions["bus"] = {
    publish: async (events) => events.forEach(hear),
    subscribe: async () => ({ close: async () => {} }),
    ping: async () => {},
    close: async () => {},
  };
  const pool =
    database === undefined ? undefined : new Pool({ connectionString: database.url, max: database.connections });
  pool?.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const options = (): ArmatureOptions<X> => ({
    authorizer: () => true,
    ...given,
    keyEncryptionKey: randomBytes(32).toString("base64"),
    bus,
    store: pool === undefined ? inMemory() : postgres({ pool, rolePrefix: database!.name }),
  });
  const before = await createArmature<X>({ ...options(), relay: false, executions: false });
  await before.migrate();
  await before.close();
  const app = await createArmature<X>(options());
  return {
    app,
    ended: (id) => new Promise((resolve) => void waiting.set(id, resolve)),
    close: async () => {
      await app.close();
      await pool?.end();
    },
  };
}
