import { readFileSync } from "node:fs";
import path from "node:path";
import {
  type Authorizer,
  apiKey,
  type Cache,
  type Clock,
  type CloudEvent,
  connectorAction,
  connectorActions,
  createArmature,
  defineConnector,
  defineContext,
  defineContract,
  defineProjection,
  type EventBus,
  type HttpClient,
  type Ids,
  type Lease,
  type Logger,
  type RateLimiter,
  Secret,
  type SecretStore,
  type StoreAdapter,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { ordersContext } from "@armature-examples/own-context";
import { expect, it } from "vitest";
import { z } from "zod";
import { OrderPlaced, orders } from "../examples/own-context/contract.ts";

/** Ports of a host's own. Each notes that it was used; what would be ours in their place throws. */
function hostPorts() {
  const used: Record<string, number> = {};
  const use = (port: string) => {
    used[port] = (used[port] ?? 0) + 1;
  };
  const refuse = (what: string) => (): never => {
    throw new Error(`${what} of the store was used in place of the host's`);
  };

  const inner = inMemory();
  const store: StoreAdapter = {
    migrate: (contexts) => inner.migrate(contexts),
    load: (...args) => inner.load(...args),
    find: (...args) => inner.find(...args),
    commit: (...args) => {
      use("store");
      return inner.commit(...args);
    },
    idempotency: (...args) => inner.idempotency(...args),
    events: (...args) => inner.events(...args),
    audit: (...args) => inner.audit(...args),
    counters: (...args) => inner.counters(...args),
    rows: (...args) => inner.rows(...args),
    row: (...args) => inner.row(...args),
    projections: inner.projections,
    scheduled: (...args) => inner.scheduled(...args),
    deadLetters: (...args) => inner.deadLetters(...args),
    outbox: inner.outbox,
    timers: inner.timers,
    executions: inner.executions,
    execution: (...args) => inner.execution(...args),
    journal: (...args) => inner.journal(...args),
    log: inner.log,
    // Sealed secrets would be kept here.
    records: { get: refuse("records"), put: refuse("records"), delete: refuse("records"), list: refuse("records") },
    lease: { acquire: refuse("the lease") },
    embedded: true,
    lasting: false,
    prune: (...args) => inner.prune(...args),
    ping: () => inner.ping(),
    close: () => inner.close(),
  };

  const held = new Set<string>();
  const lease: Lease = {
    acquire: async (key) => {
      use("lease");
      if (held.has(key)) return undefined;
      held.add(key);
      return { key, fence: 1, renew: async () => true, release: async () => void held.delete(key) };
    },
  };

  const published: CloudEvent[] = [];
  const bus: EventBus = {
    publish: async (events) => {
      use("bus");
      published.push(...events);
    },
    subscribe: async () => ({ close: async () => {} }),
    ping: async () => {},
    close: async () => {},
  };

  const kept = new Map<string, string>();
  const secrets: SecretStore = {
    get: async (tenant, name) => {
      use("secrets");
      const value = kept.get(`${tenant}/${name}`);
      return value === undefined ? undefined : { version: 1, value: new Secret(value) };
    },
    put: async (tenant, name, value) => {
      use("secrets");
      kept.set(`${tenant}/${name}`, value.reveal());
      return 1;
    },
    delete: async (tenant, name) => void kept.delete(`${tenant}/${name}`),
    list: async () => [],
    ping: async () => {},
  };

  const buckets: string[] = [];
  const rateLimiter: RateLimiter = {
    take: async (requests) => {
      use("rateLimiter");
      buckets.push(...requests.map(({ key }) => key));
      return { allowed: true, remaining: 1 };
    },
  };

  const answers = new Map<string, string>();
  const cache: Cache = {
    get: async (group, key) => {
      use("cache");
      return answers.get(`${group} ${key}`);
    },
    set: async (group, key, value) => void answers.set(`${group} ${key}`, value),
    delete: async () => answers.clear(),
  };

  // It stands still, and nobody waits longer than a moment.
  const now = Date.parse("2001-02-03T04:05:06.000Z");
  const clock: Clock = {
    now: () => {
      use("clock");
      return now;
    },
    sleep: (_ms, signal) =>
      new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true })),
  };

  let last = 0;
  const ids: Ids = {
    next: (prefix) => {
      use("ids");
      last += 1;
      return `${prefix}_host${String(last).padStart(6, "0")}`;
    },
    random: (bytes) => new Uint8Array(bytes).fill(7),
  };

  const asked: string[] = [];
  const authorizer: Authorizer = {
    allows: async (principal, permission) => {
      use("authorizer");
      if (principal.actor.type !== "system") asked.push(permission);
      return permission !== "orders:read";
    },
  };

  const lines: string[] = [];
  const line = (message: string) => {
    use("logger");
    lines.push(message);
  };
  const logger: Logger = { debug: line, info: line, warn: line, error: line };

  const sent: string[] = [];
  const http: HttpClient = {
    send: async ({ method, url, headers }) => {
      use("http");
      sent.push(`${method} ${url} ${headers?.["x-api-key"]}`);
      const text = JSON.stringify({ answer: 42 });
      return {
        status: 200,
        headers: new Headers({ "content-type": "application/json", etag: '"1"' }),
        url,
        bytes: () => Buffer.from(text),
        text: () => text,
        json: () => JSON.parse(text) as unknown,
      };
    },
  };

  const ports = { store, lease, bus, secrets, rateLimiter, cache, clock, ids, authorizer, logger, http };
  return { ports, used, published, kept, answers, buckets, asked, lines, sent };
}

