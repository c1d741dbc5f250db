import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { oauth2 } from "../contexts/connectors/authentication.ts";
import { connectorActions } from "../contexts/connectors/connector-actions.ts";
import { connectorAction, defineConnector } from "../contexts/connectors/connector-definition.ts";
import { ConnectorNeedsReauthorization } from "../contexts/connectors/contract.ts";
import { inMemory } from "../in-memory/index.ts";
import type { Armature } from "../runtime/armature.ts";
import { createArmature } from "../runtime/create-armature.ts";
import { type FixedClock, fixedClock } from "./fixed-clock.ts";
import { ProviderSimulator } from "./provider-simulator.ts";
import { answer } from "./simulated-answer.ts";
import {
  SimulatedAuthorizationServer,
  type SimulatedAuthorizationServerOptions,
} from "./simulated-authorization-server.ts";

const redirectUri = "https://app.example/callback";
const TOKEN = "POST https://auth.crm.example/token";

const who = z.object({ name: z.string() });
const define = (clientAuthentication: "basic" | "post") =>
  defineConnector({
    id: "crm",
    name: "The CRM",
    auth: {
      oauth2: oauth2({
        authorizationEndpoint: "https://auth.crm.example/authorize",
        tokenEndpoint: "https://auth.crm.example/token",
        clientId: "client:1",
        clientSecret: "client secret",
        scopes: ["read", "write"],
        clientAuthentication,
      }),
    },
    http: { baseUrl: "https://api.crm.example" },
    health: async () => ({ id: "1", name: "Acme" }),
    actions: {
      whoAmI: connectorAction({
        summary: "Says who the token belongs to.",
        risk: "read",
        input: z.strictObject({}),
        output: who,
        run: (_input, { http }) => http.get("/me", { schema: who }),
      }),
    },
  });

let clock: FixedClock;
let simulator: ProviderSimulator;
let server: SimulatedAuthorizationServer;
let app: Armature;
const crm = define("basic");

async function start(options: Partial<SimulatedAuthorizationServerOptions> = {}, connector = crm) {
  clock = fixedClock();
  server = new SimulatedAuthorizationServer({ clientId: "client:1", clientSecret: "client secret", clock, ...options });
  simulator = new ProviderSimulator({ clock })
    .on(TOKEN, server.token)
    .on("GET https://api.crm.example/me", (request) =>
      server.accepts(request) ? answer.json({ name: "ann" }) : answer.status(401),
    );
  app = await createArmature({
    store: inMemory(),
    connectors: [connector],
    authorizer: () => true,
    http: simulator,
    clock,
    relay: false,
    oauthRedirectUri: redirectUri,
  });
}

const acme = () => app.as({ tenant: "acme", user: "ann" });

async function connect(scopes?: readonly string[]) {
  const { url, connectorId } = await acme().connectors.authorize({ provider: "crm" });
  await app.oauthCallback(server.authorize(url, scopes).searchParams);
  return { connectorId, ...connectorActions(acme().connectors, crm, connectorId) };
}

const renewals = () => simulator.requests.filter((each) => each.form().get("grant_type") === "refresh_token").length;

