import { postgres } from "@armature/adapter-postgres";
import { createArmature } from "@armature/core";
import { ordersContext } from "@armature-examples/own-context";
import { Pool } from "pg";

/** A host that is killed in the instant after its own commit, before anybody can have published the event. */
const pool = new Pool({ connectionString: process.env["DATABASE_URL"] });
const app = await createArmature({
  store: postgres({ pool, rolePrefix: process.env["ROLE_PREFIX"] ?? "" }),
  contexts: [ordersContext],
  keyEncryptionKey: process.env["KEY"] ?? "",
  authorizer: () => true,
  relay: false,
});
const key = "killed-after-commit";
const client = await pool.connect();
await client.query("BEGIN");
const { orderId } = await app
  .as({ tenant: "acme", user: "ann" })
  .within(client, (acme) =>
    acme.orders.place({ customer: "Bo", total: { amount: 1999, currency: "USD" } }, { idempotencyKey: key }),
  );
await new Promise<void>((resolve) => process.stdout.write(JSON.stringify({ orderId, key }), () => resolve()));
await client.query("COMMIT");
process.kill(process.pid, "SIGKILL");
