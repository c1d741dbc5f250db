import { type ConnectorDefinition, createArmature, type StoreAdapter } from "@armature/core";
import { answer, ProviderSimulator } from "@armature/core/testing";

/** Seals what tests keep. */
export const keyEncryptionKey = Buffer.alloc(32, 1).toString("base64");

/**
 * Connects acme with a private app's token, at a HubSpot of its own: what connecting asks is not what the tests are
 * about, and uses none of their limits.
 */
export async function connectToken(store: StoreAdapter, definition: ConnectorDefinition): Promise<`con_${string}`> {
  const http = new ProviderSimulator({ allowedOrigins: [definition.http.baseUrl] }).on(
    `GET ${definition.http.baseUrl}/account-info/2026-03/details`,
    answer.json({ portalId: 1, accountType: "STANDARD" }),
  );
  const app = await createArmature({
    store,
    keyEncryptionKey,
    connectors: [definition],
    authorizer: () => true,
    http,
    relay: false,
  });
  const acme = app.as({ tenant: "acme", user: "ann" });
  const { id } = await acme.connectors.connectWithApiKey({ provider: definition.id, apiKey: "pat-eu1-1" });
  return id;
}
