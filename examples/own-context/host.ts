import { createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { armatureRouter } from "@armature/server-express";
import express from "express";
import { ordersContext } from "./context.ts";

/** Orders in a host's own Express app, in memory: `pnpm start`, then `curl localhost:3000/api/orders`. */
const app = await createArmature({ store: inMemory(), contexts: [ordersContext], authorizer: () => true });
const web = express();
// Who calls is the host's to say: its session, its tokens.
web.use("/api", armatureRouter(app, { authenticate: () => ({ tenant: "acme", user: "ann" }) }));
const server = web.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  const { port } = server.address() as { port: number };
  console.log(`Orders are on http://127.0.0.1:${port}/api/orders`);
});

process.once("SIGTERM", async () => {
  server.close();
  server.closeAllConnections();
  await app.close();
});
