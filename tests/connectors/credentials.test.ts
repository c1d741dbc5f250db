import {
  AuthenticationUnsupported,
  AuthorizationRefused,
  basic,
  CredentialRefused,
  clientCredentials,
  connectorAction,
  connectorActions,
  defineConnector,
  InvalidInput,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { answer, ProviderSimulator } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createArmature } from "../../packages/core/src/index.ts";
import { hours, movableClock, provider, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const own = { clientId: "armature-sandbox", clientSecret: "sandbox-client-secret" };

/** Two processes on one store, and a tenant that is connected with its own client. */
async function connected() {
  const clock = movableClock();
  const store = inMemory({ clock });
  const app = await sandbox.start({ store, clock });
  const other = await sandbox.start({ store, clock });
  const tenant = sandbox.tenant();
  const { connectors } = app.as({ tenant, user: "ann" });
  const before = sandbox.tokenRequests();
  const connector = await connectors.connectWithClientCredentials({ provider, ...own });
  const listIn = (at: typeof app) =>
    connectorActions(at.as({ tenant, user: "ann" }).connectors, sandbox.definition(), connector.id).listContacts({
      limit: 1,
    });
  const expire = () => {
    clock.skip(hours(2));
    sandbox.authorization.expireAccessTokens();
  };
  return { app, other, store, tenant, connectors, connector, listIn, expire, before };
}

describe("a connection by client credentials", () => {
  test("is made with one token, which the first calls use", async () => {
    const { app, connector, connectors, listIn, before } = await connected();
    expect(connector).toMatchObject({
      status: "connected",
      authentication: "client-credentials",
      scopes: ["contacts.read", "contacts.write"],
    });
    expect(await connectors.check({ connectorId: connector.id })).toMatchObject({ account: { id: own.clientId } });
    expect((await listIn(app)).contacts).toHaveLength(1);
    expect(sandbox.tokenRequests() - before).toBe(1);
  });

  test("asks for one token when it has expired, however many callers in however many processes notice", async () => {
    const { app, other, listIn, expire } = await connected();
    for (let round = 0; round < 2; round += 1) {
      expire();
      const before = sandbox.tokenRequests();
      await Promise.all(Array.from({ length: 60 }, (_, at) => listIn(at % 2 === 0 ? app : other)));
      expect(sandbox.tokenRequests() - before).toBe(1);
    }
  });

  test("asks for one token when the provider has taken it back before its time", async () => {
    const { app, listIn } = await connected();
    sandbox.authorization.expireAccessTokens();
    const before = sandbox.tokenRequests();
    await Promise.all(Array.from({ length: 20 }, () => listIn(app)));
    expect(sandbox.tokenRequests() - before).toBe(1);
  });

  test("is refused with a wrong secret, and nothing is stored", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const { connectors, audit } = app.as({ tenant, user: "ann" });
    await expect(
      connectors.connectWithClientCredentials({ provider, ...own, clientSecret: "canary-wrong" }),
    ).rejects.toThrow(AuthorizationRefused);
    expect((await connectors.list({})).items).toEqual([]);
    expect(await store.records.list({ tenant, context: "secrets" }, { prefix: "", limit: 10 })).toEqual([]);
    const rows = JSON.stringify((await audit.list({})).items);
    expect(rows).toContain("connectWithClientCredentials");
    expect(rows + sandbox.logger.text()).not.toContain("canary-wrong");
  });

  test("needs both halves of the tenant's client", async () => {
    const app = await sandbox.start();
    const { connectors } = app.as({ tenant: sandbox.tenant(), user: "ann" });
    for (const half of [{}, { clientId: "x" }, { clientSecret: "x" }])
      await expect(connectors.connectWithClientCredentials({ provider, ...half })).rejects.toThrow(InvalidInput);
  });
});