describe("a simulated authorization server", () => {
  beforeEach(() => start());

  test("gives a connector its tokens, whichever way the client proves itself", async () => {
    for (const authentication of ["basic", "post"] as const) {
      await start({}, define(authentication));
      const { whoAmI, connectorId } = await connect();
      expect(await whoAmI({})).toEqual({ name: "ann" });
      expect(await acme().connectors.get({ connectorId })).toMatchObject({
        status: "connected",
        scopes: ["read", "write"],
      });
      expect(simulator.requests[0]?.form().has("client_secret")).toBe(authentication === "post");
      simulator.assertNoUnexpected();
    }
  });

  test("says which scopes a person granted, in RFC 6749's words or in the provider's own", async () => {
    const { connectorId } = await connect(["read"]);
    expect((await acme().connectors.get({ connectorId })).scopes).toEqual(["read"]);
    await start({
      tokenAnswer: ({ accessToken, expiresInSeconds }) => ({
        access_token: accessToken,
        token_type: "bearer",
        expires_in: expiresInSeconds,
      }),
    });
    const unsaid = await connect(["read"]);
    expect((await acme().connectors.get({ connectorId: unsaid.connectorId })).scopes).toEqual(["read", "write"]);
  });

  test("an ID token that nobody asked for does not stop a connection", async () => {
    await start({
      tokenAnswer: ({ accessToken }) => ({ access_token: accessToken, token_type: "bearer", id_token: "not one" }),
    });
    const { whoAmI } = await connect();
    expect(await whoAmI({})).toEqual({ name: "ann" });
  });

  test("refuses in the person's name", async () => {
    const { url } = await acme().connectors.authorize({ provider: "crm" });
    await expect(app.oauthCallback(server.refuse(url).searchParams)).rejects.toThrow("access_denied");
  });

  test("shows no person a request that is not in order", async () => {
    const { url } = await acme().connectors.authorize({ provider: "crm" });
    const without = (name: string) => {
      const changed = new URL(url);
      changed.searchParams.delete(name);
      return changed;
    };
    for (const name of ["response_type", "client_id", "redirect_uri", "code_challenge", "state"])
      expect(() => server.authorize(without(name)), name).toThrow("is not one to show a person");
  });

  test("many callers that find an access token expired make one token request", async () => {
    const { whoAmI } = await connect();
    await clock.advance(31 * 60_000);
    const results = await Promise.all(Array.from({ length: 20 }, () => whoAmI({})));
    expect(results).toHaveLength(20);
    expect(renewals()).toBe(1);
  });

  test("an access token that the provider drops before its time is renewed once", async () => {
    const { whoAmI } = await connect();
    server.expireAccessTokens();
    expect(await whoAmI({})).toEqual({ name: "ann" });
    expect(renewals()).toBe(1);
  });

  test("a grant that is taken back leaves a connector that needs a person", async () => {
    const { whoAmI, connectorId } = await connect();
    server.revoke();
    await expect(whoAmI({})).rejects.toThrow(ConnectorNeedsReauthorization);
    expect(await acme().connectors.get({ connectorId })).toMatchObject({ status: "needs-reauthorization" });
  });
});

describe("the simulated token endpoint", () => {
  const credentials = { client_id: "client:1", client_secret: "client secret" };
  const ask = async (form: Record<string, string>) => {
    const body = new URLSearchParams({ ...credentials, ...form });
    const response = await simulator.send({ method: "POST", url: "https://auth.crm.example/token", body });
    return { status: response.status, ...(response.json() as { error?: string; refresh_token?: string }) };
  };
  const exchanged = () => {
    const form = simulator.requests.findLast((each) => each.form().get("grant_type") === "authorization_code")!.form();
    return Object.fromEntries(form) as Record<string, string>;
  };
  const renew = (refresh_token = "") => ask({ grant_type: "refresh_token", refresh_token });

  beforeEach(() => start({}, define("post")));

  test("a refresh token that comes a second time ends the grant, its newest tokens included", async () => {
    const { whoAmI } = await connect();
    const first = await renew("simulated-refresh-2");
    expect(first).toMatchObject({ status: 200, refresh_token: expect.stringMatching(/^simulated-refresh-/) });
    expect(await renew("simulated-refresh-2")).toEqual({ status: 400, error: "invalid_grant" });
    expect(await renew(first.refresh_token)).toEqual({ status: 400, error: "invalid_grant" });
    await expect(whoAmI({})).rejects.toThrow(ConnectorNeedsReauthorization);
  });

  test("a server that does not rotate gives the same refresh token again", async () => {
    await start({ rotates: false }, define("post"));
    await connect();
    for (let turn = 0; turn < 2; turn += 1)
      expect(await renew("simulated-refresh-2")).toMatchObject({ status: 200, refresh_token: "simulated-refresh-2" });
  });

  test("a code works once; a second use ends what the first one brought", async () => {
    const { whoAmI } = await connect();
    expect(await ask(exchanged())).toEqual({ status: 400, error: "invalid_grant" });
    await expect(whoAmI({})).rejects.toThrow(ConnectorNeedsReauthorization);
  });

  test("a code is refused without its verifier, at another callback, and when it is old", async () => {
    const { url } = await acme().connectors.authorize({ provider: "crm" });
    const code = () => server.authorize(url).searchParams.get("code") ?? "";
    await connect();
    const good = exchanged();
    for (const wrong of [{ code_verifier: "another" }, { redirect_uri: "https://evil.example/" }])
      expect(await ask({ ...good, code: code(), ...wrong })).toEqual({ status: 400, error: "invalid_grant" });
    const old = code();
    await clock.advance(60_000);
    expect(await ask({ ...good, code: old })).toEqual({ status: 400, error: "invalid_grant" });
  });

  test("a client that is not the one, and a grant that there is not, are refused", async () => {
    expect(await ask({ client_secret: "guessed" })).toEqual({ status: 401, error: "invalid_client" });
    expect(await ask({ grant_type: "password" })).toEqual({ status: 400, error: "unsupported_grant_type" });
    expect(await renew("thought up")).toEqual({ status: 400, error: "invalid_grant" });
  });
});
