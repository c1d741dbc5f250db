// A process of its own: it uses an application, closes it, and has to end by itself. Run by tests/closing.test.ts.
import { connectorActions, createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { sandboxCrm } from "@armature-examples/sandbox-crm";

const [authorizationServer, api] = process.argv.slice(2) as [string, string];
const crm = sandboxCrm({ clientId: "client", clientSecret: "secret", authorizationServer, api });
const app = await createArmature({
  store: inMemory(),
  authorizer: () => true,
  connectors: [crm],
  allowedOrigins: [authorizationServer, api],
});
const { connectors } = app.as({ tenant: "acme", user: "ann" });
const { id } = await connectors.connectWithApiKey({ provider: "sandbox-crm", apiKey: "sandbox-api-key" });
const { listContacts } = connectorActions(connectors, crm, id);
await Promise.all(Array.from({ length: 5 }, () => listContacts({ limit: 1 })));
const leaver = new AbortController();
const left = connectors.check({ connectorId: id }, { signal: leaver.signal }).catch((error: Error) => error.name);
leaver.abort();
await connectors.disconnect({ connectorId: id });
await app.settled();
await app.close();
process.stdout.write(`closed after ${await left}\n`);