describe("client credentials at a provider that is played", () => {
  const grants = "POST https://auth.bank.example/token";
  const token = (lifetime = 60) => answer.json({ access_token: "at", token_type: "bearer", expires_in: lifetime });
  const bank = (client: { clientId: string; clientSecret: string } | object = {}) =>
    defineConnector({
      id: "bank",
      name: "Bank",
      auth: {
        clientCredentials: clientCredentials({
          tokenEndpoint: "https://auth.bank.example/token",
          scopes: [],
          parameters: { audience: "https://api.bank.example" },
          clientAuthentication: "post",
          ...client,
        }),
      },
      http: { baseUrl: "https://api.bank.example", circuit: false, attempts: 1 },
      health: async ({ http }) => http.get("/me", { schema: z.object({ id: z.string(), name: z.string() }) }),
      actions: {},
    });
  const start = async (definition: ReturnType<typeof bank>) => {
    const clock = movableClock();
    const simulator = new ProviderSimulator({ clock })
      .on(grants, token())
      .on("GET https://api.bank.example/me", answer.json({ id: "1", name: "Acme" }));
    const app = await createArmature({
      store: inMemory(),
      authorizer: () => true,
      connectors: [definition],
      http: simulator,
      clock,
      relay: false,
    });
    return { app, clock, simulator, connectors: app.as({ tenant: "acme", user: "ann" }).connectors };
  };

  test("the app's own client is used by every tenant, and none may bring another", async () => {
    const { app, connectors, simulator } = await start(bank({ clientId: "app", clientSecret: "app-secret" }));
    await expect(connectors.connectWithClientCredentials({ provider: "bank", ...own })).rejects.toThrow(InvalidInput);
    await connectors.connectWithClientCredentials({ provider: "bank" });
    await app.as({ tenant: "globex", user: "bob" }).connectors.connectWithClientCredentials({ provider: "bank" });
    const forms = simulator.requests.filter(({ method }) => method === "POST").map((request) => request.form());
    expect(forms.map((form) => form.get("client_id"))).toEqual(["app", "app"]);
    expect(forms.map((form) => form.get("audience"))).toEqual(Array(2).fill("https://api.bank.example"));
    await app.close();
  });

  test("a tenant's client that the provider no longer knows needs a person; the app's own does not", async () => {
    for (const app of [true, false]) {
      const running = await start(bank(app ? { clientId: "app", clientSecret: "app-secret" } : {}));
      const { connectors, clock, simulator } = running;
      const { id: connectorId } = await connectors.connectWithClientCredentials({
        provider: "bank",
        ...(app ? {} : own),
      });
      clock.skip(hours(1));
      simulator.on(grants, answer.json({ error: "invalid_client" }, { status: 401 }));
      const expected = app ? "provider.failed" : "connector.needs_reauthorization";
      for (let call = 0; call < 2; call += 1)
        await expect(connectors.check({ connectorId })).rejects.toMatchObject({ code: expected });
      // A client that is known to be dead is not shown to the provider again.
      expect(simulator.requests.filter(({ method }) => method === "POST")).toHaveLength(app ? 3 : 2);
      if (!app) {
        simulator.on(grants, token());
        await connectors.connectWithClientCredentials({ provider: "bank", connectorId, ...own });
      }
      expect(await connectors.get({ connectorId })).toMatchObject({ status: "connected" });
      await running.app.close();
    }
  });
});

describe("a connection by user name and password", () => {
  const mill = defineConnector({
    id: "mill",
    name: "Mill",
    auth: { basic: basic() },
    http: { baseUrl: "https://mill.example" },
    health: async ({ http }) => http.get("/me", { schema: z.object({ id: z.string(), name: z.string() }) }),
    actions: {
      ask: connectorAction({
        summary: "Asks.",
        risk: "read",
        input: z.strictObject({}),
        output: z.object({ id: z.string() }),
        run: (_input, { http }) => http.get("/me", { schema: z.object({ id: z.string() }) }),
      }),
    },
  });
  const start = async () => {
    const simulator = new ProviderSimulator();
    const app = await createArmature({
      store: inMemory(),
      authorizer: () => true,
      connectors: [mill],
      http: simulator,
      relay: false,
    });
    const { connectors, audit } = app.as({ tenant: "acme", user: "ann" });
    return { app, simulator, connectors, audit };
  };

  test("sends both as UTF-8, and keeps them out of everything that is written down", async () => {
    const { app, simulator, connectors, audit } = await start();
    simulator.on("GET https://mill.example/me", answer.json({ id: "1", name: "Acme" }));
    const [username, password] = ["Jürgen", "pass:wörd £"];
    const { id, authentication } = await connectors.connectWithBasic({ provider: "mill", username, password });
    expect(authentication).toBe("basic");
    await connectorActions(connectors, mill, id).ask({});
    // RFC 7617, section 2.1, has the example "test:123£" with the UTF-8 charset.
    const sent = simulator.requests.map(({ headers }) => headers.get("authorization")!);
    expect(sent).toEqual(Array(2).fill(`Basic ${Buffer.from("Jürgen:pass:wörd £", "utf8").toString("base64")}`));
    const written = JSON.stringify([(await audit.list({})).items, (await audit.events({})).items]);
    expect(written).toContain("connectWithBasic");
    for (const secret of [username, password, sent[0]!]) expect(written).not.toContain(secret);
    await app.close();
  });

  test("is not made when the provider refuses them, or when they cannot be sent", async () => {
    const { app, simulator, connectors } = await start();
    simulator.on("GET https://mill.example/me", answer.status(401));
    await expect(connectors.connectWithBasic({ provider: "mill", username: "u", password: "p" })).rejects.toThrow(
      CredentialRefused,
    );
    expect(simulator.requests).toHaveLength(1);
    for (const [username, password] of [
      ["a:b", "p"],
      ["", "p"],
      ["a\nb", "p"],
      ["a", "p\u0007"],
    ] as const)
      await expect(connectors.connectWithBasic({ provider: "mill", username, password })).rejects.toThrow(InvalidInput);
    await expect(connectors.connectWithApiKey({ provider: "mill", apiKey: "k" })).rejects.toThrow(
      AuthenticationUnsupported,
    );
    expect(simulator.requests).toHaveLength(1);
    expect((await connectors.list({})).items).toEqual([]);
    await app.close();
  });
});
