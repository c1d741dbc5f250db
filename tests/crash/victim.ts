/** A host's process that a test kills. It takes one order a message and answers it. */
import { pglite, postgres } from "@armature/adapter-postgres";
import {
  ArmatureError,
  type Clock,
  connectorActions,
  createArmature,
  SealedSecretStore,
  Secret,
  type SecretStore,
  systemClock,
  systemIds,
} from "@armature/core";
import { sandboxCrm } from "@armature-examples/sandbox-crm";
import { Pool } from "pg";
import { z } from "zod";
import { countersContext } from "./counters.ts";

const { STORE, KEY, AUTHORIZATION_SERVER, CRM_API, REDIRECT_URI, AHEAD_MS, STOPS_WITH_SECRET } = z
  .object({
    STORE: z.string(),
    KEY: z.string(),
    AUTHORIZATION_SERVER: z.string(),
    CRM_API: z.string(),
    REDIRECT_URI: z.string(),
    /** How far its clock is ahead. */
    AHEAD_MS: z.coerce.number().default(0),
    /** Nothing that stores a secret goes on after that. */
    STOPS_WITH_SECRET: z.string().optional(),
  })
  .parse(process.env);

const crm = sandboxCrm({
  clientId: "armature-sandbox",
  clientSecret: "sandbox-client-secret",
  authorizationServer: AUTHORIZATION_SERVER,
  api: CRM_API,
});
const store = STORE.startsWith("postgres:")
  ? postgres({ pool: new Pool({ connectionString: STORE, max: 8 }) })
  : pglite({ dataDir: STORE });
const clock: Clock = { ...systemClock(), now: () => systemClock().now() + AHEAD_MS };
const sealed = new SealedSecretStore({ store, ids: systemIds(clock), keyEncryptionKey: new Secret(KEY) });
const secrets: SecretStore = {
  get: (...args) => sealed.get(...args),
  put: async (...args) => {
    const version = await sealed.put(...args);
    return STOPS_WITH_SECRET === undefined ? version : new Promise(() => undefined);
  },
  delete: (...args) => sealed.delete(...args),
  list: (...args) => sealed.list(...args),
  ping: () => sealed.ping(),
};
const app = await createArmature({
  store,
  secrets,
  clock,
  keyEncryptionKey: KEY,
  authorizer: () => true,
  connectors: [crm],
  contexts: [countersContext],
  oauthRedirectUri: REDIRECT_URI,
  allowedOrigins: [AUTHORIZATION_SERVER, CRM_API],
  relay: { pollMs: 20 },
});
await app.migrate();
const acme = app.as({ tenant: "acme", user: "ann" });

const order = z.discriminatedUnion("do", [
  z.object({ id: z.number(), do: z.literal("authorize") }),
  z.object({ id: z.number(), do: z.literal("callback"), query: z.string() }),
  z.object({ id: z.number(), do: z.literal("connect") }),
  z.object({ id: z.number(), do: z.literal("secrets") }),
  z.object({ id: z.number(), do: z.literal("list"), connectorId: z.string() }),
  z.object({ id: z.number(), do: z.literal("status"), connectorId: z.string() }),
  z.object({ id: z.number(), do: z.literal("count"), counter: z.string(), key: z.string() }),
  z.object({ id: z.number(), do: z.literal("counters") }),
]);

async function carryOut(given: z.infer<typeof order>): Promise<unknown> {
  switch (given.do) {
    case "authorize":
      return acme.connectors.authorize({ provider: "sandbox-crm" });
    case "callback":
      return app.oauthCallback(new URLSearchParams(given.query));
    case "connect":
      return acme.connectors.connectWithApiKey({ provider: "sandbox-crm", apiKey: "sandbox-api-key" });
    case "secrets":
      return secrets.list("acme", "connectors/");
    case "list":
      return (await connectorActions(acme.connectors, crm, given.connectorId).listContacts({ limit: 1 })).contacts
        .length;
    case "status":
      return (await acme.connectors.get({ connectorId: given.connectorId as `con_${string}` })).status;
    case "count":
      return acme.counters.count({ counter: given.counter }, { idempotencyKey: given.key });
    case "counters":
      await app.settled();
      return {
        ...(await acme.counters.all()),
        events: (await everyEvent()).filter((event) => event.type === "counters.counted"),
      };
  }
}

async function everyEvent() {
  const items = [];
  let after: string | undefined;
  do {
    const page = await acme.audit.events({ direction: "asc", limit: 200, after });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

process.on("message", (message) => {
  const given = order.parse(message);
  carryOut(given).then(
    (value) => process.send?.({ id: given.id, value }),
    (error: unknown) =>
      process.send?.({
        id: given.id,
        error: error instanceof ArmatureError ? error.toJSON() : { code: "defect", message: String(error) },
      }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ id: 0, value: "ready" });
