import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuthorizationServer, startAuthorizationServer } from "./authorization-server.ts";
import { WalkFailed, walkAuthorization } from "./browser.ts";
import { redirectUri, TestClient } from "./test-client.ts";

let server: AuthorizationServer;

beforeEach(async () => {
  server = await startAuthorizationServer({ client: { redirectUris: [redirectUri] } });
});
afterEach(() => server.close());

describe("authorizing", () => {
  it.each(["basic", "post"] as const)("gives tokens to a client that authenticates by %s", async (method) => {
    const tokens = await (await TestClient.for(server, method)).authorize();

    expect(tokens).toMatchObject({ token_type: "bearer", expires_in: 20, scope: "contacts.read contacts.write" });
    expect(tokens.refresh_token).toEqual(expect.any(String));
    expect(server.grants()).toMatchObject([{ account: "ann", clientId: "armature-sandbox", alive: true }]);
    expect(server.stats().tokenRequests).toEqual({
      received: 1,
      byGrantType: { authorization_code: { granted: 1, refused: 0 } },
    });
  });

  it("gives nothing when the user denies consent", async () => {
    const client = await TestClient.for(server);
    await expect(client.authorize({ press: "deny" })).rejects.toMatchObject({ error: "access_denied" });
    expect(server.grants()).toEqual([]);
  });

  it("refuses a request without PKCE, and PKCE that is not S256", async () => {
    const client = await TestClient.for(server);
    const without = await walkAuthorization(client.authorizationUrl({ state: "s" }), { stopAt: redirectUri });
    const plain = await walkAuthorization(
      client.authorizationUrl({ state: "s", code_challenge: "x".repeat(43), code_challenge_method: "plain" }),
      { stopAt: redirectUri },
    );
    for (const refused of [without, plain]) expect(refused.searchParams.get("error")).toBe("invalid_request");
  });

  it("shows an error and redirects nowhere when the redirect URI is not registered", async () => {
    const client = await TestClient.for(server);
    const url = client.authorizationUrl({ redirect_uri: "http://127.0.0.1:9/elsewhere" });
    await expect(walkAuthorization(url)).rejects.toBeInstanceOf(WalkFailed);
  });

  it("does not let a sign-in be continued in another browser", async () => {
    const client = await TestClient.for(server);
    const url = client.authorizationUrl({ code_challenge: "x".repeat(43), code_challenge_method: "S256", state: "s" });
    const signIn = (await fetch(url, { redirect: "manual" })).headers.get("location")!;
    const stranger = await fetch(new URL(signIn, server.origin));
    expect(stranger.status).toBe(400);
    expect(await stranger.json()).toMatchObject({ error: { code: "no_sign_in" } });
  });
});

describe("refreshing", () => {
  it("rotates the refresh token on every use", async () => {
    const client = await TestClient.for(server);
    const first = await client.authorize();
    const second = await client.refresh(first.refresh_token!);
    const third = await client.refresh(second.refresh_token!);

    expect(new Set([first, second, third].map((tokens) => tokens.refresh_token)).size).toBe(3);
    expect(new Set([first, second, third].map((tokens) => tokens.access_token)).size).toBe(3);
    expect(server.grants()).toMatchObject([{ alive: true }]);
  });

  it("revokes the whole grant when a refresh token is used a second time", async () => {
    const client = await TestClient.for(server);
    const first = await client.authorize();
    const second = await client.refresh(first.refresh_token!);

    await expect(client.refresh(first.refresh_token!)).rejects.toMatchObject({ error: "invalid_grant" });
    await expect(client.refresh(second.refresh_token!)).rejects.toMatchObject({ error: "invalid_grant" });
    expect(server.grants()).toMatchObject([{ alive: false }]);
    expect(server.stats().tokenRequests.byGrantType.refresh_token).toEqual({ granted: 1, refused: 2 });
  });

  it("leaves a client that refreshes three times at once with nothing", async () => {
    const client = await TestClient.for(server);
    const { refresh_token: token } = await client.authorize();
    const results = await Promise.allSettled([1, 2, 3].map(() => client.refresh(token!)));

    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    const winner = results.find((result) => result.status === "fulfilled")!;
    await expect(client.refresh(winner.value.refresh_token!)).rejects.toMatchObject({ error: "invalid_grant" });
  });

  it("gives no refresh token to a client that did not ask for offline access", async () => {
    const tokens = await (await TestClient.for(server)).authorize({ scope: "contacts.read" });
    expect(tokens.refresh_token).toBeUndefined();
  });
});

