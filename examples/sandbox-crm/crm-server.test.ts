import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { type AuthorizationServer, startAuthorizationServer } from "./authorization-server.ts";
import { type Contact, contactSchema } from "./contact.ts";
import { type CrmServer, startCrmServer } from "./crm-server.ts";
import { redirectUri, TestClient } from "./test-client.ts";

const pageSchema = z.strictObject({ contacts: z.array(contactSchema), next: z.string().nullable() });
const grace = { firstName: "Grace", lastName: "Hopper", email: "grace@navy.example" };

let authorizationServer: AuthorizationServer;
let crm: CrmServer;
let now: number;

beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  authorizationServer = await startAuthorizationServer({ client: { redirectUris: [redirectUri] } });
  crm = await startCrmServer({
    authorizationServer: authorizationServer.origin,
    apiKeys: { "ann-key": "ann", "ben-key": "ben" },
    now: () => now,
  });
});
afterEach(async () => {
  vi.useRealTimers();
  await crm.close();
  await authorizationServer.close();
});

async function call(
  path: string,
  options: { method?: string; body?: unknown; headers?: Record<string, string>; key?: string } = {},
) {
  const { method = "GET", body, headers = { "x-api-key": options.key ?? "ann-key" } } = options;
  const text = typeof body === "string" ? body : body === undefined ? undefined : JSON.stringify(body);
  const response = await fetch(new URL(path, crm.origin), {
    method,
    headers,
    redirect: "manual",
    ...(text !== undefined && { body: text }),
  });
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) as unknown };
}

const create = (body: unknown, idempotencyKey?: string) =>
  call("/contacts", {
    method: "POST",
    body,
    headers: { "x-api-key": "ann-key", ...(idempotencyKey && { "idempotency-key": idempotencyKey }) },
  });

async function allContacts(limit: number): Promise<Contact[]> {
  const contacts: Contact[] = [];
  for (let next: string | null = ""; next !== null; ) {
    const { body } = await call(`/contacts?limit=${limit}${next && `&after=${next}`}`);
    const page = pageSchema.parse(body);
    contacts.push(...page.contacts);
    next = page.next;
    now += 1_000;
  }
  return contacts;
}

describe("who calls", () => {
  it("knows the account of an access token and of an API key", async () => {
    const { access_token: token } = await (await TestClient.for(authorizationServer)).authorize({ account: "ben" });
    expect((await call("/me", { headers: { authorization: `Bearer ${token}` } })).body).toEqual({
      account: "ben",
      via: "oauth",
      scopes: ["contacts.read", "contacts.write"],
    });
    expect((await call("/me")).body).toMatchObject({ account: "ann", via: "api-key" });
  });

  it("refuses an access token from the moment it expires", async () => {
    const { access_token: token, expires_in: seconds } = await (await TestClient.for(authorizationServer)).authorize();
    const headers = { authorization: `Bearer ${token}` };
    expect((await call("/me", { headers })).status).toBe(200);

    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds! * 1_000 });
    const expired = await call("/me", { headers });
    expect(expired.status).toBe(401);
    expect(expired.headers.get("www-authenticate")).toContain('error="invalid_token"');
  });

  it("refuses every token given out so far once they are made to expire, and takes a refreshed one", async () => {
    const client = await TestClient.for(authorizationServer);
    const tokens = await client.authorize();
    expect(authorizationServer.expireAccessTokens()).toBe(1);
    expect((await call("/me", { headers: { authorization: `Bearer ${tokens.access_token}` } })).status).toBe(401);

    const { access_token: fresh } = await client.refresh(tokens.refresh_token!);
    expect((await call("/me", { headers: { authorization: `Bearer ${fresh}` } })).status).toBe(200);
  });

  it("refuses who shows nothing, a made-up token or an unknown key", async () => {
    for (const headers of [
      {},
      { authorization: "Bearer made-up" },
      { authorization: "Basic YTpi" },
      { "x-api-key": "made-up" },
    ] as Record<string, string>[]) {
      const refused = await call("/contacts", { headers });
      expect(refused.status).toBe(401);
      expect(refused.headers.get("www-authenticate")).toMatch(/^Bearer /);
    }
  });

  it("refuses a write to a token that may only read", async () => {
    const client = await TestClient.for(authorizationServer);
    const { access_token: token } = await client.authorize({ scope: "contacts.read" });
    const headers = { authorization: `Bearer ${token}` };
    expect((await call("/contacts", { headers })).status).toBe(200);
    const refused = await call("/contacts", { method: "POST", body: grace, headers });
    expect(refused.status).toBe(403);
    expect(refused.headers.get("www-authenticate")).toContain('scope="contacts.write"');
  });

  it("says that it is unavailable, not that the token is bad, when the authorization server is down", async () => {
    const quiet = vi.spyOn(console, "error").mockImplementation(() => {});
    await authorizationServer.close();
    expect((await call("/me", { headers: { authorization: "Bearer any" } })).status).toBe(503);
    expect(quiet).toHaveBeenCalledOnce();
    quiet.mockRestore();
    authorizationServer = await startAuthorizationServer({ client: { redirectUris: [redirectUri] } });
  });
});

