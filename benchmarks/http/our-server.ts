import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { createArmature } from "@armature/core";
import { armatureRouter } from "@armature/server-express";
import express from "express";
import { Pool } from "pg";
import { countersContext } from "../counters.ts";
import type { ServingSetting } from "./serving.ts";
import type { Answering } from "./serving-process.ts";

/** The command as a host serves it: `armatureRouter` in Express, API keys. */
export async function ourServer({ url, name, connections }: ServingSetting): Promise<Answering> {
  const pool = new Pool({ connectionString: url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const app = await createArmature({
    store: postgres({ pool, rolePrefix: name }),
    contexts: [countersContext],
    keyEncryptionKey: randomBytes(32).toString("base64"),
    authorizer: () => true,
    relay: false,
  });
  await app.migrate();
  const { identity } = app.as({ tenant: "acme", system: "setup" });
  await identity.createTenant({ name: "Acme" });
  const { serviceAccountId: id } = await identity.createServiceAccount({ name: "Load" });
  const { key } = await identity.createApiKey({ name: "Load", account: { type: "service", id } });
  return {
    listener: express().use(armatureRouter(app)),
    key,
    close: async () => {
      await app.close();
      await pool.end();
    },
  };
}
