// The server that is fuzzed and loaded, as a process of its own: its memory is its own too.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pglite, postgres } from "@armature/adapter-postgres";
import {
  activity,
  apiKey,
  basic,
  clientCredentials,
  command,
  connectorAction,
  createArmature,
  defineAgent,
  defineConnector,
  defineContext,
  defineContract,
  defineWorkflow,
  identity,
  type LanguageModel,
  type Logger,
  NotFound,
  operationTool,
  ServiceAccountCreated,
  systemClock,
} from "@armature/core";
import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { startServer } from "@armature/server-express";
import { Pool } from "pg";
import { z } from "zod";

export type Ask = {
  readonly ask: "key" | "connectors" | "approvals" | "executions" | "runs" | "scheduled" | "memory" | "close";
};
export type Told =
  | { readonly told: "ready"; readonly origin: string }
  | { readonly told: "key"; readonly key: string; readonly account: string }
  | { readonly told: "connectors"; readonly ids: readonly string[] }
  | { readonly told: "approvals"; readonly ids: readonly string[] }
  | { readonly told: "executions"; readonly ids: readonly string[] }
  | { readonly told: "runs"; readonly ids: readonly string[] }
  | { readonly told: "scheduled"; readonly keys: readonly string[] }
  | { readonly told: "memory"; readonly heapUsed: number; readonly rss: number; readonly waiting: number }
  | { readonly told: "closed"; readonly begun: number; readonly answered: number; readonly cut: number }
  | { readonly told: "failed"; readonly message: string };

const tell = (message: Told) => process.send?.(message);
const tenant = "acme";

// A provider on a socket of its own, which remembers nothing.
const provider = createServer((request, response) => {
  request.resume();
  const token = { access_token: "token", token_type: "Bearer", expires_in: 3600 };
  const json =
    request.url === "/token" ? token : request.url === "/me" ? { id: "1", name: "Acme" } : { id: "2", name: "Bob" };
  const body = request.url?.startsWith("/contacts") && request.method === "GET" ? { contacts: [json] } : json;
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
}).listen(0, "127.0.0.1");
await once(provider, "listening");
const providerOrigin = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;

// Something to be called off.
const bells = defineContract("bells", {
  ring: command({ input: z.strictObject({}), permission: "internal", summary: "Rings." }),
  ringLater: command({
    input: z.strictObject({}),
    output: z.object({ key: z.string() }),
    permission: "bells:write",
    summary: "Has it ring in an hour.",
  }),
});
const bellsContext = defineContext(bells, {
  dependsOn: [identity],
  // What cannot be handled is parked, for somebody to decide about.
  subscriptions: (on) => [
    on(ServiceAccountCreated, { consumer: "bells.greet" }, async () => {
      throw new Error("out of order");
    }),
  ],
  handlers: {
    ring: () => undefined,
    ringLater: (_input, ctx) => ({ key: ctx.send(bells, "ring", {}, { afterMs: 3_600_000 }) }),
  },
});

const contact = z.object({ id: z.string(), name: z.string() });
const crm = defineConnector({
  id: "crm",
  name: "The simulated CRM",
  auth: {
    apiKey: apiKey({ header: "x-api-key" }),
    basic: basic(),
    clientCredentials: clientCredentials({ tokenEndpoint: `${providerOrigin}/token`, scopes: [] }),
  },
  http: { baseUrl: providerOrigin },
  health: (ctx) => ctx.http.get("/me", { schema: contact }),
  actions: {
    listContacts: connectorAction({
      summary: "Lists contacts.",
      input: z.strictObject({ limit: z.int().min(1).max(100).optional() }),
      output: z.object({ contacts: z.array(contact) }),
      risk: "read",
      run: (input, ctx) =>
        ctx.http.get("/contacts", { query: input, schema: z.object({ contacts: z.array(contact) }) }),
    }),
    createContact: connectorAction({
      summary: "Creates a contact.",
      input: z.strictObject({ name: z.string().min(1).max(100) }),
      output: contact,
      risk: "write",
      run: (input, ctx) => ctx.http.post("/contacts", { json: input, schema: contact }),
    }),
  },
});

// One that waits until it is told or called off, and one that fails and can be gone on with.
const named = z.strictObject({ name: z.string().optional() });
const waiting = defineWorkflow({
  name: "waiting",
  version: 1,
  input: named,
  signals: { paid: z.json() },
  activities: { note: activity({ input: named, run: () => undefined }) },
  run: async (ctx, input) => {
    await ctx.activity("note", input);
    await ctx.waitForSignal("paid");
  },
});
const failing = defineWorkflow({
  name: "failing",
  version: 1,
  input: named,
  run: async () => {
    throw new NotFound({ type: "way", id: "out" });
  },
});

// Calls its tool, and says something when it has. A tenant can retire an agent for good, so there are many.
const playing = (delayMs: number): LanguageModel => ({
  specificationVersion: "v3",
  provider: "played",
  modelId: `after-${delayMs}`,
  doGenerate: async ({ prompt, tools = [] }: { prompt: readonly { role: string }[]; tools?: readonly unknown[] }) => {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const calls = tools.length > 0 && prompt.at(-1)!.role !== "tool";
    const call = { type: "tool-call", toolCallId: "call", toolName: "bells_ringLater", input: "{}" };
    return {
      content: [calls ? call : { type: "text", text: "It rings." }],
      finishReason: { unified: calls ? "tool-calls" : "stop", raw: "" },
      usage: { inputTokens: { total: 10 }, outputTokens: { total: 5 } },
      warnings: [],
    };
  },
  doStream: async () => {
    throw new Error("nothing is streamed here");
  },
});
const ringer = (id: string, model: string) =>
  defineAgent({
    id,
    summary: "Rings.",
    instructions: "Ring the bell.",
    tools: [operationTool(bells, "ringLater")],
    models: [model],
    approvalFrom: "never",
  });
