import {
  type Armature,
  CredentialRefused,
  connectorActions,
  createArmature,
  LimitExceeded,
  ProviderFailed,
  ProviderLimited,
  ProviderRefused,
  ProviderUnreachable,
  UnknownOutcome,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import {
  answer,
  type FixedClock,
  fixedClock,
  ProviderSimulator,
  SimulatedAuthorizationServer,
  sequentialIds,
} from "@armature/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type HubSpotOptions, hubspot } from "./hubspot.ts";
import { connectToken as connectElsewhere, keyEncryptionKey } from "./testing/connected.ts";

const contacts = "https://api.hubapi.com/crm/objects/2026-03/contacts";
const client = { clientId: "client", clientSecret: "client-secret" };
const times = { createdAt: "2026-01-01T00:00:00.000Z", updatedAt: "2026-01-02T00:00:00Z", archived: false };
const contact = (id: string) => ({ id, properties: { email: `${id}@example.com` }, ...times });
const limited = (policyName: string, headers: Record<string, string> = {}) =>
  answer.json({ status: "error", errorType: "RATE_LIMIT", policyName }, { status: 429, headers });

let clock: FixedClock;
let simulator: ProviderSimulator;
let app: Armature;
let crm: ReturnType<typeof hubspot>;
let store: ReturnType<typeof inMemory>;

async function start(options: HubSpotOptions = client) {
  clock = fixedClock();
  simulator = new ProviderSimulator({ clock });
  crm = hubspot(options);
  store = inMemory();
  app = await createArmature({
    store,
    keyEncryptionKey,
    connectors: [crm],
    authorizer: () => true,
    http: simulator,
    clock,
    ids: sequentialIds(),
    relay: false,
    oauthRedirectUri: "https://app.example/oauth/callback",
  });
}
beforeEach(() => start());
afterEach(() => app.close());

const acme = () => app.as({ tenant: "acme", user: "ann" });

async function connectToken() {
  const id = await connectElsewhere(store, crm);
  return { connectorId: id, ...connectorActions(acme().connectors, crm, id) };
}

async function connectOAuth(scopes?: readonly string[]) {
  const server = new SimulatedAuthorizationServer({
    ...client,
    clock,
    // As HubSpot's description has it: a list of scopes, always a refresh token.
    tokenAnswer: ({ accessToken, refreshToken, expiresInSeconds, scopes }) => ({
      access_token: accessToken,
      refresh_token: refreshToken,
      expires_in: expiresInSeconds,
      token_type: "bearer",
      token_use: "access_token",
      hub_id: 62515,
      scopes,
    }),
  });
  simulator.on("POST https://api.hubapi.com/oauth/2026-03/token", server.token);
  const { url, connectorId } = await acme().connectors.authorize({ provider: "hubspot" });
  await app.oauthCallback(server.authorize(url, scopes).searchParams);
  return { server, url: new URL(url), connectorId, ...connectorActions(acme().connectors, crm, connectorId) };
}

/** Lets time pass, a tenth of a second at a time, until the work is done. */
async function passing<T>(work: Promise<T>): Promise<T> {
  let done = false;
  const watched = work.finally(() => {
    done = true;
  });
  watched.catch(() => {});
  while (!done) await clock.advance(100);
  return watched;
}

/** The most requests that arrived within any span of this length. */
function busiest(ms: number): number {
  const at = simulator.requests.map((request) => request.at);
  return Math.max(...at.map((start) => at.filter((each) => each >= start && each < start + ms).length));
}

describe("what HubSpot's connector offers", () => {
  it("says of every action what may happen, and what a repetition does", async () => {
    const { items } = await acme().connectors.providers({});
    expect(items[0]).toMatchObject({ id: "hubspot", name: "HubSpot", authentication: ["oauth2", "api-key"] });
    expect(
      items[0]?.actions.map(({ name, risk, idempotency, scopes }) => [name, risk, idempotency, ...scopes]),
    ).toEqual([
      ["listContacts", "read", "natural", "crm.objects.contacts.read"],
      ["getContact", "read", "natural", "crm.objects.contacts.read"],
      ["createContact", "write", "none", "crm.objects.contacts.write"],
      ["updateContact", "write", "natural", "crm.objects.contacts.write"],
      ["mergeContacts", "irreversible", "none", "crm.objects.contacts.write"],
      ["searchContacts", "read", "natural", "crm.objects.contacts.read"],
      ["batchReadContacts", "read", "natural", "crm.objects.contacts.read"],
      ["batchCreateContacts", "write", "none", "crm.objects.contacts.write"],
      ["batchUpdateContacts", "write", "natural", "crm.objects.contacts.write"],
      ["batchUpsertContacts", "write", "natural", "crm.objects.contacts.write"],
    ]);
  });

  it("without a client, tenants can connect with a private app's token only", async () => {
    await start({});
    expect((await acme().connectors.providers({})).items[0]?.authentication).toEqual(["api-key"]);
  });

  it("sends a private app's token as a bearer token, and says when it is not taken", async () => {
    const { getContact } = await connectToken();
    simulator.on(`GET ${contacts}/:id`, answer.json(contact("1")), answer.status(401));
    await getContact({ contactId: "1" });
    expect(simulator.requests[0]?.headers.get("authorization")).toBe("Bearer pat-eu1-1");
    await expect(getContact({ contactId: "1" })).rejects.toThrow(CredentialRefused);
  });

  it("asks a person for the scopes on HubSpot's page, and keeps those that were granted", async () => {
    await start({ ...client, optionalScopes: ["crm.objects.deals.read", "tickets"] });
    const { url, connectorId } = await connectOAuth(["oauth", "crm.objects.contacts.read"]);
    expect(url.origin + url.pathname).toBe("https://app.hubspot.com/oauth/authorize");
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      client_id: "client",
      scope: "oauth crm.objects.contacts.read crm.objects.contacts.write",
      optional_scope: "crm.objects.deals.read tickets",
      code_challenge_method: "S256",
    });
    expect((await acme().connectors.get({ connectorId })).scopes).toEqual(["oauth", "crm.objects.contacts.read"]);
    const form = simulator.requests[0]?.form();
    expect([form?.get("client_id"), form?.get("client_secret")]).toEqual(["client", "client-secret"]);
  });

  it("another region's hosts can be named", async () => {
    await start({
      ...client,
      api: "https://api-eu1.hubapi.com",
      app: "https://app-eu1.hubspot.com",
      scopes: ["oauth"],
    });
    const { url } = await acme().connectors.authorize({ provider: "hubspot" });
    expect(url).toMatch(/^https:\/\/app-eu1\.hubspot\.com\/oauth\/authorize\?.*scope=oauth&/);
    expect(crm.auth.oauth2?.tokenEndpoint).toBe("https://api-eu1.hubapi.com/oauth/2026-03/token");
    const { getContact } = await connectToken();
    simulator.on("GET https://api-eu1.hubapi.com/crm/objects/2026-03/contacts/:id", answer.json(contact("1")));
    expect(await getContact({ contactId: "1" })).toMatchObject({ id: "1" });
  });

  it("renews a token before it is used when its half hour is over, once for all callers", async () => {
    const { server, getContact } = await connectOAuth();
    simulator.on(`GET ${contacts}/:id`, (request) =>
      server.accepts(request) ? answer.json(contact("1")) : answer.status(401),
    );
    await clock.advance(30 * 60_000);
    await Promise.all(Array.from({ length: 10 }, () => getContact({ contactId: "1" })));
    expect(simulator.requests.filter(({ url }) => url.endsWith("/token"))).toHaveLength(2);
    simulator.assertNoUnexpected();
  });

  it("the health check tells the account, and whether it is a real one", async () => {
    const { connectorId } = await connectToken();
    const details = (accountType: string) => answer.json({ portalId: 62515, accountType, uiDomain: "app.hubspot.com" });
    const kinds = ["STANDARD", "SANDBOX", "DEVELOPER_TEST", "SOMETHING_NEW"];
    simulator.on("GET https://api.hubapi.com/account-info/2026-03/details", ...kinds.map(details));
    const said = [];
    for (const _kind of kinds) said.push((await acme().connectors.check({ connectorId })).account);
    expect(said).toEqual([
      { id: "62515", name: "HubSpot account 62515" },
      { id: "62515", name: "HubSpot sandbox 62515" },
      { id: "62515", name: "HubSpot developer test 62515" },
      { id: "62515", name: "HubSpot something new 62515" },
    ]);
  });
});

