import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { connectorAction, createArmature, defineConnector, oauth2, ProviderUnreachable } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { answer, fixedClock, intercepted, SimulatedAuthorizationServer } from "@armature/core/testing";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { api, played, playedApp } from "./played.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A real server, and an application that calls it. */
async function calling(handle: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const app = await createArmature({
    store: inMemory(),
    authorizer: () => true,
    connectors: [played({ baseUrl: origin })],
    allowedOrigins: [origin],
    relay: false,
  });
  closing.push(
    () => app.close(),
    () => server.close(),
  );
  const { connectors } = app.as({ tenant: "acme", user: "ann" });
  const { id } = await connectors.connectWithApiKey({ provider: "played", apiKey: "key" });
  return (options: object) => connectors.invoke({ connectorId: id, action: "read", input: { id: "1" } }, options);
}

describe("a caller who gives up closes the connection to the provider", () => {
  const phases = {
    "before its answer has begun": () => {},
    "in the middle of its answer": (response: ServerResponse) => {
      response.writeHead(200, { "content-type": "application/json" }).write('{"id":');
    },
  };

  test.each(Object.entries(phases))("%s", async (_when, begin) => {
    const arrived = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const call = await calling((request, response) => {
      request.socket.once("close", () => closed.resolve());
      begin(response);
      arrived.resolve();
    });
    const caller = new AbortController();
    const told = expect(call({ signal: caller.signal })).rejects.toMatchObject({ code: "canceled" });
    await arrived.promise;
    caller.abort();
    await told;
    await closed.promise;
  });

  test.each(Object.entries(phases))("also by its deadline, %s", async (_when, begin) => {
    const closed = Promise.withResolvers<void>();
    const call = await calling((request, response) => {
      request.socket.once("close", () => closed.resolve());
      begin(response);
    });
    await expect(call({ timeoutMs: 500 })).rejects.toMatchObject({ code: "deadline_exceeded" });
    await closed.promise;
  });
});

describe("a caller who gives up while it waits has nothing sent afterwards", () => {
  test("between two attempts", async () => {
    const { connect, simulator, clock, app } = await playedApp(played({ attempts: 4 }));
    const { invoke } = await connect();
    simulator.on(`GET ${api}/items/:id`, answer.unreachable());
    const caller = new AbortController();
    const told = expect(invoke("read", { id: "1" }, { signal: caller.signal })).rejects.toMatchObject({
      code: "canceled",
    });
    await clock.untilSleeping(2);
    caller.abort();
    await told;
    await app.close();
    await clock.advance(60_000);
    expect(simulator.requests).toHaveLength(1);
  });

  test("for a token that somebody else renews: the renewal goes on, the caller does not", async () => {
    const clock = fixedClock();
    const client = { clientId: "client", clientSecret: "client-secret" };
    const server = new SimulatedAuthorizationServer({ ...client, clock });
    const store = inMemory({ clock });
    const lease = intercepted(store.lease);
    const definition = defineConnector({
      id: "played",
      name: "Played",
      auth: {
        oauth2: oauth2({ authorizationEndpoint: `${api}/auth`, tokenEndpoint: `${api}/token`, scopes: [], ...client }),
      },
      http: { baseUrl: api },
      health: async () => ({ id: "1", name: "Acme" }),
      actions: {
        write: connectorAction({
          summary: "Writes.",
          risk: "write",
          input: z.strictObject({}),
          output: z.json(),
          run: (_input, { http }) => http.post("/items", { schema: z.json() }),
        }),
      },
    });
    const { app, simulator } = await playedApp(definition, { clock, store, lease: lease.port });
    simulator.on(`POST ${api}/token`, server.token).on(`POST ${api}/items`, answer.json({}));
    const { connectors } = app.as({ tenant: "acme", user: "ann" });
    const redirectUri = "https://app.example/callback";
    const { url, connectorId } = await connectors.authorize({ provider: "played", redirectUri });
    await app.oauthCallback(server.authorize(url).searchParams);
    await clock.advance(31 * 60_000);

    const asked = Promise.withResolvers<void>();
    const given = Promise.withResolvers<void>();
    lease.around("acquire", async (proceed) => {
      asked.resolve();
      await given.promise;
      return proceed();
    });
    const caller = new AbortController();
    const write = (options: object) =>
      connectors.invoke({ connectorId, action: "write" }, { idempotencyKey: "w", ...options });
    const told = expect(write({ signal: caller.signal })).rejects.toMatchObject({ code: "canceled" });
    await asked.promise;
    caller.abort();
    await told;
    given.resolve();
    // Nothing had left: the same key does it now, once.
    await write({});
    expect(simulator.requests.filter(({ url }) => url === `${api}/items`)).toHaveLength(1);
    expect(simulator.requests.filter(({ url }) => url === `${api}/token`)).toHaveLength(2);
  });
});

test("a server that goes away in the middle of its answer is told apart from a caller who does", async () => {
  const call = await calling((request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).write('{"id":', () => request.socket.destroy());
  });
  await expect(call({})).rejects.toThrow(ProviderUnreachable);
});
