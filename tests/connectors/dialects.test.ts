import {
  type ConnectorDefinition,
  connectorAction,
  defineConnector,
  oauth2,
  type ProviderFailure,
} from "@armature/core";
import { answer, SimulatedAuthorizationServer } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { api, hurry, playedApp } from "./played.ts";

const redirectUri = "https://app.example/callback";
const client = { clientId: "client", clientSecret: "client-secret" };

/** A connector to a provider that answers 200 to everything, whose notion of a failure is given. */
function speaking(failure: ConnectorDefinition["http"]["failure"]) {
  return defineConnector({
    id: "played",
    name: "Played",
    auth: {
      oauth2: oauth2({
        authorizationEndpoint: `${api}/authorize`,
        tokenEndpoint: `${api}/token`,
        scopes: [],
        ...client,
      }),
    },
    http: { baseUrl: api, failure, circuit: { failures: 4, openMs: 10_000 } },
    health: async () => ({ id: "1", name: "Acme" }),
    actions: {
      ask: connectorAction({
        summary: "Asks, by POST as such providers want it.",
        risk: "read",
        input: z.strictObject({}),
        output: z.json(),
        run: (_input, { http }) => http.post("/ask", { json: { query: "{ shop }" }, schema: z.json() }),
      }),
    },
  });
}

async function connected(definition: ReturnType<typeof speaking>) {
  const { app, clock, simulator } = await playedApp(definition);
  const server = new SimulatedAuthorizationServer({ ...client, clock });
  simulator.on(`POST ${api}/token`, server.token);
  const { connectors } = app.as({ tenant: "acme", user: "ann" });
  const { url, connectorId } = await connectors.authorize({ provider: "played", redirectUri });
  await app.oauthCallback(server.authorize(url).searchParams);
  const ask = async () => (await connectors.invoke({ connectorId, action: "ask" })).result;
  const sent = (path: string) => simulator.requests.filter(({ url }) => url === `${api}${path}`);
  return { ask, clock, simulator, sent };
}

// Slack's way: https://docs.slack.dev/apis/web-api/#responses
const slack = speaking((response) => {
  const body = z.object({ ok: z.boolean(), error: z.string().optional() }).safeParse(response.json()).data;
  if (body?.ok !== false) return undefined;
  const reason = body.error ?? "unknown";
  const meanings: Readonly<Record<string, ProviderFailure["meaning"]>> = {
    ratelimited: "limited",
    token_expired: "credential",
    token_revoked: "credential",
    internal_error: "outage",
  };
  return { reason, meaning: meanings[reason] ?? "refused" };
});

// Shopify's way: https://shopify.dev/docs/api/usage/limits
const throttled = z.object({
  errors: z.array(z.object({ extensions: z.object({ code: z.string() }) })).min(1),
  extensions: z
    .object({
      cost: z.object({
        requestedQueryCost: z.number(),
        throttleStatus: z.object({ currentlyAvailable: z.number(), restoreRate: z.number() }),
      }),
    })
    .optional(),
});
const shopify = speaking((response) => {
  const { errors, extensions } = throttled.safeParse(response.json()).data ?? {};
  if (errors === undefined) return undefined;
  const reason = errors[0]!.extensions.code;
  if (reason !== "THROTTLED" || extensions === undefined) return { reason, meaning: "refused" };
  const { requestedQueryCost, throttleStatus } = extensions.cost;
  const missing = requestedQueryCost - throttleStatus.currentlyAvailable;
  return { reason, meaning: "limited", retryAfterMs: Math.ceil((missing / throttleStatus.restoreRate) * 1000) };
});

describe("a provider that says no in HTTP 200, as Slack does", () => {
  const ask = `POST ${api}/ask`;
  const no = (error: string, headers = {}) => answer.json({ ok: false, error }, { headers });
  const fine = answer.json({ ok: true });

  test("is waited for when it is at its limit, for as long as it says", async () => {
    const { ask: call, clock, simulator, sent } = await connected(slack);
    simulator.on(ask, no("ratelimited", { "retry-after": "3" }), fine);
    const calling = call();
    await clock.untilSleeping(2);
    await clock.advance(3_000);
    expect(await calling).toEqual({ ok: true });
    expect(sent("/ask").map(({ at }) => at - sent("/ask")[0]!.at)).toEqual([0, 3_000]);
  });

  test("says a limit that is too far away to wait for", async () => {
    const { ask: call, simulator } = await connected(slack);
    simulator.on(ask, no("ratelimited", { "retry-after": "3600" }));
    await expect(call()).rejects.toMatchObject({ code: "provider.limited", details: { retryAfterMs: 3_600_000 } });
  });

  test("gets a new token when it no longer takes the old one, once", async () => {
    const { ask: call, simulator, sent } = await connected(slack);
    simulator.on(ask, no("token_expired"), fine);
    const before = sent("/token").length;
    expect(await call()).toEqual({ ok: true });
    expect(sent("/token").length - before).toBe(1);
    simulator.on(ask, no("token_revoked"));
    await expect(call()).rejects.toMatchObject({ code: "provider.credential_refused" });
    expect(sent("/token").length - before).toBe(2);
  });

  test("is tried again when it is in trouble, and closed off when it stays so", async () => {
    const { ask: call, clock, simulator, sent } = await connected(slack);
    simulator.on(ask, no("internal_error"), fine);
    expect(await hurry(clock, 500, call())).toEqual({ ok: true });
    simulator.on(ask, no("internal_error"));
    await expect(hurry(clock, 500, call())).rejects.toMatchObject({ code: "provider.failed" });
    await expect(call()).rejects.toMatchObject({ code: "provider.circuit_open" });
    expect(sent("/ask")).toHaveLength(6);
  });

  test("refuses with its own word, and is asked once", async () => {
    const { ask: call, simulator, sent } = await connected(slack);
    simulator.on(ask, no("channel_not_found"));
    await expect(call()).rejects.toMatchObject({ code: "provider.refused", details: { reason: "channel_not_found" } });
    expect(sent("/ask")).toHaveLength(1);
  });
});

describe("a provider that says no in HTTP 200, as Shopify's GraphQL does", () => {
  const ask = `POST ${api}/ask`;
  const fine = answer.json({ data: { shop: 1 } });
  const cost = { requestedQueryCost: 600, throttleStatus: { currentlyAvailable: 100, restoreRate: 100 } };

  test("is waited for until what the request costs is there again", async () => {
    const { ask: call, clock, simulator, sent } = await connected(shopify);
    simulator.on(ask, answer.json({ errors: [{ extensions: { code: "THROTTLED" } }], extensions: { cost } }), fine);
    const calling = call();
    await clock.untilSleeping(2);
    await clock.advance(4_999);
    expect(sent("/ask")).toHaveLength(1);
    await clock.advance(1);
    expect(await calling).toEqual({ data: { shop: 1 } });
  });

  test("refuses with its code", async () => {
    const { ask: call, simulator } = await connected(shopify);
    simulator.on(ask, answer.json({ errors: [{ extensions: { code: "MAX_COST_EXCEEDED" } }] }));
    await expect(call()).rejects.toMatchObject({ code: "provider.refused", details: { reason: "MAX_COST_EXCEEDED" } });
  });
});