describe("HubSpot's answers", () => {
  it("pages follow each other by the cursor of the page before", async () => {
    const { listContacts } = await connectToken();
    simulator.on(`GET ${contacts}`, ({ query }) =>
      query.get("after") === null
        ? answer.json({ results: [contact("1")], paging: { next: { after: "1%2F=", link: "https://…" } } })
        : answer.json({ results: [contact(query.get("after") ?? "")] }),
    );
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await listContacts({ limit: 1, ...(after === undefined ? {} : { after }) });
      seen.push(...page.results.map(({ id }) => id));
      after = page.paging?.next?.after;
    } while (after !== undefined);
    expect(seen).toEqual(["1", "1%2F="]);
  });

  it("lists of names are joined by commas, empty ones left out, and a name cannot hold a comma", async () => {
    const { listContacts } = await connectToken();
    simulator.on(`GET ${contacts}`, answer.json({ results: [] }));
    await listContacts({ properties: ["email", "firstname"], associations: [], archived: true });
    expect(Object.fromEntries(simulator.requests[0]?.query ?? [])).toEqual({
      limit: "100",
      properties: "email,firstname",
      archived: "true",
    });
    await expect(listContacts({ properties: ["email,firstname"] })).rejects.toThrow("properties.0");
  });

  it("an id or value with slashes and spaces stays one part of the path", async () => {
    const { getContact, updateContact } = await connectToken();
    simulator
      .on(`GET ${contacts}/:id`, ({ params }) => answer.json(contact(params["id"] ?? "")))
      .on(`PATCH ${contacts}/:id`, ({ params }) => answer.json(contact(params["id"] ?? "")));
    for (const contactId of ["a/../b", "ann smith@example.com", "50%"]) {
      expect(await getContact({ contactId, idProperty: "code" })).toMatchObject({ id: contactId });
      expect(await updateContact({ contactId, properties: {} })).toMatchObject({ id: contactId });
    }
    expect(simulator.requests[0]?.query.get("idProperty")).toBe("code");
    simulator.assertNoUnexpected();
  });

  it("a property without a value is null, and what nobody has listed is dropped", async () => {
    const { getContact } = await connectToken();
    const given = { ...contact("1"), properties: { email: null }, lifecycle: "new", url: "https://app.hubspot.com/1" };
    simulator.on(`GET ${contacts}/:id`, answer.json(given));
    const { lifecycle: _unlisted, ...expected } = given;
    expect(await getContact({ contactId: "1" })).toEqual(expected);
  });

  it("a batch without a word of errors has none, and one with errors tells them", async () => {
    const { batchUpsertContacts } = await connectToken();
    const batch = { status: "COMPLETE", results: [], startedAt: times.createdAt, completedAt: times.updatedAt };
    const error = {
      status: "error",
      category: "OBJECT_NOT_FOUND",
      message: "Could not get some objects",
      context: { objectWriteTraceId: ["row 7"] },
      subCategory: "crm.objects.batch",
    };
    simulator.on(
      `POST ${contacts}/batch/upsert`,
      answer.json({ ...batch, results: [{ ...contact("1"), new: true }] }),
      answer.json({ ...batch, numErrors: 1, errors: [error] }, { status: 207 }),
    );
    const upsert = () =>
      batchUpsertContacts({ inputs: [{ id: "a@b.example", idProperty: "email", properties: { firstname: "A" } }] });
    expect(await upsert()).toMatchObject({ results: [{ id: "1", new: true }], numErrors: 0, errors: [] });
    const { subCategory: _unlisted, ...listed } = error;
    expect(await upsert()).toMatchObject({ results: [], numErrors: 1, errors: [listed] });
  });

  it("a refusal is told with HubSpot's word for it, never with its sentence", async () => {
    const { createContact } = await connectToken();
    const sentence = "Contact already exists. Existing ID: 512, canary@example.com";
    simulator.on(
      `POST ${contacts}`,
      answer.json({ status: "error", message: sentence, category: "CONFLICT" }, { status: 409 }),
      answer.json({ status: "error", message: sentence, category: sentence }, { status: 400 }),
      answer.text("<html>canary</html>", { status: 404 }),
      answer.json(["canary"], { status: 403 }),
    );
    const create = () =>
      createContact({ properties: { email: "canary@example.com" } }).catch((error: unknown) => error);
    const provider = "hubspot";
    const refusals = [await create(), await create(), await create(), await create()];
    expect(refusals).toEqual([
      new ProviderRefused({ provider, status: 409, reason: "CONFLICT" }),
      new ProviderRefused({ provider, status: 400 }),
      new ProviderRefused({ provider, status: 404 }),
      new ProviderRefused({ provider, status: 403 }),
    ]);
    expect(JSON.stringify(refusals)).not.toContain("canary");
  });
});

