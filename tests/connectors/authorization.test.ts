import { createHash, createHmac } from "node:crypto";
import {
  type Armature,
  AuthenticationUnsupported,
  AuthorizationInvalid,
  AuthorizationRefused,
  ConnectorAlreadyConnected,
  CredentialRefused,
  connectorActions,
  GuardedHttpClient,
  type HttpRequest,
  InvalidInput,
  NotFound,
  ProviderAnsweredGarbage,
  ProviderFailed,
  ProviderTimedOut,
  ProviderUnknown,
  SealedSecretStore,
  Secret,
  type StoreAdapter,
  systemClock,
  systemIds,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { fixedClock, intercepted } from "@armature/core/testing";
import { walkAuthorization } from "@armature-examples/sandbox-crm/browser";
import { describe, expect, test } from "vitest";
import { keyEncryptionKey } from "../scenarios/place.ts";
import { apiKey, movableClock, provider, redirectUri, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const eventsOf = async (app: Awaited<ReturnType<typeof sandbox.start>>, tenant: string) =>
  (await app.as({ tenant, user: "ann" }).audit.events({ direction: "asc" })).items;

/** Names of the secrets that are there; of a destroyed one only its record remains. */
async function secretsOf(store: StoreAdapter, tenant: string): Promise<readonly string[]> {
  const ids = systemIds(systemClock());
  return new SealedSecretStore({ store, ids, keyEncryptionKey: new Secret(keyEncryptionKey) }).list(tenant, "");
}

describe("a person authorizes a connector", () => {
  test("and from then on it is connected, with events that hold a name and no credential", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { connectors } = app.as({ tenant, user: "ann" });
    const { connectorId, query } = await sandbox.walk(app, tenant);
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "authorizing" });
    expect(await app.oauthCallback(query)).toEqual({ connectorId });
    expect(await connectors.get({ connectorId })).toMatchObject({
      status: "connected",
      authentication: "oauth2",
      scopes: expect.arrayContaining(["contacts.read", "contacts.write"]),
    });
    expect(await connectors.check({ connectorId })).toEqual({ account: { id: tenant, name: tenant } });
    const page = await connectorActions(connectors, sandbox.definition(), connectorId).listContacts({ limit: 2 });
    expect(page.contacts).toHaveLength(2);
    expect((await connectors.list({ status: "connected" })).items.map(({ id }) => id)).toEqual([connectorId]);
    expect(
      (await eventsOf(app, tenant)).map(({ type, actor, onBehalfOf }) => [type, actor.id, onBehalfOf?.id]),
    ).toEqual([
      ["connector.authorization_started", "ann", undefined],
      ["connector.authorization_returned", "connectors.oauth-callback", "ann"],
      ["connector.connected", "connectors.oauth-callback", "ann"],
    ]);
  });

  test("with a proof that only its beginner can have (PKCE, S256)", async () => {
    const http = intercepted(new GuardedHttpClient({ allowedOrigins: [sandbox.authorization.origin] }));
    const app = await sandbox.start({ http: http.port });
    const tenant = sandbox.tenant();
    const { url } = await app.as({ tenant, user: "ann" }).connectors.authorize({ provider });
    const back = await walkAuthorization(url, { stopAt: redirectUri, fill: { account: tenant } });
    const bodies: URLSearchParams[] = [];
    const lift = http.around("send", (proceed, [request]) => {
      bodies.push(new URLSearchParams(String((request as HttpRequest).body)));
      return proceed();
    });
    await app.oauthCallback(back.searchParams);
    lift();
    const verifier = bodies[0]!.get("code_verifier")!;
    const asked = new URL(url).searchParams;
    expect(verifier).toMatch(/^[\w.~-]{43,128}$/);
    expect(asked.get("code_challenge_method")).toBe("S256");
    expect(asked.get("code_challenge")).toBe(createHash("sha256").update(verifier).digest("base64url"));
    expect(JSON.stringify(await eventsOf(app, tenant))).not.toContain(verifier);

    // Another verifier than the one whose challenge was sent: the authorization server refuses it.
    http.around("send", (_proceed, [request]) => {
      const { body, ...rest } = request as HttpRequest;
      const changed = new URLSearchParams(String(body));
      changed.set("code_verifier", "a".repeat(43));
      return new GuardedHttpClient({ allowedOrigins: [sandbox.authorization.origin] }).send({
        ...rest,
        body: changed.toString(),
      });
    });
    const forged = await sandbox.walk(app, tenant);
    await expect(app.oauthCallback(forged.query)).rejects.toMatchObject({ details: { error: "invalid_grant" } });
  });

  test("and refuses: the connector says so, is not connected, and can be tried again", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { connectors } = app.as({ tenant, user: "ann" });
    const { connectorId, query } = await sandbox.walk(app, tenant, "deny");
    await expect(app.oauthCallback(query)).rejects.toMatchObject({
      code: AuthorizationRefused.code,
      details: { provider, error: "access_denied" },
    });
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "disconnected" });
    const again = await sandbox.walk(app, tenant, undefined, connectorId);
    expect(await app.oauthCallback(again.query)).toEqual({ connectorId });
  });

  test("but not twice with one answer, not even at the same moment", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { query } = await sandbox.walk(app, tenant);
    const before = sandbox.tokenRequests();
    const both = await Promise.allSettled([1, 2, 3].map(() => app.oauthCallback(query)));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    for (const each of both) if (each.status === "rejected") expect(each.reason).toBeInstanceOf(AuthorizationInvalid);
    await expect(app.oauthCallback(query)).rejects.toThrow(AuthorizationInvalid);
    expect(sandbox.tokenRequests() - before).toBe(1);
  });

  test("and comes back to a page of the host's, if the host has listed it", async () => {
    const app = await sandbox.start();
    const { connectors } = app.as({ tenant: sandbox.tenant(), user: "ann" });
    for (const returnTo of [
      "https://evil.example/",
      "https://host.example.evil.example/",
      "https://host.example:8443/",
      "http://host.example/",
      "https://host.example@evil.example/",
      "javascript:alert(1)",
      "//host.example",
    ])
      await expect(connectors.authorize({ provider, returnTo }), returnTo).rejects.toThrow(InvalidInput);
    const { url, connectorId } = await connectors.authorize({
      provider,
      returnTo: "https://host.example/settings?tab=crm#x",
    });
    const back = await walkAuthorization(url, { stopAt: redirectUri, fill: { account: "ann" } });
    expect(await app.oauthCallback(back.searchParams)).toEqual({
      connectorId,
      returnTo: `https://host.example/settings?tab=crm&connectorId=${connectorId}&status=connected#x`,
    });
  });

  test("on the host's own page only as the person who began it; who tries otherwise uses nothing up", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { query } = await sandbox.walk(app, tenant);
    const answer = { state: query.get("state")!, code: query.get("code")!, iss: query.get("iss")! };
    const others = [
      app.as({ tenant, user: "bob" }),
      app.as({ tenant, service: "ann" }),
      app.as({ tenant, agent: "helper", onBehalfOf: { type: "user", id: "bob" } }),
      app.as({ tenant, system: "ann" }),
      app.as({ tenant: sandbox.tenant(), user: "ann" }),
    ];
    for (const { connectors } of others)
      await expect(connectors.completeAuthorization(answer)).rejects.toThrow(AuthorizationInvalid);
    const { connectors } = app.as({ tenant, user: "ann" });
    expect(await connectors.completeAuthorization(answer)).toMatchObject({ status: "connected" });
    await expect(connectors.completeAuthorization(answer)).rejects.toThrow(AuthorizationInvalid);
  });

  test("and cannot while it is connected, nor with a provider that knows nothing of it", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { connectors } = app.as({ tenant, user: "ann" });
    const connectorId = await sandbox.connect(app, tenant);
    await expect(connectors.authorize({ provider, connectorId })).rejects.toThrow(ConnectorAlreadyConnected);
    await expect(connectors.authorize({ provider: "hubspot" })).rejects.toThrow(ProviderUnknown);
    const globex = app.as({ tenant: sandbox.tenant(), user: "ann" });
    await expect(globex.connectors.authorize({ provider, connectorId })).rejects.toThrow(NotFound);
  });

  test("while somebody connects the same with a key: one of them has it, and nothing is left over", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const { connectors } = app.as({ tenant, user: "ann" });
    const { connectorId, query } = await sandbox.walk(app, tenant);
    const outcomes = await Promise.allSettled([
      app.oauthCallback(query),
      connectors.connectWithApiKey({ provider, apiKey, connectorId }),
    ]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "connected" });
    await connectors.check({ connectorId });
    expect(await secretsOf(store, tenant)).toHaveLength(1);
  });
});

