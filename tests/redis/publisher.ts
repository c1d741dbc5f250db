// An app in a process of its own: it places and ships as many orders as each line on its standard input says, and answers with
// a line when all are committed.
import { createInterface } from "node:readline";
import { postgres } from "@armature/adapter-postgres";
import { openRedis, redisStreams } from "@armature/adapter-redis";
import { createArmature } from "@armature/core";
import { recordingLogger } from "@armature/core/testing";
import { ordersContext } from "@armature-examples/own-context";
import { Pool } from "pg";

const { DATABASE_URL, REDIS_URL, KEY } = process.env;
const pool = new Pool({ connectionString: DATABASE_URL! });
const redis = await openRedis(REDIS_URL!);
const app = await createArmature({
  store: postgres({ pool }),
  bus: redisStreams({ client: redis.client }),
  contexts: [ordersContext],
  keyEncryptionKey: KEY!,
  authorizer: () => true,
  logger: recordingLogger(),
  relay: { backoffMs: 50, maxBackoffMs: 200 },
});
await app.migrate();
console.log("ready");
const acme = app.as({ tenant: "acme", user: "ann" });
for await (const line of createInterface({ input: process.stdin })) {
  for (let count = 0; count < Number(line); count += 1) {
    const { orderId } = await acme.orders.place({ customer: "Bo", total: { amount: 1999, currency: "EUR" } });
    await acme.orders.ship({ orderId });
  }
  console.log("committed");
}
await app.close();
await redis.close();
await pool.end();
