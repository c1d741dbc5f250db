/** One process of a fleet: it writes, relays or consumes, until somebody kills it. */
import { postgres } from "@armature/adapter-postgres";
import { openRedis, redisStreams } from "@armature/adapter-redis";
import { ArmatureError, createArmature } from "@armature/core";
import { Pool } from "pg";
import { z } from "zod";
import { tallies, tallyContexts } from "./tally.ts";

const { ROLE, DATABASE_URL, REDIS_URL, KEY } = z
  .object({
    ROLE: z.enum(["writers", "relays", "consumers"]),
    DATABASE_URL: z.string(),
    REDIS_URL: z.string(),
    KEY: z.string(),
  })
  .parse(process.env);

// Written to the pipe before it goes on, so that a kill does not unsay it.
const begun = (consumer: "store" | "bus") => (tenant: string, tally: string, version: number) =>
  new Promise<void>((resolve) => {
    process.send?.({ note: { consumer, event: `${tenant}/${tally}@${version}` } }, () => resolve());
  });

const pool = new Pool({ connectionString: DATABASE_URL, max: 6 });
pool.on("error", () => undefined); // the server was restarted
const redis = await openRedis(REDIS_URL);
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const bus = redisStreams({
  client: redis.client,
  leaseMs: 1_000,
  timeoutMs: 2_000,
  maxAttempts: 1_000,
  backoffMs: 20,
  maxBackoffMs: 500,
});
const app = await createArmature({
  store: postgres({ pool }),
  bus,
  contexts: tallyContexts(begun("store")),
  keyEncryptionKey: KEY,
  authorizer: () => true,
  logger: silent,
  relay: ROLE === "relays" ? { pollMs: 50, backoffMs: 20, maxBackoffMs: 500, maxAttempts: 1_000 } : false,
});

if (ROLE === "consumers")
  await bus.subscribe({
    group: "receipts",
    sources: [`/contexts/${tallies.name}`],
    handle: async (event) => {
      const { tenant, id: eventId, sequence: version } = event;
      const tally = event.subject.slice(event.subject.indexOf("/") + 1);
      await begun("bus")(tenant, tally, version);
      const receipt = { consumer: "bus", tally, version, eventId };
      await app.as({ tenant, system: "receipts" }).receipts.receive(receipt, { idempotencyKey: eventId });
    },
  });

const order = z.object({
  id: z.number(),
  do: z.literal("count"),
  tenant: z.string(),
  tally: z.string(),
  key: z.string(),
});

process.on("message", (message) => {
  const { id, tenant, tally, key } = order.parse(message);
  app
    .as({ tenant, user: "ann" })
    .tallies.count({ tally, key }, { idempotencyKey: key, timeoutMs: 5_000 })
    .then(
      (value) => process.send?.({ id, value }),
      (error: unknown) =>
        process.send?.({
          id,
          error: error instanceof ArmatureError ? error.toJSON() : { code: "defect", message: String(error) },
        }),
    );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ id: 0, value: "ready" });