describe("an answer that is not what was asked for", () => {
  const expectInvalid = async (tamper: (query: URLSearchParams) => void) => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { connectorId, query } = await sandbox.walk(app, tenant);
    const before = sandbox.tokenRequests();
    const tampered = new URLSearchParams(query);
    tamper(tampered);
    await expect(app.oauthCallback(tampered)).rejects.toThrow(AuthorizationInvalid);
    expect(sandbox.tokenRequests()).toBe(before);
    return { app, tenant, connectorId, query };
  };

  test.each([
    ["is cut short", (state: string) => state.slice(0, -4)],
    // Its first character: the last one carries bits that mean nothing.
    [
      "has a changed signature",
      (state: string) => state.replace(/\.(.)([^.]*)$/, (_all, first, rest) => `.${first === "A" ? "B" : "A"}${rest}`),
    ],
    [
      "names another tenant",
      (state: string) => {
        const [head, body, signature] = state.split(".");
        const claims = Buffer.from(body!, "base64url")
          .toString()
          .replace(/customer-\d+/, "customer-0");
        return `${head}.${Buffer.from(claims).toString("base64url")}.${signature}`;
      },
    ],
    [
      "says that it needs no signature",
      (state: string) => {
        const head = Buffer.from('{"alg":"none"}').toString("base64url");
        return `${head}.${state.split(".")[1]}.`;
      },
    ],
    ["is no token at all", () => "x"],
  ])("is refused when its state %s", async (_what, damage) => {
    const { app, query } = await expectInvalid((tampered) => tampered.set("state", damage(tampered.get("state")!)));
    // The person's own answer is as good as before.
    await app.oauthCallback(query);
  });

  test("is refused when its state was signed by somebody else", async () => {
    await expectInvalid((tampered) => {
      const [head, claims] = tampered.get("state")!.split(".");
      const signature = createHmac("sha256", Buffer.alloc(32, 7)).update(`${head}.${claims}`).digest("base64url");
      tampered.set("state", `${head}.${claims}.${signature}`);
    });
  });

  test("is refused when it comes from another authorization server", async () => {
    await expectInvalid((tampered) => tampered.set("iss", "https://evil.example"));
  });

  test("is refused when it comes too late", async () => {
    const clock = movableClock();
    const app = await sandbox.start({ clock });
    const tenant = sandbox.tenant();
    const early = await sandbox.walk(app, tenant);
    const late = await sandbox.walk(app, tenant);
    clock.skip(9 * 60_000);
    await app.oauthCallback(early.query);
    clock.skip(61_000);
    await expect(app.oauthCallback(late.query)).rejects.toThrow(AuthorizationInvalid);
  });

  test("is refused when a newer authorization of the same connector was begun", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const first = await sandbox.walk(app, tenant);
    const second = await sandbox.walk(app, tenant, undefined, first.connectorId);
    await expect(app.oauthCallback(first.query)).rejects.toThrow(AuthorizationInvalid);
    await app.oauthCallback(second.query);
  });

  test("is refused in a sentence when it lacks what it needs", async () => {
    const app = await sandbox.start();
    await expect(app.oauthCallback(new URLSearchParams())).rejects.toThrow(InvalidInput);
    await expect(app.oauthCallback(new URLSearchParams({ code: "x" }))).rejects.toThrow("state");
    const { query } = await sandbox.walk(app, sandbox.tenant());
    query.delete("code");
    await expect(app.oauthCallback(query)).rejects.toThrow(AuthorizationRefused);
  });

  test("is refused when its tenant was suspended after it was begun", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { identity, connectors } = app.as({ tenant, system: "setup" });
    await identity.createTenant({ name: "Customer" });
    const { connectorId, query } = await sandbox.walk(app, tenant);
    await identity.suspendTenant();
    await app.settled();
    await expect(app.oauthCallback(query)).rejects.toThrow(AuthorizationInvalid);
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "disconnected" });
  });
});