const agents = [ringer("keeper", "slow"), ...Array.from({ length: 60 }, (_, n) => ringer(`ringer-${n}`, "quick"))];

const PARKED = "An event is parked until somebody looks at it";
// Whatever is an error of ours fails the test.
const logger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error: (message, fields) => {
    if (message !== PARKED) tell({ told: "failed", message: `${message} ${JSON.stringify(fields)}` });
  },
};

const { DATABASE_URL } = process.env;
const pool = DATABASE_URL === undefined ? undefined : new Pool({ connectionString: DATABASE_URL, max: 16 });
const store = pool === undefined ? await pglite() : postgres({ pool });
const app = await createArmature({
  store,
  keyEncryptionKey: Buffer.alloc(32, 7).toString("base64"),
  connectors: [crm],
  contexts: [bellsContext],
  workflows: [waiting, failing],
  agents,
  tenantAgents: { models: ["quick"], tools: [operationTool(bells, "ringLater")] },
  models: { quick: playing(0), slow: playing(4_000) },
  allowedOrigins: [providerOrigin],
  relay: { maxAttempts: 1 },
  logger,
  allowSecretReveal: true,
  oauthRedirectUri: "https://host.example/oauth/callback",
});
await app.migrate();
const system = app.as({ tenant, system: "fuzz" }).identity;
await system.createTenant({ name: "Acme" });
let accounts = 0;
const keeper = "keeper";
await system.createServiceAccount({ serviceAccountId: keeper, name: "Keeper", roles: ["owner"] });

// With everything that a server can have between the wire and a call; the limits are too wide to be reached.
const wide = { capacity: 1_000_000, refillMs: 1_000 };
const server = await startServer({
  app,
  logger,
  compression: true,
  docs: true,
  cors: { origins: ["https://app.example"] },
  trustedProxies: ["loopback"],
  rateLimits: {
    limiter: new InMemoryRateLimiter(systemClock()),
    address: wide,
    failures: wide,
    key: wide,
    tenant: wide,
  },
});

const requests = { begun: 0, answered: 0, cut: 0 };
server.server.on("request", (_request, response) => {
  requests.begun += 1;
  response.once("close", () => {
    requests[response.writableFinished ? "answered" : "cut"] += 1;
  });
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

process.on("message", async ({ ask }: Ask) => {
  switch (ask) {
    case "key": {
      accounts += 1;
      const { serviceAccountId } = await system.createServiceAccount({
        serviceAccountId: `fuzz-${accounts}`,
        name: "Fuzz",
        roles: ["owner"],
      });
      const account = { type: "service", id: serviceAccountId } as const;
      const { key } = await system.createApiKey({ name: "fuzz", account });
      tell({ told: "key", key, account: account.id });
      break;
    }
    case "connectors": {
      const { connectors } = app.as({ tenant, system: "fuzz" });
      const connect = () => connectors.connectWithApiKey({ provider: "crm", apiKey: "key" });
      const connected = await Promise.all([connect(), connect(), connect(), connect()]);
      tell({ told: "connectors", ids: connected.map(({ id }) => id) });
      break;
    }
    case "approvals": {
      const { approvals } = app.as({ tenant, system: "fuzz" });
      const subject = { type: "fuzz", id: "1" };
      const ask = () => approvals.request({ subject, action: "listContacts", arguments: {}, risk: "read" });
      const asked = await Promise.all(Array.from({ length: 12 }, ask));
      tell({ told: "approvals", ids: asked.map(({ approvalId }) => approvalId) });
      break;
    }
    case "executions": {
      const { workflows } = app.as({ tenant, system: "fuzz" });
      const begin = (workflow: string) => workflows.start({ workflow, input: {} });
      const begun = await Promise.all(Array.from({ length: 16 }, (_, n) => begin(n % 2 === 0 ? "waiting" : "failing")));
      tell({ told: "executions", ids: begun.map(({ executionId }) => executionId) });
      break;
    }
    case "runs": {
      // Each of them takes eight seconds. A budget that was set may allow none.
      const { agents: ours } = app.as({ tenant, service: keeper });
      const run = () => ours.run({ agent: "keeper", input: "Ring." }).catch(() => undefined);
      const begun = await Promise.all(Array.from({ length: 8 }, run));
      tell({ told: "runs", ids: begun.flatMap((each) => (each === undefined ? [] : [each.runId])) });
      break;
    }
    case "scheduled": {
      const { key } = (await app.call("bells.ringLater", {}, { principal: { tenant, system: "fuzz" } })) as {
        readonly key: string;
      };
      tell({ told: "scheduled", keys: [key] });
      break;
    }
    case "memory": {
      collect();
      collect();
      const { heapUsed, rss } = process.memoryUsage();
      let waiting = 0;
      for (const context of [
        ...["identity", "connectors", "secrets", "approvals", "audit", "delivery", "workflows", "agents"],
        "bells",
      ])
        waiting += await store.outbox.size(context);
      tell({ told: "memory", heapUsed, rss, waiting });
      break;
    }
    case "close":
      await server.close();
      await pool?.end();
      provider.close();
      provider.closeAllConnections();
      tell({ told: "closed", ...requests });
      process.disconnect();
  }
});
tell({ told: "ready", origin: server.origin });
