/** A host's process that a test kills. It takes one order a message and answers it. */
import { pglite, postgres } from "@armature/adapter-postgres";
import { ArmatureError, connectorActions, createArmature } from "@armature/core";
import { sandboxCrm } from "@armature-examples/sandbox-crm";
import { Pool } from "pg";
import { z } from "zod";
import { countersContext } from "./counters.ts";

const { STORE, KEY, AUTHORIZATION_SERVER, CRM_API, REDIRECT_URI } = z
  .object({
    STORE: z.string(),
    KEY: z.string(),
    AUTHORIZATION_SERVER: z.string(),
    CRM_API: z.string(),
    REDIRECT_URI: z.string(),
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
const app = await createArmature({
  store,
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