describe("when the exchange of the code goes wrong", () => {
  test.each([
    ["fails", { kind: "status", status: 500 } as const, ProviderFailed],
    ["answers garbage", { kind: "garbage" } as const, ProviderAnsweredGarbage],
    ["answers something else", { kind: "wrong-shape" } as const, ProviderAnsweredGarbage],
    ["redirects elsewhere", { kind: "redirect" } as const, ProviderAnsweredGarbage],
  ])("because the token endpoint %s, nothing is connected and nothing is left", async (_what, fault, expected) => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const { connectorId, query } = await sandbox.walk(app, tenant);
    sandbox.authorization.simulation.set(fault, { times: 1 });
    await expect(app.oauthCallback(query)).rejects.toThrow(expected);
    const { connectors } = app.as({ tenant, user: "ann" });
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "disconnected" });
    expect(await secretsOf(store, tenant)).toEqual([]);
    const again = await sandbox.walk(app, tenant, undefined, connectorId);
    await app.oauthCallback(again.query);
  });

  test("because the token endpoint hangs, the person is told after a while", async () => {
    const clock = fixedClock(Date.now());
    const app = await sandbox.start({ clock });
    const { query } = await sandbox.walk(app, sandbox.tenant());
    sandbox.authorization.simulation.set({ kind: "hang", when: "before" });
    const call = expect(app.oauthCallback(query)).rejects.toThrow(ProviderTimedOut);
    await sandbox.authorization.simulation.untilHeld(1);
    await clock.advance(15_000);
    await call;
  });

  test("because the store lost only its answer, the connection keeps its credential", async () => {
    const store = intercepted(inMemory());
    const app = await sandbox.start({ store: store.port });
    const tenant = sandbox.tenant();
    const { connectorId, query } = await sandbox.walk(app, tenant);
    const lift = store.around("commit", async (proceed, [, commit]) => {
      const result = await proceed();
      if (JSON.stringify(commit).includes("connector.connected")) throw new Error("the connection was lost");
      return result;
    });
    await expect(app.oauthCallback(query)).rejects.toThrow("Something went wrong on our side");
    lift();
    const { connectors } = app.as({ tenant, user: "ann" });
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "connected" });
    await connectors.check({ connectorId });
  });
});