describe("reading", () => {
  it("gives each contact once over all pages, whatever the page size", async () => {
    const [small, large] = [await allContacts(37), await allContacts(100)];
    expect(small).toHaveLength(2_500);
    expect(new Set(small.map(({ id }) => id)).size).toBe(2_500);
    expect(large).toEqual(small);
  });

  it("starts with the same contacts in every run, some of them twice under different ids", async () => {
    const before = await allContacts(100);
    await crm.close();
    crm = await startCrmServer({ authorizationServer: authorizationServer.origin, apiKeys: { "ann-key": "ann" } });
    expect(pageSchema.parse((await call("/contacts?limit=100")).body).contacts).toEqual(before.slice(0, 100));

    const addresses = before.map(({ email }) => email.toLowerCase());
    const duplicates = addresses.length - new Set(addresses).size;
    expect(duplicates).toBeGreaterThan(50);
    expect(duplicates).toBeLessThan(250);
  });

  it("keeps a cursor good while contacts are added and merged away", async () => {
    const first = pageSchema.parse((await call("/contacts?limit=2")).body);
    const [one, two] = first.contacts;
    await call(`/contacts/${one!.id}/merge`, { method: "POST", body: { duplicateId: two!.id } });
    const second = pageSchema.parse((await call(`/contacts?limit=1&after=${first.next}`)).body);
    expect(second.contacts.map(({ id }) => id)).toEqual(["ct_0000003"]);
  });

  it("finds contacts by e-mail address, and one by its id", async () => {
    const { contacts } = pageSchema.parse((await call("/contacts?limit=1")).body);
    const [contact] = contacts;
    const found = await call(`/contacts?email=${encodeURIComponent(contact!.email.toUpperCase())}`);
    expect(pageSchema.parse(found.body).contacts).toContainEqual(contact);
    expect((await call(`/contacts/${contact!.id}`)).body).toEqual(contact);
    expect((await call("/contacts/ct_9999999")).status).toBe(404);
  });

  it("shows an account only its own contacts", async () => {
    const created = z.object({ id: z.string() }).parse((await create(grace)).body);
    expect((await call(`/contacts/${created.id}`, { key: "ben-key" })).status).toBe(404);
    expect((await call(`/contacts?email=${grace.email}`, { key: "ben-key" })).body).toEqual({
      contacts: [],
      next: null,
    });
  });
});

describe("writing", () => {
  it("creates one contact for one idempotency key, however often it is sent", async () => {
    const answers = await Promise.all([1, 2, 3].map(() => create(grace, "key-1")));
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(answers[1]!.body).toEqual(answers[0]!.body);
    expect(answers[2]!.body).toEqual(answers[0]!.body);
    expect(crm.stats().accounts.ann).toEqual({ contacts: 2_501, created: 1, replayed: 2 });
  });

  it("refuses an idempotency key that was used with another body", async () => {
    await create(grace, "key-1");
    expect((await create({ ...grace, lastName: "Murray" }, "key-1")).status).toBe(422);
    expect(crm.stats().accounts.ann).toMatchObject({ created: 1 });
  });

  it("creates two contacts when there is no key", async () => {
    await create(grace);
    await create(grace);
    expect(crm.stats().accounts.ann).toMatchObject({ created: 2 });
  });

  it("changes what is named and leaves the rest", async () => {
    const changed = await call("/contacts/ct_0000001", { method: "PATCH", body: { company: null } });
    expect(changed.body).toMatchObject({ id: "ct_0000001", company: null, updatedAt: "2026-01-01T00:00:00.000Z" });
    expect((await call("/contacts/ct_0000001")).body).toEqual(changed.body);
  });

  it("merges a duplicate into a contact for good", async () => {
    const survivor = contactSchema.parse((await create(grace)).body);
    const duplicate = contactSchema.parse((await create({ ...grace, phone: "+1-555-0100" })).body);
    const merge = { method: "POST", body: { duplicateId: duplicate.id } };

    expect((await call(`/contacts/${survivor.id}/merge`, merge)).body).toMatchObject({ phone: "+1-555-0100" });
    expect((await call(`/contacts/${duplicate.id}`)).status).toBe(404);
    expect((await call(`/contacts/${survivor.id}/merge`, merge)).status).toBe(404);
    const itself = { method: "POST", body: { duplicateId: survivor.id } };
    expect((await call(`/contacts/${survivor.id}/merge`, itself)).status).toBe(422);
  });

  it.each([
    ["broken JSON", "{", 400],
    ["a missing field", { firstName: "Grace" }, 400],
    ["an unknown field", { ...grace, admin: true }, 400],
    ["a wrong type", { ...grace, lastName: 7 }, 400],
    ["a body that is too large", { ...grace, company: "x".repeat(5_000_000) }, 413],
  ])("refuses %s and creates nothing", async (_what, body, status) => {
    expect((await create(body)).status).toBe(status);
    expect(crm.stats().accounts.ann?.created ?? 0).toBe(0);
  });

  it.each(["/contacts?limit=0", "/contacts?limit=many", "/contacts?after=made-up", "/contacts?email=nobody"])(
    "refuses the query of %s",
    async (path) => {
      expect((await call(path)).status).toBe(400);
    },
  );
});