describe("HubSpot's limits", () => {
  const read = (count: number, getContact: (input: { contactId: string }) => Promise<unknown>) =>
    Promise.all(Array.from({ length: count }, () => getContact({ contactId: "1" })));

  it.each([
    { connection: "a private app's token", connect: connectToken, most: 100 },
    { connection: "OAuth", connect: connectOAuth, most: 110 },
  ])("with $connection, no ten seconds hold more than $most requests", async ({ connect, most }) => {
    const { getContact } = await connect();
    simulator.on(`GET ${contacts}/:id`, answer.json(contact("1")));
    await passing(read(220, getContact));
    expect(busiest(10_000)).toBeLessThanOrEqual(most);
    // And not much less: what HubSpot allows is made use of.
    expect(busiest(10_000)).toBeGreaterThan(most * 0.9);
  });

  it("no second holds more than four searches, whatever else is asked for meanwhile", async () => {
    const { searchContacts, getContact } = await connectToken();
    simulator
      .on(`POST ${contacts}/search`, answer.json({ total: 0, results: [] }))
      .on(`GET ${contacts}/:id`, answer.json(contact("1")));
    const others = read(15, getContact);
    await passing(Promise.all(Array.from({ length: 20 }, () => searchContacts({ query: "grace" }))));
    await others;
    const searches = simulator.requests.filter(({ method }) => method === "POST").map(({ at }) => at);
    const within = searches.map((start) => searches.filter((at) => at >= start && at < start + 1_000).length);
    expect(Math.max(...within)).toBeLessThanOrEqual(4);
    // The others did not wait for them: they went at once.
    const reads = simulator.requests.filter(({ method }) => method === "GET").map(({ at }) => at);
    expect(new Set(reads).size).toBe(1);
  });

  it("each connection has its limits for itself", async () => {
    const [one, other] = [await connectToken(), await connectToken()];
    simulator.on(`GET ${contacts}/:id`, answer.json(contact("1")));
    await Promise.all([read(20, one.getContact), read(20, other.getContact)]);
    expect(new Set(simulator.requests.map(({ at }) => at)).size).toBe(1);
  });

  it("a private app's day can be used up; an app with OAuth knows no such limit", async () => {
    await start({ ...client, limits: { privateAppPerDay: 10 } });
    const token = await connectToken();
    const oauth = await connectOAuth();
    simulator.on(`GET ${contacts}/:id`, answer.json(contact("1")));
    await read(2, token.getContact);
    const used = await token.getContact({ contactId: "1" }).catch((error: unknown) => error);
    expect(used).toEqual(new LimitExceeded({ limit: "provider hubspot", retryAfterMs: 3 * 3_600_000 }));
    await read(20, oauth.getContact);
  });

  it("waits as long as HubSpot's window lasts when HubSpot says that it is full", async () => {
    const { getContact } = await connectToken();
    const rolling = limited("TEN_SECONDLY_ROLLING");
    const shorter = limited("TEN_SECONDLY_ROLLING", { "x-hubspot-ratelimit-interval-milliseconds": "2000" });
    const nonsense = limited("TEN_SECONDLY_ROLLING", { "x-hubspot-ratelimit-interval-milliseconds": "soon" });
    const told = answer.limited(3, { headers: { "content-type": "application/json" } });
    for (const [refusal, wait] of [
      [rolling, 10_000],
      [shorter, 2_000],
      [nonsense, 10_000],
      [told, 3_000],
    ] as const) {
      simulator.on(`GET ${contacts}/:id`, refusal, answer.json(contact("1")));
      const before = simulator.requests.length;
      expect(await passing(getContact({ contactId: "1" }))).toMatchObject({ id: "1" });
      const [first, second] = simulator.requests.slice(before);
      expect((second?.at ?? 0) - (first?.at ?? 0)).toBe(wait);
    }
  });

  it("does not wait for another day: the caller is told at once", async () => {
    const { getContact } = await connectToken();
    simulator.on(`GET ${contacts}/:id`, limited("DAILY"));
    const told = await getContact({ contactId: "1" }).catch((error: unknown) => error);
    expect(told).toEqual(new ProviderLimited({ provider: "hubspot", retryAfterMs: 3_600_000 }));
    expect(simulator.requests).toHaveLength(1);
  });

  it("limits that cannot be kept are refused where the connector is made", () => {
    for (const limits of [{ searchPerSecond: 1 }, { privateAppPerDay: 0 }, { oauthPer10Seconds: 10.5 }])
      expect(() => hubspot({ limits })).toThrow("must be at least 2");
  });
});