describe("simulating", () => {
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(new URL(path, server.origin), {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as unknown };
  };

  it("lists grants and revokes one, as a user does who withdraws consent", async () => {
    const client = await TestClient.for(server);
    const tokens = await client.authorize();
    const [grant] = server.grants();

    expect(await ask("POST", "/simulate/revoke-grant", { id: grant!.id })).toEqual({
      status: 200,
      body: { revoked: grant!.id },
    });
    expect((await ask("GET", "/simulate/grants")).body).toEqual({ grants: [{ ...grant, alive: false }] });
    expect((await ask("POST", "/simulate/revoke-grant", { id: grant!.id })).status).toBe(404);
    await expect(client.refresh(tokens.refresh_token!)).rejects.toMatchObject({ error: "invalid_grant" });
  });

  it("gives access tokens another lifetime from now on", async () => {
    const client = await TestClient.for(server);
    const { refresh_token: token } = await client.authorize();
    await ask("PUT", "/simulate/access-token-seconds", { seconds: 3 });
    expect(await client.refresh(token!)).toMatchObject({ expires_in: 3 });
  });

  it("holds the answer of a token request that is done already, until the fault is lifted", async () => {
    const client = await TestClient.for(server);
    const { refresh_token: token } = await client.authorize();
    await ask("PUT", "/simulate/fault", { fault: { kind: "hang", when: "after" } });
    const refreshing = client.refresh(token!);
    await ask("GET", "/simulate/held?count=1");

    expect((await ask("GET", "/stats")).body).toEqual({
      tokenRequests: {
        received: 2,
        byGrantType: {
          authorization_code: { granted: 1, refused: 0 },
          refresh_token: { granted: 1, refused: 0 },
        },
      },
      held: 1,
    });
    await ask("DELETE", "/simulate/fault");
    expect((await refreshing).refresh_token).not.toBe(token);
    expect(server.stats().held).toBe(0);
  });

  it("loses the answer of a token request, and with it the only good refresh token", async () => {
    const client = await TestClient.for(server);
    const { refresh_token: token } = await client.authorize();
    server.simulation.set({ kind: "cut", when: "after" }, { times: 1 });

    await expect(client.refresh(token!)).rejects.toThrow("fetch failed");
    await expect(client.refresh(token!)).rejects.toMatchObject({ error: "invalid_grant" });
    expect(server.grants()).toMatchObject([{ alive: false }]);
  });

  it.each([{ kind: "cut", when: "before" }, { kind: "status", status: 503 }, { kind: "garbage" }] as const)(
    "can fail before anything has happened ($kind)",
    async (fault) => {
      const client = await TestClient.for(server);
      const { refresh_token: token } = await client.authorize();
      server.simulation.set(fault, { times: 1 });

      await expect(client.refresh(token!)).rejects.toThrow();
      expect((await client.refresh(token!)).refresh_token).toEqual(expect.any(String));
    },
  );

  it("refuses a control that it does not know or cannot read", async () => {
    expect((await ask("POST", "/simulate/miracle")).status).toBe(404);
    expect((await ask("PUT", "/simulate/fault", { fault: { kind: "miracle" } })).status).toBe(400);
    expect((await ask("PUT", "/simulate/access-token-seconds", { seconds: -1 })).status).toBe(400);
  });
});
