import { InMemoryCache } from "@armature/core/in-memory";
import { answer, type SimulatedAnswer } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { api, played, playedApp } from "./played.ts";

const read = `GET ${api}/items/:id`;
const tagged = (id: string, headers: Record<string, string> = {}) =>
  answer.json({ id }, { headers: { etag: `"${id}"`, ...headers } });
const conditions = (requests: readonly { headers: Headers }[]) =>
  requests.map(({ headers }) => headers.get("if-none-match") ?? headers.get("if-modified-since"));

async function started(first: SimulatedAnswer, ...then: readonly SimulatedAnswer[]) {
  const running = await playedApp(played());
  const connection = await running.connect();
  running.simulator.on(read, first, ...then);
  return { ...running, ...connection, ask: (id = "1") => connection.invoke("read", { id }) };
}

describe("an answer with an ETag", () => {
  test("is asked about again, and given from the cache when it still holds", async () => {
    const { ask, simulator } = await started(tagged("v1"), answer.status(304, { etag: '"v1"' }));
    for (let call = 0; call < 3; call += 1) expect(await ask()).toEqual({ id: "v1" });
    expect(conditions(simulator.requests)).toEqual([null, '"v1"', '"v1"']);
  });

  test("is replaced when it no longer holds", async () => {
    const { ask, simulator } = await started(tagged("v1"), tagged("v2"), answer.status(304));
    expect([await ask(), await ask(), await ask()]).toEqual([{ id: "v1" }, { id: "v2" }, { id: "v2" }]);
    expect(conditions(simulator.requests)).toEqual([null, '"v1"', '"v2"']);
  });

  test("or a date of its last change is asked about by that", async () => {
    const date = "Sat, 21 Nov 2026 08:00:00 GMT";
    const { ask, simulator } = await started(
      answer.json({ id: "1" }, { headers: { "last-modified": date } }),
      answer.status(304),
    );
    expect([await ask(), await ask()]).toEqual([{ id: "1" }, { id: "1" }]);
    expect(conditions(simulator.requests)).toEqual([null, date]);
  });

  test("belongs to one connection of one tenant, and to one address", async () => {
    const { ask, simulator, connect } = await started(tagged("v1"));
    await ask();
    for (const tenant of ["acme", "globex"]) await (await connect(tenant)).invoke("read", { id: "1" });
    await ask("2");
    expect(conditions(simulator.requests)).toEqual([null, null, null, null]);
  });

  test("is forgotten with the connection", async () => {
    const cache = new InMemoryCache();
    const { connect, simulator, app } = await playedApp(played(), { cache, relay: {} });
    const { connectors, connectorId, invoke } = await connect();
    simulator.on(read, tagged("v1"));
    await invoke("read", { id: "1" });
    expect(cache.size.entries).toBe(1);
    await connectors.disconnect({ connectorId });
    await app.settled();
    expect(cache.size).toEqual({ entries: 0, bytes: 0 });
    await connectors.connectWithApiKey({ provider: "played", apiKey: "key", connectorId });
    await invoke("read", { id: "1" });
    expect(conditions(simulator.requests)).toEqual([null, null]);
  });

  test("is forgotten when something is changed through the connection", async () => {
    const { ask, invoke, simulator } = await started(tagged("v1", { "cache-control": "max-age=60" }));
    simulator.on(`POST ${api}/items`, answer.json({ id: "2" }));
    await ask();
    await ask();
    expect(simulator.requests).toHaveLength(1);
    await invoke("write");
    await ask();
    expect(conditions(simulator.requests)).toEqual([null, null, null]);
  });
});

