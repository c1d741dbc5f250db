import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { type CloudEvent, createArmature, type EventBus } from "@armature/core";
import { Pool } from "pg";
import { countersContext } from "../counters.ts";
import type { MakeDrainer } from "./drainer.ts";

/** The relay as an application runs it, with a bus that writes down what it is given. */
export const makeDrainer: MakeDrainer = async ({ url, name }, log, published) => {
  const pool = new Pool({ connectionString: url, max: 5 });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const bus: EventBus = {
    publish: async (events: readonly CloudEvent[]) => {
      for (const { tenant, subject, sequence } of events) log.add(`${tenant} ${subject}`, sequence);
      published(events.length);
    },
    subscribe: async () => ({ close: async () => {} }),
    ping: async () => {},
    close: async () => {},
  };
  const app = await createArmature({
    store: postgres({ pool, rolePrefix: name }),
    contexts: [countersContext],
    keyEncryptionKey: randomBytes(32).toString("base64"),
    authorizer: () => true,
    bus,
  });
  return {
    // Looks at the outbox until it is empty.
    begin: () => void app.settled({ timeoutMs: 600_000 }).catch(() => undefined),
    close: async () => {
      await app.close();
      await pool.end();
    },
  };
};
