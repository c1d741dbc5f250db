import { expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { ProviderSimulator } from "../../testing/provider-simulator.ts";
import { answer } from "../../testing/simulated-answer.ts";
import { apiKey } from "./authentication.ts";
import { connectorAction, defineConnector } from "./connector-definition.ts";

const deleteContact = connectorAction({
  summary: "Deletes a contact.",
  risk: "irreversible",
  idempotency: "natural",
  input: z.strictObject({ id: z.string().min(1) }),
  output: z.json(),
  run: ({ id }, { http }) => http.delete(`/contacts/${encodeURIComponent(id)}`, { schema: z.json() }),
});

const crm = defineConnector({
  id: "crm",
  name: "The CRM",
  auth: { apiKey: apiKey({ header: "x-api-key" }) },
  http: { baseUrl: "https://api.crm.example/v1" },
  health: async () => ({ id: "1", name: "Acme" }),
  actions: { deleteContact },
});

test("an id of dots does not lead an action to another resource of the provider", async () => {
  const provider = new ProviderSimulator().on("DELETE https://api.crm.example/v1/contacts/:id", answer.json({}));
  await using app = await createArmature({
    store: inMemory(),
    connectors: [crm],
    http: provider,
    authorizer: () => true,
    relay: false,
  });
  const { connectors } = app.as({ tenant: "acme", user: "ann" });
  const { id: connectorId } = await connectors.connectWithApiKey({ provider: "crm", apiKey: "k-123" });
  const remove = (id: string) => connectors.invoke({ connectorId, action: "deleteContact", input: { id } });

  // encodeURIComponent leaves both as they are, and a URL takes them for steps.
  for (const id of [".", ".."]) await expect(remove(id)).rejects.toThrow(InvalidInput);
  expect(provider.requests).toEqual([]);

  for (const id of ["...", "a.b", "a/../b", "%2e%2e"]) await remove(id);
  expect(provider.requests).toHaveLength(4);
  provider.assertNoUnexpected();
});