describe("a connection with an API key", () => {
  test("works, until the key is refused", async () => {
    const app = await sandbox.start();
    const tenant = sandbox.tenant();
    const { connectors } = app.as({ tenant, user: "ann" });
    const good = await sandbox.connectWithKey(app, tenant);
    expect(await connectors.check({ connectorId: good })).toEqual({ account: { id: "ann", name: "ann" } });
    await expect(connectors.connectWithApiKey({ provider, apiKey: "wrong" })).rejects.toThrow(CredentialRefused);
    expect((await connectors.list({})).items).toMatchObject([
      { id: good, status: "connected", authentication: "api-key" },
    ]);
  });

  test("replaces one that was disconnected, as who may write and not read", async () => {
    const may = new Set(["connectors:write"]);
    const app = await sandbox.start({
      authorizer: ({ actor }, permission) => actor.id === "ann" || may.has(permission),
    });
    const tenant = sandbox.tenant();
    const ann = app.as({ tenant, user: "ann" }).connectors;
    const writer = app.as({ tenant, user: "writer" }).connectors;
    const connectorId = await sandbox.connectWithKey(app, tenant);
    const again = { provider, apiKey, connectorId };
    await expect(writer.connectWithApiKey(again)).rejects.toThrow(ConnectorAlreadyConnected);
    await writer.disconnect({ connectorId });
    expect(await writer.connectWithApiKey(again)).toMatchObject({ id: connectorId, status: "connected" });
    expect(await ann.check({ connectorId })).toMatchObject({ account: { id: "ann" } });
  });

  test("is never made under an id that a caller has thought up, or that is another tenant's", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const other = sandbox.tenant();
    const theirs = await sandbox.connectWithKey(app, other);
    const { connectors } = app.as({ tenant, user: "ann" });
    for (const connectorId of [theirs, "con_madeup"] as const)
      await expect(connectors.connectWithApiKey({ provider, apiKey, connectorId })).rejects.toThrow(NotFound);
    expect(await secretsOf(store, tenant)).toEqual([]);
    expect((await connectors.list()).items).toEqual([]);
  });

  test("needs a provider that takes keys, and one that exists", async () => {
    const crm = sandbox.definition();
    const app = await sandbox.start({ connectors: [{ ...crm, auth: { oauth2: crm.auth.oauth2! } }] });
    const { connectors } = app.as({ tenant: sandbox.tenant(), user: "ann" });
    await expect(connectors.connectWithApiKey({ provider, apiKey })).rejects.toThrow(AuthenticationUnsupported);
    await expect(connectors.connectWithApiKey({ provider: "x", apiKey })).rejects.toThrow(ProviderUnknown);
    const { items } = await connectors.providers();
    expect(items.map(({ id, authentication }) => [id, authentication])).toEqual([[provider, ["oauth2"]]]);
  });
});

describe("where a browser is sent", () => {
  const asking = (app: Armature) => (given: { redirectUri?: string; returnTo?: string }) =>
    app.as({ tenant: "acme", user: "ann" }).connectors.authorize({ provider, ...given });

  test("is the host's own callback or one of an origin that it has listed", async () => {
    const authorize = asking(await sandbox.start({ redirectOrigins: ["https://app.example"] }));
    for (const good of [redirectUri, "https://app.example/elsewhere"]) await authorize({ redirectUri: good });
    for (const bad of ["https://app.example.evil.example/x", "http://app.example/x", "https://evil.example/"])
      await expect(authorize({ redirectUri: bad }), bad).rejects.toThrow(InvalidInput);
    const unlisted = asking(await sandbox.start());
    await unlisted({ redirectUri });
    await expect(unlisted({ redirectUri: "https://app.example/x" })).rejects.toThrow(InvalidInput);
  });

  test("holds no user name and no password", async () => {
    const authorize = asking(await sandbox.start({ redirectOrigins: ["https://app.example"] }));
    await authorize({ returnTo: "https://host.example/done" });
    for (const user of ["ann@", "ann:word@", ":word@"]) {
      await expect(authorize({ returnTo: `https://${user}host.example/` })).rejects.toThrow(InvalidInput);
      await expect(authorize({ redirectUri: `https://${user}app.example/` })).rejects.toThrow(InvalidInput);
    }
  });
});
