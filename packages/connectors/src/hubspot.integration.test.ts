import {
  type Armature,
  connectorAction,
  connectorActions,
  createArmature,
  defineConnector,
  GuardedHttpClient,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  ProviderAnsweredGarbage,
  ProviderLimited,
  ProviderRefused,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { type FixedClock, fixedClock } from "@armature/core/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { hubspot } from "./hubspot.ts";
import { connectToken, keyEncryptionKey } from "./testing/connected.ts";
import { descriptionFolder, hasDescriptions, hubSpotDescription } from "./testing/hubspot-description.ts";
import { type PrismServer, startPrism } from "./testing/prism-server.ts";

if (!hasDescriptions)
  console.warn(`Tests against HubSpot's own descriptions are skipped: put them into ${descriptionFolder}.`);

const redirectUri = "https://app.example/oauth/callback";
const contactId = "512";
const properties = { email: "grace@navy.example", firstname: "Grace" };
const company = {
  to: { id: "77" },
  types: [{ associationCategory: "HUBSPOT_DEFINED" as const, associationTypeId: 1 }],
};
const wanted = {
  properties: ["email", "firstname"],
  propertiesWithHistory: ["email"],
  associations: ["companies"],
  archived: false,
};

/** Every action, with as little and with as much as it takes. */
const inputs = {
  listContacts: [{}, { limit: 50, after: "MTAw", ...wanted }],
  getContact: [{ contactId }, { contactId: "grace@navy.example", idProperty: "email", ...wanted }],
  createContact: [{ properties }, { properties, associations: [company] }],
  updateContact: [
    { contactId, properties: { firstname: "" } },
    { contactId: "a/b c", idProperty: "code", properties },
  ],
  mergeContacts: [{ primaryObjectId: contactId, objectIdToMerge: "513" }],
  searchContacts: [
    {},
    {
      query: "grace",
      filterGroups: [
        { filters: [{ propertyName: "email", operator: "IN" as const, values: ["a", "b"] }] },
        {
          filters: [
            { propertyName: "createdate", operator: "BETWEEN" as const, value: "1", highValue: "2" },
            { propertyName: "email", operator: "HAS_PROPERTY" as const },
          ],
        },
      ],
      sorts: ["createdate"],
      properties: ["email"],
      limit: 200,
      after: "200",
    },
  ],
  batchReadContacts: [
    { inputs: [{ id: contactId }] },
    {
      inputs: [{ id: "grace@navy.example" }],
      idProperty: "email",
      properties: ["email"],
      propertiesWithHistory: ["email"],
      archived: true,
    },
  ],
  batchCreateContacts: [
    { inputs: [{ properties }] },
    { inputs: [{ properties, associations: [company], objectWriteTraceId: "row 1" }] },
  ],
  batchUpdateContacts: [
    { inputs: [{ id: contactId, properties }] },
    { inputs: [{ id: "x", idProperty: "code", properties, objectWriteTraceId: "row 1" }] },
  ],
  batchUpsertContacts: [
    { inputs: [{ id: "grace@navy.example", idProperty: "email", properties, objectWriteTraceId: "row 1" }] },
  ],
} satisfies { [Name in keyof ReturnType<typeof hubspot>["actions"]]: readonly object[] };
const names = Object.keys(inputs) as (keyof typeof inputs)[];
const batches = names.filter((name) => name.startsWith("batch"));

describe.skipIf(!hasDescriptions)("HubSpot's connector, by HubSpot's own descriptions", () => {
  const document = hasDescriptions ? hubSpotDescription() : {};
  let prism: PrismServer;
  let client: GuardedHttpClient;
  let clock: FixedClock;
  let crm: ReturnType<typeof hubspot>;
  let app: Armature;
  /** What went over the wire, and which answer prism is asked for. */
  let exchanges: { readonly request: HttpRequest; readonly response: HttpResponse }[];
  let prefer: string | undefined;

  beforeAll(async () => {
    prism = await startPrism(document);
    clock = fixedClock();
    client = new GuardedHttpClient({ allowedOrigins: [prism.origin], clock });
  });
  afterAll(async () => {
    await client?.close();
    await prism?.close();
  });

  let store: ReturnType<typeof inMemory>;
  const start = async (connector: typeof crm) => {
    store = inMemory();
    const http: HttpClient = {
      async send(request) {
        const headers = { ...request.headers, ...(prefer === undefined ? {} : { prefer }) };
        const response = await client.send({ ...request, headers });
        exchanges.push({ request, response });
        return response;
      },
    };
    app = await createArmature({
      store,
      keyEncryptionKey,
      connectors: [connector],
      authorizer: () => true,
      http,
      clock,
      relay: false,
      oauthRedirectUri: redirectUri,
    });
  };
  beforeEach(async () => {
    exchanges = [];
    prefer = undefined;
    // Nobody waits for a limit here: these are requests to prism.
    const limits = { oauthPer10Seconds: 1e6, privateAppPer10Seconds: 1e6, privateAppPerDay: 1e9, searchPerSecond: 1e6 };
    crm = hubspot({ clientId: "client", clientSecret: "client-secret", api: prism.origin, limits });
    await start(crm);
  });
  afterEach(() => app.close());

  const acme = () => app.as({ tenant: "acme", user: "ann" });
  const connect = () => connectToken(store, crm);
  const actions = async () => connectorActions(acme().connectors, crm, await connect());
  /** Every call that `inputs` lists, through the running app. */
  const callAll = async (chosen: readonly (keyof typeof inputs)[] = names) => {
    const all = (await actions()) as unknown as Record<string, (input: object) => Promise<object>>;
    const results: { readonly name: string; readonly result: object }[] = [];
    for (const name of chosen)
      for (const input of inputs[name]) results.push({ name, result: await all[name]!(input) });
    return results;
  };
  const violations = () => exchanges.map(({ response }) => response.headers.get("sl-violations"));

  it("every action's request is valid, and every answer is read", async () => {
    const results = await callAll();
    expect(results).toHaveLength(names.flatMap((name) => inputs[name]).length);
    expect(exchanges).toHaveLength(results.length);
    expect(violations()).toEqual(exchanges.map(() => null));
    expect(exchanges.map(({ response }) => response.status).filter((status) => status >= 300)).toEqual([]);
    // Answers reach the caller with what is in them, not as empty shells.
    for (const { name, result } of results) {
      if ("results" in result) expect(result.results, name).toMatchObject([{ id: "string", archived: true }]);
      else expect(result, name).toMatchObject({ id: "string", properties: { property1: "string" } });
    }
  });

  it("a query has no parameter that the description does not name", async () => {
    await callAll();
    const paths = document["paths"] as Record<string, Record<string, { parameters?: { name: string; in: string }[] }>>;
    for (const { request } of exchanges) {
      const url = new URL(request.url);
      const [, operations] = Object.entries(paths).find(([path]) =>
        new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(url.pathname),
      )!;
      const known = (operations[request.method.toLowerCase()]?.parameters ?? []).filter((each) => each.in === "query");
      const unknown = [...url.searchParams.keys()].filter((key) => !known.some(({ name }) => name === key));
      expect(unknown, `${request.method} ${url.pathname}`).toEqual([]);
    }
  });

  it("a batch that partly failed is read with its errors", async () => {
    prefer = "code=207";
    const results = await callAll(batches);
    expect(exchanges.map(({ response }) => response.status)).toEqual(exchanges.map(() => 207));
    for (const { result } of results)
      expect(result).toMatchObject({
        errors: [{ category: "string", message: "string" }],
        results: [{ id: "string" }],
      });
  });

  it("answers that are made up from the description, as varied as it allows, are read", async () => {
    prefer = "dynamic=true";
    for (let round = 0; round < 8; round += 1) await callAll();
    expect(violations().filter((each) => each !== null)).toEqual([]);
    expect(new Set(exchanges.map(({ response }) => response.text())).size).toBeGreaterThan(exchanges.length / 2);
  });

  it("the health check reads the account's details", async () => {
    const connectorId = await connect();
    const { account } = await acme().connectors.check({ connectorId });
    expect(account).toEqual({ id: "-2147483648", name: "HubSpot app developer -2147483648" });
    expect(violations()).toEqual([null]);
  });

  it("an authorization code is exchanged, and the token renewed, as the description of the token endpoint has it", async () => {
    const { url, connectorId } = await acme().connectors.authorize({ provider: "hubspot" });
    const state = new URL(url).searchParams.get("state") ?? "";
    await app.oauthCallback(new URLSearchParams({ code: "code-1", state }));
    expect(await acme().connectors.get({ connectorId })).toMatchObject({ status: "connected", scopes: ["string"] });
    await clock.advance(31 * 60_000);
    await connectorActions(acme().connectors, crm, connectorId).getContact({ contactId });
    expect(violations()).toEqual([null, null, null]);
    expect(exchanges.map(({ request }) => new URL(request.url).pathname)).toEqual([
      "/oauth/2026-03/token",
      "/oauth/2026-03/token",
      `/crm/objects/2026-03/contacts/${contactId}`,
    ]);
    const sent = exchanges
      .slice(0, 2)
      .map(({ request }) => Object.fromEntries(new URLSearchParams(String(request.body))));
    const client = { client_id: "client", client_secret: "client-secret" };
    expect(sent).toEqual([
      {
        ...client,
        grant_type: "authorization_code",
        code: "code-1",
        redirect_uri: redirectUri,
        code_verifier: expect.any(String),
      },
      { ...client, grant_type: "refresh_token", refresh_token: "string" },
    ]);
    expect(exchanges.map(({ request }) => request.headers?.["authorization"])).toEqual([
      undefined,
      undefined,
      "Bearer string",
    ]);
  });

  it("HubSpot's error answers are told with HubSpot's word for them", async () => {
    const { createContact } = await actions();
    for (const status of [400, 403, 409]) {
      prefer = `code=${status}`;
      const refused = await createContact({ properties }).catch((error: unknown) => error);
      expect(refused).toEqual(new ProviderRefused({ provider: "hubspot", status, reason: "VALIDATION_ERROR" }));
    }
    prefer = "code=429";
    await expect(createContact({ properties })).rejects.toThrow(ProviderLimited);
  });

  it("a mistake in one field of a request is caught, and named", async () => {
    const mistaken = defineConnector({
      ...crm,
      actions: {
        ...crm.actions,
        mergeContacts: connectorAction({
          ...crm.actions.mergeContacts,
          input: z.strictObject({ primaryObjectId: z.string(), objectIdToMerge: z.string() }),
          output: z.object({ id: z.string() }),
          run: ({ primaryObjectId, objectIdToMerge }, { http }) =>
            http.post("/crm/objects/2026-03/contacts/merge", {
              json: { primaryObjectId, objectIDToMerge: objectIdToMerge },
              schema: z.object({ id: z.string() }),
            }),
        }),
      },
    });
    await start(mistaken as unknown as typeof crm);
    const { mergeContacts } = await actions();
    const refused = await mergeContacts({ primaryObjectId: "1", objectIdToMerge: "2" }).catch(
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ code: "provider.refused", details: { status: 422 } });
    expect(violations()[0]).toContain("must have required property 'objectIdToMerge'");
    expect(violations()[0]).toContain("must NOT have additional properties; found 'objectIDToMerge'");
  });

  it("a mistake in one field of an answer's schema is caught, and named", async () => {
    const page = z.object({ total: z.string(), results: z.array(z.object({ id: z.string() })) });
    const mistaken = defineConnector({
      ...crm,
      actions: {
        ...crm.actions,
        searchContacts: connectorAction({
          summary: "Reads a number as a text.",
          risk: "read",
          input: crm.actions.searchContacts.input,
          output: page,
          run: (input, { http }) => http.post("/crm/objects/2026-03/contacts/search", { json: input, schema: page }),
        }),
      },
    });
    await start(mistaken as unknown as typeof crm);
    const { searchContacts } = await actions();
    const garbage = await searchContacts({}).catch((error: unknown) => error);
    expect(garbage).toBeInstanceOf(ProviderAnsweredGarbage);
    expect(String(garbage)).toContain("at total");
  });

  it("the check is not blind: a wrong type in any field of any body is an error", async () => {
    await callAll(names.filter((name) => name !== "listContacts" && name !== "getContact"));
    const headers = { authorization: "Bearer x", "content-type": "application/json" };
    let tried = 0;
    for (const { request } of [...exchanges]) {
      const body = JSON.parse(String(request.body)) as object;
      for (const wrong of withOneMistake(body)) {
        const { method, url } = request;
        const { status } = await client.send({ method, url, headers, body: JSON.stringify(wrong) });
        expect(status, `${method} ${url} ${JSON.stringify(wrong)}`).toBe(422);
        tried += 1;
      }
    }
    expect(tried).toBeGreaterThan(60);
  });
});

/** Copies of a value in which one leaf has another type. */
function* withOneMistake(value: unknown): Generator<unknown> {
  if (value !== null && typeof value === "object") {
    for (const [key, member] of Object.entries(value))
      for (const wrong of withOneMistake(member))
        yield Array.isArray(value)
          ? value.map((each, index) => (String(index) === key ? wrong : each))
          : { ...value, [key]: wrong };
    yield "a text";
  } else yield typeof value === "string" ? 7 : "a text";
}
