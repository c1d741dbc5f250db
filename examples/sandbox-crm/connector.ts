import { apiKey, clientCredentials, connectorAction, defineConnector, oauth2 } from "@armature/core";
import { z } from "zod";

const contact = z.object({
  id: z.string(),
  firstName: z.string(),
  lastName: z.string(),
  email: z.string(),
  phone: z.string().nullable(),
  company: z.string().nullable(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
const contactPage = z.object({
  contacts: z.array(contact),
  /** `after` of the next page; null on the last one. */
  next: z.string().nullable(),
});
const account = z.object({ account: z.string() });

const text = z.string().trim().min(1).max(200);
const contactFields = z.strictObject({
  firstName: text,
  lastName: text,
  email: z.email(),
  phone: text.nullable().optional(),
  company: text.nullable().optional(),
});

/**
 * The connector to sandbox-crm, as a host writes one for a system of its own: where it is, how a tenant proves who it
 * is, what can be done there and what may go wrong. Give it to `createArmature({ connectors: [sandboxCrm({ … })] })`.
 */
export function sandboxCrm(options: {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Origin of the authorization server, `http://127.0.0.1:4001`. */
  readonly authorizationServer: string;
  /** Origin of the CRM's API. */
  readonly api: string;
  /** What the CRM allows each account. */
  readonly requestsPerSecond?: number;
}) {
  const { clientId, clientSecret, authorizationServer, api, requestsPerSecond = 20 } = options;
  return defineConnector({
    id: "sandbox-crm",
    name: "Sandbox CRM",
    auth: {
      oauth2: oauth2({
        issuer: authorizationServer,
        authorizationEndpoint: new URL("/auth", authorizationServer).href,
        tokenEndpoint: new URL("/token", authorizationServer).href,
        clientId,
        clientSecret,
        scopes: ["offline_access", "contacts.read", "contacts.write"],
        // Without asking for consent each time the server gives no refresh token.
        parameters: { prompt: "consent" },
      }),
      apiKey: apiKey({ header: "x-api-key" }),
      // A machine's own account: each tenant brings its client.
      clientCredentials: clientCredentials({
        issuer: authorizationServer,
        tokenEndpoint: new URL("/token", authorizationServer).href,
        scopes: ["contacts.read", "contacts.write"],
      }),
    },
    http: {
      baseUrl: api,
      // A tenth slower than the CRM's own bucket: requests that we space out may still arrive closer together.
      limits: [{ name: "requests", per: "connector", capacity: requestsPerSecond, refillMs: 1_100 }],
      timeoutMs: 10_000,
    },
    health: async ({ http }) => {
      const me = await http.get("/me", { schema: account });
      return { id: me.account, name: me.account };
    },
    actions: {
      listContacts: connectorAction({
        summary: "Lists contacts in the order of their creation, a page at a time.",
        risk: "read",
        scopes: ["contacts.read"],
        input: z.strictObject({
          limit: z.int().min(1).max(100).default(50),
          /** `next` of the page before. */
          after: z.string().optional(),
          /** Only contacts with this address, in any case. */
          email: z.email().optional(),
        }),
        output: contactPage,
        run: ({ limit, after, email }, { http }) =>
          http.get("/contacts", { query: { limit, after, email }, schema: contactPage }),
      }),

      getContact: connectorAction({
        summary: "Reads one contact.",
        risk: "read",
        scopes: ["contacts.read"],
        input: z.strictObject({ id: z.string().min(1) }),
        output: contact,
        run: ({ id }, { http }) => http.get(`/contacts/${encodeURIComponent(id)}`, { schema: contact }),
      }),

      createContact: connectorAction({
        summary: "Creates a contact, once, however often the call is repeated.",
        risk: "write",
        // The CRM recognises the key, so a repetition after a lost answer creates nothing new.
        idempotency: "key",
        scopes: ["contacts.write"],
        input: contactFields,
        output: contact,
        run: (input, { http, idempotencyKey }) =>
          http.post("/contacts", { json: input, headers: { "idempotency-key": idempotencyKey }, schema: contact }),
      }),

      updateContact: connectorAction({
        summary: "Changes the given fields of a contact and leaves the rest.",
        risk: "write",
        // It sets values, so setting them again changes nothing.
        idempotency: "natural",
        scopes: ["contacts.write"],
        input: z.strictObject({ id: z.string().min(1), changes: contactFields.partial() }),
        output: contact,
        run: ({ id, changes }, { http }) =>
          http.patch(`/contacts/${encodeURIComponent(id)}`, { json: changes, schema: contact }),
      }),

      mergeContacts: connectorAction({
        summary: "Merges a duplicate into a contact. The duplicate is gone for good.",
        risk: "irreversible",
        scopes: ["contacts.write"],
        input: z.strictObject({ id: z.string().min(1), duplicateId: z.string().min(1) }),
        output: contact,
        run: ({ id, duplicateId }, { http }) =>
          http.post(`/contacts/${encodeURIComponent(id)}/merge`, { json: { duplicateId }, schema: contact }),
      }),
    },
  });
}