describe("when HubSpot is in trouble", () => {
  it("a read and an update are tried again, a creation and a merge are not", async () => {
    const { getContact, updateContact, createContact, mergeContacts } = await connectToken();
    const [down, up] = [answer.status(502), answer.json(contact("1"))];
    simulator
      .on(`GET ${contacts}/:id`, down, up)
      .on(`PATCH ${contacts}/:id`, answer.unreachable(), up)
      .on(`POST ${contacts}`, down, up)
      .on(`POST ${contacts}/merge`, answer.unreachable(), up);
    expect(await passing(getContact({ contactId: "1" }))).toMatchObject({ id: "1" });
    expect(await passing(updateContact({ contactId: "1", properties: { firstname: "A" } }))).toMatchObject({ id: "1" });
    await expect(passing(createContact({ properties: {} }))).rejects.toThrow(ProviderFailed);
    const merge = mergeContacts({ primaryObjectId: "1", objectIdToMerge: "2" });
    await expect(passing(merge)).rejects.toThrow(ProviderUnreachable);
    expect(simulator.requests.filter(({ method }) => method === "POST")).toHaveLength(2);
  });

  it("a creation whose answer was lost is not made a second time by the same idempotency key", async () => {
    const { connectorId } = await connectToken();
    const made: unknown[] = [];
    simulator.on(`POST ${contacts}`, (request) => {
      made.push(request.json());
      return answer.unreachable();
    });
    const create = () =>
      acme().connectors.invoke(
        { connectorId, action: "createContact", input: { properties: { email: "a@b.example" } } },
        { idempotencyKey: "form-7" },
      );
    await expect(create()).rejects.toThrow(ProviderUnreachable);
    await expect(create()).rejects.toThrow(UnknownOutcome);
    expect(made).toEqual([{ properties: { email: "a@b.example" }, associations: [] }]);
  });
});
