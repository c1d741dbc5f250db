import { createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { ordersContext } from "@armature-examples/own-context";
import { startExpress } from "./express-host.ts";
import { startFastify } from "./fastify-host.ts";
import { startNode } from "./node-host.ts";

const starts = { express: startExpress, fastify: startFastify, node: startNode };
const start = starts[(process.argv[2] ?? "node") as keyof typeof starts];

const app = await createArmature({ store: inMemory(), contexts: [ordersContext], authorizer: () => true });
const host = await start(app, Number(process.env["PORT"] ?? 3000));
console.log(`Try: curl -H 'x-demo-user: ann' ${host.origin}/api/orders`);
process.once("SIGTERM", () => void host.close());
process.once("SIGINT", () => void host.close());
