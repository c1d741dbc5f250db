import { inspect } from "node:util";
import { type Armature, type CloudEvent, GuardedHttpClient, type HttpRequest, Secret } from "@armature/core";
import { InProcessBus, inMemory } from "@armature/core/in-memory";
import { intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { recordSpans } from "../scenarios/spans.ts";
import { apiKey, hours, movableClock, provider, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const spans = recordSpans();

/** Everything that can be seen of an error: also what a logger that prints whole objects would show. */
function everythingOf(error: unknown): string {
  const shown = [String(error), JSON.stringify(error), inspect(error, { depth: 10, showHidden: true })];
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    shown.push(cause.message, cause.stack ?? "", JSON.stringify(Object.entries(cause)));
  return shown.join("\n");
}

/** Watches all the places where something may come to light that must not. */
async function watched() {
  const clock = movableClock();
  const errors: string[] = [];
  const published: CloudEvent[] = [];
  const canaries = new Map<string, string>();
  const bus = intercepted(new InProcessBus(clock));
  bus.around("publish", (proceed, [events]) => {
    published.push(...(events as CloudEvent[]));
    return proceed();
  });
  const origins = [sandbox.authorization.origin, sandbox.crm.origin];
  const http = intercepted(new GuardedHttpClient({ allowedOrigins: origins, clock }));
  http.around("send", async (proceed, [request]) => {
    const { headers, body } = request as HttpRequest;
    const authorization = headers?.["authorization"];
    if (authorization !== undefined) canaries.set(`header ${canaries.size}`, authorization.replace(/^\w+ /, ""));
    for (const [name, value] of new URLSearchParams(String(body)))
      if (["code", "refresh_token", "code_verifier"].includes(name)) canaries.set(`${name} ${canaries.size}`, value);
    return proceed();
  });
  const store = inMemory({ clock });
  const app = await sandbox.start({ store, clock, http: http.port, bus: bus.port, allowSecretReveal: true });
  const tenant = sandbox.tenant();
  const ann = app.as({ tenant, user: "ann" });
  /** Does it, and keeps what is thrown. */
  const attempt = async <T>(call: Promise<T>): Promise<T | undefined> => {
    try {
      return await call;
    } catch (error) {
      errors.push(everythingOf(error));
      return undefined;
    }
  };
  const everything = async (): Promise<Record<string, string>> => {
    await app.settled();
    const rows = await pages((after) => ann.audit.list({ limit: 200, after }));
    const events = await pages((after) => ann.audit.events({ limit: 200, after }));
    return {
      log: sandbox.logger.text(),
      audit: JSON.stringify(rows),
      events: JSON.stringify(events),
      bus: JSON.stringify(published),
      errors: errors.join("\n"),
      spans: JSON.stringify(
        spans
          .all()
          .map(({ name, attributes, events: noted, status, links }) => [name, attributes, noted, status, links]),
      ),
      connectors: JSON.stringify(await ann.connectors.list()),
    };
  };
  return { app, clock, store, tenant, ann, attempt, canaries, everything, errors };
}

async function pages<T>(read: (after: string | undefined) => Promise<{ items: T[]; next?: string | undefined }>) {
  const all: T[] = [];
  for (let after: string | undefined; ; ) {
    const page = await read(after);
    all.push(...page.items);
    if (page.next === undefined) return all;
    after = page.next;
  }
}

/** Makes the provider and its authorization server misbehave in every way while the connector is used. */
async function troubleEverywhere(app: Armature, tenant: string, connectorId: `con_${string}`, attempt: Attempt) {
  const { connectors } = app.as({ tenant, user: "ann" });
  const faults = [
    { kind: "garbage" },
    { kind: "wrong-shape" },
    { kind: "redirect" },
    { kind: "cut", when: "before" },
    { kind: "cut", when: "after" },
    { kind: "status", status: 401 },
    { kind: "status", status: 404 },
    { kind: "status", status: 500 },
    { kind: "oversized", bytes: 11_000_000 },
  ] as const;
  for (const fault of faults) {
    sandbox.crm.simulation.set(fault, { method: "POST" });
    const action = "mergeContacts";
    await attempt(connectors.invoke({ connectorId, action, input: { id: "a", duplicateId: "b" } }));
    await attempt(connectors.invoke({ connectorId, action, input: { id: 7 } }));
    sandbox.crm.simulation.lift();
  }
}
type Attempt = <T>(call: Promise<T>) => Promise<T | undefined>;

describe("no credential comes to light in a log, an event, an audit row, an error or a span", () => {
  test("of what an OAuth connection needs: the client's secret, codes, verifiers, access and refresh tokens", async () => {
    const { app, clock, tenant, ann, attempt, canaries, everything, errors } = await watched();
    canaries.set("client secret", "sandbox-client-secret");
    const { connectorId, query } = await sandbox.walk(app, tenant);
    canaries.set("state", query.get("state")!);
    await attempt(ann.connectors.completeAuthorization({ state: `${query.get("state")}x`, code: query.get("code")! }));
    await app.oauthCallback(query);
    await attempt(app.oauthCallback(query));
    await ann.connectors.check({ connectorId });

    for (const fault of [{ kind: "garbage" }, { kind: "wrong-shape" }, { kind: "status", status: 500 }] as const) {
      clock.skip(hours(2));
      sandbox.authorization.simulation.set(fault, { times: 1 });
      await attempt(ann.connectors.check({ connectorId }));
    }
    await ann.connectors.check({ connectorId });
    await troubleEverywhere(app, tenant, connectorId, attempt);
    const grant = sandbox.authorization.grants().findLast(({ account }) => account === tenant)!;
    sandbox.authorization.revokeGrant(grant.id);
    await attempt(ann.connectors.check({ connectorId }));
    const denied = await sandbox.walk(app, tenant, "deny", connectorId);
    await attempt(app.oauthCallback(denied.query));

    const kinds = new Set([...canaries.keys()].map((name) => name.split(" ")[0]));
    expect(kinds).toEqual(new Set(["client", "state", "code", "code_verifier", "header", "refresh_token"]));
    expect(errors.length).toBeGreaterThan(15);
    await expectNothing(canaries, everything);
  });

  test("of a connection with an API key", async () => {
    const { app, tenant, ann, attempt, canaries, everything } = await watched();
    canaries.set("key", apiKey);
    canaries.set("wrong key", "wrong-key-canary");
    canaries.set("odd key", "odd-key-canary");
    const connectorId = await sandbox.connectWithKey(app, tenant);
    await attempt(ann.connectors.connectWithApiKey({ provider, apiKey, connectorId }));
    await attempt(ann.connectors.connectWithApiKey({ provider: "hubspot", apiKey }));
    await attempt(ann.connectors.connectWithApiKey({ provider, apiKey: `${apiKey}${"x".repeat(5_000)}` }));
    await attempt(ann.connectors.connectWithApiKey({ provider, apiKey, more: apiKey } as never));
    for (const text of ["wrong-key-canary", "odd-key-canary\n", "odd-key-canary ☃"]) {
      const wrong = await attempt(ann.connectors.connectWithApiKey({ provider, apiKey: text }));
      if (wrong !== undefined) await attempt(ann.connectors.check({ connectorId: wrong.id }));
    }
    await troubleEverywhere(app, tenant, connectorId, attempt);
    await expectNothing(canaries, everything);
  });

  test("of a tenant's own secrets and API keys", async () => {
    const { app, store, tenant, ann, attempt, canaries, everything } = await watched();
    const value = "secret-value-canary";
    canaries.set("secret", value);
    await ann.secrets.put({ name: "smtp", value });
    await attempt(ann.secrets.put({ name: "smtp", value, expectedVersion: 7 }));
    await attempt(ann.secrets.put({ name: "not a name", value }));
    await ann.secrets.reveal({ name: "smtp" }, { idempotencyKey: "show" });
    await attempt(ann.secrets.reveal({ name: "smtp" }, { idempotencyKey: "show" }));
    const system = app.as({ tenant, system: "setup" });
    await system.identity.createTenant({ name: "Customer" });
    await system.identity.createUser({ userId: "ann", name: "Ann", roles: ["owner"] });
    const { key } = await ann.identity.createApiKey({ name: "ci" });
    canaries.set("api key", key.slice(-20));
    await app.authenticate(key);
    await attempt(app.authenticate(`${key}x`));
    // What is stored is sealed or hashed.
    const records = await store.records.list({ tenant, context: "secrets" }, { prefix: "", limit: 50 });
    for (const name of records) {
      const record = JSON.stringify(await store.records.get({ tenant, context: "secrets" }, name));
      for (const canary of canaries.values()) expect(record).not.toContain(canary);
    }
    await expectNothing(canaries, everything);
  });

  test("of the connector's definition, however it is printed", () => {
    const definition = sandbox.definition({ clientSecret: "definition-canary" });
    const shown = [JSON.stringify(definition), inspect(definition, { depth: 10, showHidden: true }), `${definition}`];
    for (const text of shown) expect(text).not.toContain("definition-canary");
    const secret = new Secret("value-canary");
    expect([`${secret}`, JSON.stringify({ secret }), inspect({ secret }, { showHidden: true })].join()).not.toContain(
      "value-canary",
    );
  });
});

async function expectNothing(
  canaries: ReadonlyMap<string, string>,
  everything: () => Promise<Record<string, string>>,
): Promise<void> {
  const places = await everything();
  for (const place of ["audit", "spans", "errors"]) expect(places[place]!.length, place).toBeGreaterThan(100);
  for (const [place, text] of Object.entries(places))
    for (const [name, canary] of canaries) {
      expect(canary.length, name).toBeGreaterThan(5);
      expect(text.includes(canary), `${name} in ${place}`).toBe(false);
      expect(text.includes(encodeURIComponent(canary)), `${name}, escaped, in ${place}`).toBe(false);
      expect(text.includes(Buffer.from(canary).toString("base64")), `${name}, in base64, in ${place}`).toBe(false);
    }
}