describe("the request limit", () => {
  it("answers 20 requests in one second and tells the others to come back", async () => {
    const answers = await Promise.all(Array.from({ length: 25 }, () => call("/me")));
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(refused).toHaveLength(5);
    expect(refused[0]!.headers.get("retry-after")).toBe("1");
    expect(refused[0]!.headers.get("ratelimit-limit")).toBe("20");
    expect(refused[0]!.headers.get("ratelimit-remaining")).toBe("0");

    now += 1_000;
    expect((await call("/me")).status).toBe(200);
  });

  it("is each account's own", async () => {
    await Promise.all(Array.from({ length: 20 }, () => call("/me")));
    expect((await call("/me")).status).toBe(429);
    expect((await call("/me", { key: "ben-key" })).status).toBe(200);
  });
});

describe("simulating", () => {
  const fault = (body: unknown) =>
    fetch(new URL("/simulate/fault", crm.origin), { method: "PUT", body: JSON.stringify(body) });

  it("stores a contact and then holds the answer, so that a caller can be killed in between", async () => {
    await fault({ fault: { kind: "hang", when: "after" }, method: "POST", times: 1 });
    const killed = new AbortController();
    const creating = fetch(new URL("/contacts", crm.origin), {
      method: "POST",
      headers: { "x-api-key": "ann-key", "idempotency-key": "key-1" },
      body: JSON.stringify(grace),
      signal: killed.signal,
    });
    await fetch(new URL("/simulate/held?count=1", crm.origin));
    expect(crm.stats()).toMatchObject({ held: 1, accounts: { ann: { created: 1 } } });
    killed.abort();
    await expect(creating).rejects.toThrow();

    expect((await create(grace, "key-1")).status).toBe(201);
    expect(crm.stats().accounts.ann).toMatchObject({ created: 1, replayed: 1 });
  });

  it.each([
    { kind: "hang", when: "before", does: "never does", found: 0 },
    { kind: "slow", when: "before", does: "still does", found: 1 },
  ] as const)("$does what a caller asked who left while it was held ($kind)", async ({ kind, when, found }) => {
    crm.simulation.set(kind === "slow" ? { kind, when, ms: 100 } : { kind, when }, { times: 1 });
    const killed = new AbortController();
    const creating = fetch(new URL("/contacts", crm.origin), {
      method: "POST",
      headers: { "x-api-key": "ann-key" },
      body: JSON.stringify(grace),
      signal: killed.signal,
    });
    await crm.simulation.untilHeld(1);
    killed.abort();
    await expect(creating).rejects.toThrow();
    await vi.waitFor(() => expect(crm.stats().held).toBe(0));
    expect(pageSchema.parse((await call(`/contacts?email=${grace.email}`)).body).contacts).toHaveLength(found);
  });

  it("redirects, fails, and answers what nobody asked for", async () => {
    await fault({ fault: { kind: "redirect" } });
    const redirected = await fetch(new URL("/me", crm.origin), { redirect: "manual" });
    expect([redirected.status, redirected.headers.get("location")]).toEqual([302, "http://127.0.0.1:1/"]);

    await fault({ fault: { kind: "status", status: 503, retryAfter: "2" } });
    const failed = await call("/me");
    expect([failed.status, failed.headers.get("retry-after")]).toEqual([503, "2"]);

    await fault({ fault: { kind: "wrong-shape" } });
    expect((await call("/contacts")).body).not.toHaveProperty("contacts");

    await fault({ fault: { kind: "garbage" } });
    await expect(call("/me")).rejects.toThrow(SyntaxError);

    await fault({ fault: { kind: "oversized", bytes: 1_000_000 } });
    expect((await (await fetch(new URL("/me", crm.origin))).text()).length).toBe(1_000_000);

    await fetch(new URL("/simulate/fault", crm.origin), { method: "DELETE" });
    expect((await call("/me")).status).toBe(200);
  });

  it("counts its answers by status", async () => {
    await call("/me");
    await call("/nowhere");
    const stats = await (await fetch(new URL("/stats", crm.origin))).json();
    expect(stats).toMatchObject({ answers: { 200: 1, 404: 1 }, held: 0 });
  });
});