describe("an answer that is good for a minute", () => {
  const lasting = { "cache-control": "max-age=60" };

  test.each([
    ["whose answer was lost", answer.unreachable()],
    ["that was answered by a failure", answer.status(502)],
  ])("is forgotten after a change %s, which may have happened", async (_what, lost) => {
    const { ask, invoke, simulator } = await started(tagged("v1", lasting), tagged("v2", lasting));
    simulator.on(`POST ${api}/items`, lost);
    expect(await ask()).toEqual({ id: "v1" });
    await expect(invoke("write")).rejects.toThrow();
    expect(await ask()).toEqual({ id: "v2" });
  });

  test("is no proof that the credential works", async () => {
    const { connect, simulator } = await playedApp({
      ...played(),
      health: async ({ http }) => ({
        ...(await http.get("/me", { schema: z.object({ id: z.string() }) })),
        name: "Acme",
      }),
    });
    simulator.on(`GET ${api}/me`, tagged("1", lasting), tagged("1", lasting), answer.status(401));
    const { connectors, connectorId } = await connect();
    expect(await connectors.check({ connectorId })).toEqual({ account: { id: "1", name: "Acme" } });
    await expect(connectors.check({ connectorId })).rejects.toMatchObject({ code: "provider.credential_refused" });
  });

  test("is asked about by an action that may change what it reads", async () => {
    const definition = played();
    const { write } = definition.actions;
    const { connect, simulator } = await playedApp({
      ...definition,
      actions: {
        ...definition.actions,
        write: { ...write, run: (_in, ctx) => definition.actions.read.run({ id: "1" }, ctx) },
      },
    });
    const { invoke } = await connect();
    simulator.on(read, tagged("v1", lasting), answer.status(304));
    for (const action of ["read", "read"]) expect(await invoke(action, { id: "1" })).toEqual({ id: "v1" });
    expect(await invoke("write")).toEqual({ id: "v1" });
    expect(conditions(simulator.requests)).toEqual([null, '"v1"']);
  });
});

describe("what a provider says about keeping", () => {
  test.each([
    ["no-store", { "cache-control": "no-store" }],
    ["that it varies by everything", { vary: "*" }],
  ])("%s is obeyed", async (_what, headers) => {
    const { ask, simulator } = await started(tagged("v1", headers));
    await ask();
    await ask();
    expect(conditions(simulator.requests)).toEqual([null, null]);
  });

  test("max-age is given without asking, for its time and for five minutes at most", async () => {
    for (const [seconds, fresh] of [
      [60, 60_000],
      [86_400, 300_000],
    ] as const) {
      const { ask, simulator, clock } = await started(tagged("v1", { "cache-control": `private, max-age=${seconds}` }));
      await ask();
      await clock.advance(fresh - 1);
      await ask();
      expect(simulator.requests).toHaveLength(1);
      await clock.advance(1);
      await ask();
      expect(conditions(simulator.requests)).toEqual([null, '"v1"']);
    }
  });

  test("no-cache is asked about each time, and an answer without validator is not kept", async () => {
    const { ask, simulator } = await started(
      tagged("v1", { "cache-control": "no-cache, max-age=60" }),
      answer.json({ id: "2" }),
    );
    for (let call = 0; call < 3; call += 1) await ask();
    // What came without one replaces nothing, so the old one is asked about once more.
    expect(conditions(simulator.requests)).toEqual([null, '"v1"', '"v1"']);
  });
});

test("a connector can do without, and a cache that fails costs a request and nothing else", async () => {
  const broken = {
    get: () => Promise.reject(new Error("down")),
    set: () => Promise.reject(new Error("down")),
    delete: () => Promise.reject(new Error("down")),
  };
  const garbled = { ...broken, get: async () => "{not JSON" };
  for (const [definition, options] of [
    [played({ cache: false }), {}],
    [played(), { cache: broken }],
    [played(), { cache: garbled }],
  ] as const) {
    const { connect, simulator } = await playedApp(definition, options);
    const { invoke } = await connect();
    simulator.on(read, tagged("v1"));
    for (let call = 0; call < 2; call += 1) expect(await invoke("read", { id: "1" })).toEqual({ id: "v1" });
    expect(conditions(simulator.requests)).toEqual([null, null]);
  }
});

test("the cache in memory keeps to its bounds, and to what was used last", async () => {
  const cache = new InMemoryCache({ maxEntries: 3, maxBytes: 2_000 });
  for (const key of ["a", "b", "c"]) await cache.set("g", key, key, 1_000);
  await cache.get("g", "a");
  await cache.set("g", "d", "d", 1_000);
  expect(await Promise.all(["a", "b", "c", "d"].map((key) => cache.get("g", key)))).toEqual(["a", undefined, "c", "d"]);
  await cache.set("g", "large", "x".repeat(900), 1_000);
  expect(cache.size.bytes).toBeLessThanOrEqual(2_000);
  await cache.set("g", "too large", "x".repeat(1_001), 1_000);
  expect(await cache.get("g", "too large")).toBeUndefined();
  expect(await cache.get("g", "large")).toHaveLength(900);
});