/** Whoever follows events does so under a lease. */
const followingContext = defineContext(defineContract("following", {}, { events: [] }), {
  dependsOn: [orders],
  handlers: {},
  projections: [
    defineProjection("placed", {
      row: z.object({ customer: z.string() }),
      index: [],
      events: (on) => [on(OrderPlaced, (event, rows) => rows.put(event.aggregateId, { customer: "known" }))],
    }),
  ],
});

const oracle = defineConnector({
  id: "oracle",
  name: "Oracle",
  auth: { apiKey: apiKey({ header: "x-api-key" }) },
  http: { baseUrl: "https://oracle.example", limits: [{ name: "requests", capacity: 1, refillMs: 1_000, per: "app" }] },
  health: async () => ({ id: "1", name: "The oracle" }),
  actions: {
    ask: connectorAction({
      summary: "Asks.",
      risk: "read",
      input: z.strictObject({}),
      output: z.object({ answer: z.number() }),
      run: (_input, { http }) => http.get("/ask", { schema: z.object({ answer: z.number() }) }),
    }),
  },
});

it("every port can be the host's own, and then none of ours is used", async () => {
  const { ports, used, published, kept, answers, buckets, asked, lines, sent } = hostPorts();
  const app = await createArmature({ ...ports, connectors: [oracle], contexts: [ordersContext, followingContext] });
  const acme = app.as({ tenant: "acme", user: "ann" });
  app.on("committed", () => {
    throw new Error("for the log");
  });

  const { orderId } = await acme.orders.place({ customer: "Bo", total: { amount: 1, currency: "EUR" } });
  const { id: connectorId } = await acme.connectors.connectWithApiKey({ provider: "oracle", apiKey: "open sesame" });
  const { ask } = connectorActions(acme.connectors, oracle, connectorId);
  expect(await ask({})).toEqual({ answer: 42 });
  await expect(acme.orders.list()).rejects.toMatchObject({ code: "forbidden" });
  await app.settled();

  expect(Object.keys(used).sort()).toEqual(Object.keys(ports).sort());
  expect(orderId).toMatch(/^ord_host\d{6}$/);
  expect(published.map(({ type, time }) => `${type} ${time}`)).toEqual(
    expect.arrayContaining(["order.placed 2001-02-03T04:05:06.000Z", "connector.connected 2001-02-03T04:05:06.000Z"]),
  );
  expect([...kept.values()].join()).toContain("open sesame");
  expect([...answers.values()].join()).toContain("42");
  expect(buckets.join()).toContain("oracle");
  expect(sent).toContain("GET https://oracle.example/ask open sesame");
  expect(asked).toEqual(expect.arrayContaining(["orders:write", "connectors:invoke", "orders:read"]));
  expect(lines).toContain('A listener to "committed" failed');
  await app.close();
});

it("the guide names every port that can be given, and its suite", () => {
  const guide = readFileSync(path.join(import.meta.dirname, "../docs/guides/hosting.md"), "utf8");
  const rows = [...guide.matchAll(/^\| `(\w+)` +\|.*\| `(\w+)Suite` +\|$/gm)].map(([, option, suite]) => [
    option,
    suite,
  ]);
  expect(rows.map(([option]) => option).sort()).toEqual(Object.keys(hostPorts().ports).sort());
  const suites = readFileSync(path.join(import.meta.dirname, "../packages/conformance/src/index.ts"), "utf8");
  for (const [, suite] of rows) expect(suites).toContain(` ${suite}Suite }`);
});
