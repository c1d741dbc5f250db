import type { ConnectorActionContext, ProviderClient, ProviderRequest } from "@armature/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { startAuthorizationServer } from "./authorization-server.ts";
import { sandboxCrm } from "./connector.ts";
import { type CrmServer, startCrmServer } from "./crm-server.ts";
import { redirectUri } from "./test-client.ts";

const apiKey = "sandbox-api-key";
let crm: CrmServer;
let connector: ReturnType<typeof sandboxCrm>;
let close: () => Promise<void>;

beforeEach(async () => {
  const authorizationServer = await startAuthorizationServer({ client: { redirectUris: [redirectUri] } });
  crm = await startCrmServer({ authorizationServer: authorizationServer.origin, contacts: 250 });
  connector = sandboxCrm({
    clientId: "armature-sandbox",
    clientSecret: "sandbox-client-secret",
    authorizationServer: authorizationServer.origin,
    api: crm.origin,
  });
  close = async () => {
    await crm.close();
    await authorizationServer.close();
  };
});
afterEach(() => close());

/** The least that an action needs: requests as they are, without limits, retries or a guard. */
function context(idempotencyKey = "key-1"): ConnectorActionContext {
  const send =
    (method: string) =>
    async <Out>(path: string, { query = {}, json, headers, schema }: ProviderRequest<Out>): Promise<Out> => {
      const url = new URL(path, connector.http.baseUrl);
      for (const [name, value] of Object.entries(query))
        if (value !== undefined) url.searchParams.set(name, `${value}`);
      const response = await fetch(url, {
        method,
        headers: { ...headers, [connector.auth.apiKey!.header]: apiKey },
        ...(json !== undefined && { body: JSON.stringify(json) }),
      });
      if (!response.ok) throw new Error(`${response.status}`);
      return (schema as unknown as z.ZodType<Out>).parse(await response.json());
    };
  const http: ProviderClient = {
    get: send("GET"),
    post: send("POST"),
    put: send("PUT"),
    patch: send("PATCH"),
    delete: send("DELETE"),
    async *pages(path, request) {
      yield await send("GET")(path, request);
    },
  };
  return { http, idempotencyKey, signal: AbortSignal.timeout(10_000) };
}

const grace = { firstName: "Grace", lastName: "Hopper", email: "grace@navy.example" };
const contact = z.object({ id: z.string() });

describe("the connector to sandbox-crm", () => {
  it("names the endpoints that the authorization server publishes", async () => {
    const { issuer, authorizationEndpoint, tokenEndpoint } = connector.auth.oauth2!;
    const published = await fetch(new URL("/.well-known/openid-configuration", issuer));
    expect(await published.json()).toMatchObject({
      issuer,
      authorization_endpoint: authorizationEndpoint,
      token_endpoint: tokenEndpoint,
    });
  });

  it("says whose credential it is", async () => {
    expect(await connector.health(context())).toEqual({ id: "ann", name: "ann" });
  });

  it("lists every contact once, a page at a time", async () => {
    const page = z.object({ contacts: z.array(contact), next: z.string().nullable() });
    const ids: string[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const { contacts, next } = page.parse(await connector.actions.listContacts.run({ limit: 100, after }, context()));
      ids.push(...contacts.map(({ id }) => id));
      after = next;
    }
    expect(ids).toHaveLength(250);
    expect(new Set(ids).size).toBe(250);
  });

  it("creates a contact once when the call is repeated", async () => {
    const { createContact, getContact } = connector.actions;
    const first = contact.parse(await createContact.run(grace, context()));
    expect(await createContact.run(grace, context())).toMatchObject(first);
    expect(await getContact.run({ id: first.id }, context())).toMatchObject(grace);
    expect(crm.stats().accounts.ann).toMatchObject({ created: 1, replayed: 1 });
    await createContact.run(grace, context("key-2"));
    expect(crm.stats().accounts.ann).toMatchObject({ created: 2 });
  });

  it("changes a contact, and merges a duplicate into it", async () => {
    const { createContact, updateContact, mergeContacts, getContact } = connector.actions;
    const { id } = contact.parse(await createContact.run(grace, context("key-1")));
    const { id: duplicateId } = contact.parse(await createContact.run(grace, context("key-2")));

    expect(await updateContact.run({ id, changes: { company: "Navy" } }, context())).toMatchObject({ company: "Navy" });
    expect(await mergeContacts.run({ id, duplicateId }, context())).toMatchObject({ id, company: "Navy" });
    await expect(getContact.run({ id: duplicateId }, context())).rejects.toThrow("404");
  });

  it("says of each action what it risks and what a repetition does", () => {
    const said = Object.entries(connector.actions).map(([name, { risk, idempotency }]) => [name, risk, idempotency]);
    expect(said).toEqual([
      ["listContacts", "read", "natural"],
      ["getContact", "read", "natural"],
      ["createContact", "write", "key"],
      ["updateContact", "write", "natural"],
      ["mergeContacts", "irreversible", "none"],
    ]);
  });
});
