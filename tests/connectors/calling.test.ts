import {
  ActionUnknown,
  AddressRefused,
  type Armature,
  apiKey as apiKeyAuth,
  type Commit,
  ConnectorNotConnected,
  CredentialRefused,
  connectorAction,
  connectorActions,
  DeadlineExceeded,
  defineConnector,
  GuardedHttpClient,
  type HttpRequest,
  InternalError,
  InvalidInput,
  LimitExceeded,
  NotFound,
  ProviderAnsweredGarbage,
  ProviderFailed,
  ProviderLimited,
  ProviderRedirected,
  ProviderRefused,
  ProviderTimedOut,
  ProviderUnreachable,
  SecretUnreadable,
  UnknownOutcome,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { type FixedClock, fixedClock, intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { apiKey, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const grace = { firstName: "Grace", lastName: "Hopper", email: "grace@navy.example" };

/** An application whose time stands still, and a tenant with a connection by key. */
async function connectedWithKey(clock: FixedClock = fixedClock()) {
  const http = intercepted(new GuardedHttpClient({ allowedOrigins: [sandbox.crm.origin], clock }));
  const sent: HttpRequest[] = [];
  http.around("send", (proceed, [request]) => {
    sent.push(request as HttpRequest);
    return proceed();
  });
  const app = await sandbox.start({ clock, http: http.port, relay: false });
  const tenant = sandbox.tenant();
  const connectorId = await sandbox.connectWithKey(app, tenant);
  // What connecting has sent is not what the tests are about.
  sent.length = 0;
  const { connectors } = app.as({ tenant, user: "ann" });
  const crm = connectorActions(connectors, sandbox.definition(), connectorId);
  return { app, clock, tenant, connectorId, connectors, crm, sent };
}

/** Lets a call go through its waits, a tenth of a second at a time, without anybody waiting. */
async function hurry<T>(clock: FixedClock, call: Promise<T>): Promise<T> {
  let settled = false;
  const ended = call.then(
    () => {
      settled = true;
    },
    () => {
      settled = true;
    },
  );
  while (!settled) {
    // Nobody but a wait between two requests ends within so short a time.
    await Promise.race([ended, clock.untilSleeping(1, 5_000)]);
    if (!settled) await clock.advance(100);
  }
  return call;
}

describe("a provider that", () => {
  test.each([
    ["answers garbage", { kind: "garbage" } as const, ProviderAnsweredGarbage],
    ["answers in another shape", { kind: "wrong-shape" } as const, ProviderAnsweredGarbage],
    ["answers without end", { kind: "oversized", bytes: 11_000_000 } as const, ProviderAnsweredGarbage],
    ["redirects to a private address", { kind: "redirect" } as const, ProviderRedirected],
    ["knows no such thing", { kind: "status", status: 404 } as const, ProviderRefused],
    ["forbids it", { kind: "status", status: 403 } as const, ProviderRefused],
  ])("%s is told apart, asked once, and the next call works", async (_what, fault, expected) => {
    const { crm, sent } = await connectedWithKey();
    sandbox.crm.simulation.set(fault, { times: 1 });
    await expect(crm.listContacts({})).rejects.toThrow(expected);
    expect(sent).toHaveLength(1);
    await crm.listContacts({});
  });

  test("does not answer is given up at the caller's deadline, and at its own", async () => {
    const { clock, connectors, connectorId, crm } = await connectedWithKey();
    sandbox.crm.simulation.set({ kind: "hang", when: "before" });
    const hasty = connectors.check({ connectorId }, { timeoutMs: 1_000 });
    const told = expect(hasty).rejects.toThrow(DeadlineExceeded);
    await sandbox.crm.simulation.untilHeld(1);
    await clock.advance(1_000);
    await told;
    sandbox.crm.simulation.lift();
    sandbox.crm.simulation.set({ kind: "hang", when: "before" });
    const merge = expect(crm.mergeContacts({ id: "ct_0000005", duplicateId: "ct_0000006" })).rejects.toThrow(
      ProviderTimedOut,
    );
    await sandbox.crm.simulation.untilHeld(1);
    await clock.advance(10_000);
    await merge;
  });

  test("fails or cuts off is asked again where that does no harm, and no longer than it makes sense", async () => {
    const { clock, crm, sent } = await connectedWithKey();
    sandbox.crm.simulation.set({ kind: "status", status: 503 }, { times: 3 });
    expect((await hurry(clock, crm.listContacts({}))).contacts).not.toEqual([]);
    expect(sent).toHaveLength(4);
    sandbox.crm.simulation.set({ kind: "status", status: 500 }, { times: 4 });
    await expect(hurry(clock, crm.listContacts({}))).rejects.toMatchObject({ code: ProviderFailed.code });
    expect(sent).toHaveLength(8);
    sandbox.crm.simulation.set({ kind: "cut", when: "before" }, { times: 4 });
    await expect(hurry(clock, crm.getContact({ id: "ct_0000001" }))).rejects.toThrow(ProviderUnreachable);
    await crm.getContact({ id: "ct_0000001" });
  });

  test("cuts off after it did what was asked recognises the repetition by the key", async () => {
    const { clock, crm, sent } = await connectedWithKey();
    const before = sandbox.crm.stats().accounts["ann"]?.created ?? 0;
    sandbox.crm.simulation.set({ kind: "cut", when: "after" }, { times: 2, method: "POST" });
    const made = await hurry(clock, crm.createContact(grace));
    expect(made).toMatchObject(grace);
    expect(sandbox.crm.stats().accounts["ann"]!.created - before).toBe(1);
    expect(new Set(sent.map(({ headers }) => headers?.["idempotency-key"])).size).toBe(1);
    expect(sent).toHaveLength(3);
  });

  test("says what it takes is not asked again too early, whether it says seconds or a time", async () => {
    const clock = fixedClock("2026-03-01T12:00:00.000Z");
    const { crm, sent } = await connectedWithKey(clock);
    const waitedFor = async (retryAfter: string) => {
      const began = clock.now();
      const before = sent.length;
      sandbox.crm.simulation.set({ kind: "status", status: 429, retryAfter }, { times: 1 });
      await hurry(clock, crm.listContacts({}));
      expect(sent.length - before).toBe(2);
      return clock.now() - began;
    };
    expect(await waitedFor("3")).toBe(3_000);
    expect(await waitedFor(new Date(clock.now() + 4_000).toUTCString())).toBe(4_000);
    expect(await waitedFor("soon")).toBeLessThan(500);
    expect(await waitedFor("0")).toBeLessThan(500);
  });

  test("wants to be left alone for longer than the caller waits: the caller hears for how long", async () => {
    const { clock, crm, sent } = await connectedWithKey();
    const began = clock.now();
    sandbox.crm.simulation.set({ kind: "status", status: 429, retryAfter: "45" }, { times: 1 });
    await expect(crm.listContacts({})).rejects.toMatchObject({
      code: ProviderLimited.code,
      details: { retryAfterMs: 45_000 },
    });
    expect([sent.length, clock.now() - began]).toEqual([1, 0]);
  });

  test.each([
    ["fails", { kind: "status", status: 500 } as const, ProviderFailed],
    ["is at its limit", { kind: "status", status: 429, retryAfter: "1" } as const, ProviderLimited],
    ["cuts off before", { kind: "cut", when: "before" } as const, ProviderUnreachable],
    ["cuts off after", { kind: "cut", when: "after" } as const, ProviderUnreachable],
    ["answers garbage", { kind: "garbage" } as const, ProviderAnsweredGarbage],
  ])("%s never gets twice what would happen twice", async (_what, fault, expected) => {
    const { crm, sent } = await connectedWithKey();
    sandbox.crm.simulation.set(fault, { method: "POST" });
    const merge = () =>
      crm.mergeContacts({ id: "ct_0000001", duplicateId: "ct_0000002" }, { idempotencyKey: "merge-1" });
    await expect(merge()).rejects.toThrow(expected);
    expect(sent).toHaveLength(1);
    sandbox.crm.simulation.lift();
    await expect(merge()).rejects.toThrow(UnknownOutcome);
    await expect(merge()).rejects.toThrow(UnknownOutcome);
    expect(sent).toHaveLength(1);
  });

  test("refuses a key says so, and is asked once", async () => {
    const { connectors, sent } = await connectedWithKey();
    await expect(connectors.connectWithApiKey({ provider: "sandbox-crm", apiKey: "revoked" })).rejects.toThrow(
      CredentialRefused,
    );
    expect(sent).toHaveLength(1);
  });
});

describe("a call", () => {
  test("of what the provider does not offer, or with an input that does not fit, sends nothing", async () => {
    const { connectors, connectorId, sent } = await connectedWithKey();
    for (const action of ["deleteEverything", "constructor", "__proto__", "toString"])
      await expect(connectors.invoke({ connectorId, action }), action).rejects.toThrow(ActionUnknown);
    for (const input of [{}, { id: 7 }, { id: "x", more: true }, { id: { $ne: null } }])
      await expect(connectors.invoke({ connectorId, action: "getContact", input })).rejects.toThrow(InvalidInput);
    await expect(connectors.invoke({ connectorId, action: "getContact", input: [] as never })).rejects.toThrow(
      InvalidInput,
    );
    expect(sent).toEqual([]);
  });

  test("with another tenant's connector, one that does not exist or one that is not connected sends nothing", async () => {
    const { app, connectors, connectorId, sent } = await connectedWithKey();
    const globex = app.as({ tenant: sandbox.tenant(), user: "ann" });
    const call = { action: "listContacts" };
    await expect(globex.connectors.invoke({ ...call, connectorId })).rejects.toThrow(NotFound);
    await expect(globex.connectors.check({ connectorId })).rejects.toThrow(NotFound);
    await expect(globex.connectors.disconnect({ connectorId })).rejects.toThrow(NotFound);
    await expect(connectors.invoke({ ...call, connectorId: "con_0" })).rejects.toThrow(NotFound);
    await expect(connectors.invoke({ ...call, connectorId: "con_../x" as never })).rejects.toThrow(InvalidInput);
    await connectors.disconnect({ connectorId });
    await expect(connectors.invoke({ ...call, connectorId })).rejects.toThrow(ConnectorNotConnected);
    expect(sent).toEqual([]);
  });

  test("with the same key asks the provider once", async () => {
    const { crm, sent } = await connectedWithKey();
    const create = () => crm.createContact({ ...grace, email: "once@navy.example" }, { idempotencyKey: "create-1" });
    const [first, second] = [await create(), await create()];
    expect(second).toEqual(first);
    expect(sent).toHaveLength(1);
  });

  test("whose first attempt was lost is made again with the provider's own key", async () => {
    const { clock, crm, sent } = await connectedWithKey();
    const before = sandbox.crm.stats().accounts["ann"]?.created ?? 0;
    const create = () => crm.createContact({ ...grace, email: "lost@navy.example" }, { idempotencyKey: "create-2" });
    sandbox.crm.simulation.set({ kind: "cut", when: "after" }, { times: 4, method: "POST" });
    await expect(hurry(clock, create())).rejects.toThrow(ProviderUnreachable);
    expect(await create()).toMatchObject({ email: "lost@navy.example" });
    expect(new Set(sent.map(({ headers }) => headers?.["idempotency-key"])).size).toBe(1);
    expect(sandbox.crm.stats().accounts["ann"]!.created - before).toBe(1);
  });

  test("reaches no address that the host has not listed, whatever the connector says", async () => {
    const app = await sandbox.start({ allowedOrigins: [] });
    await expect(sandbox.connectWithKey(app, sandbox.tenant())).rejects.toThrow(AddressRefused);
  });

  test("whose credential was sealed with another key says that it cannot be read", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connectWithKey(app, tenant);
    const other = await sandbox.start({ store, keyEncryptionKey: Buffer.alloc(32, 1).toString("base64") });
    const { connectors } = other.as({ tenant, user: "ann" });
    await expect(connectors.check({ connectorId })).rejects.toThrow(SecretUnreadable);
  });
});

describe("a connector that a host has written", () => {
  const anything = z.record(z.string(), z.json());

  /** A connector to the CRM with one action, which asks for the path that it is given. */
  function custom(
    limits: Parameters<typeof defineConnector>[0]["http"]["limits"] = [],
    run?: (path: string) => Promise<Record<string, never>>,
  ) {
    return defineConnector({
      id: "custom",
      name: "Custom",
      auth: { apiKey: apiKeyAuth({ header: "x-api-key" }) },
      http: { baseUrl: `${sandbox.crm.origin}/contacts`, limits },
      health: async () => ({ id: "x", name: "x" }),
      actions: {
        ask: connectorAction({
          summary: "Asks.",
          risk: "read",
          input: z.strictObject({ path: z.string() }),
          output: anything,
          run: async ({ path }, { http }) => (run === undefined ? http.get(path, { schema: anything }) : run(path)),
        }),
      },
    });
  }

  async function connectedTo(definition: ReturnType<typeof custom>, clock = fixedClock()) {
    const app = await sandbox.start({ clock, connectors: [definition], relay: false });
    const connect = async (tenant: string) => {
      const { connectors } = app.as({ tenant, user: "ann" });
      const { id } = await connectors.connectWithApiKey({ provider: "custom", apiKey });
      return {
        ask: (path: string, options?: { timeoutMs: number }) =>
          connectorActions(connectors, definition, id).ask({ path }, options),
      };
    };
    return { app, clock, connect };
  }

  test("cannot be led elsewhere by a path that came from a caller", async () => {
    const { connect } = await connectedTo(custom());
    const { ask } = await connect(sandbox.tenant());
    const before = sandbox.crmAnswers();
    for (const path of ["@evil.example/x", ".evil.example/x", "x", "", "/../me", "/%2e%2e/me", "/x/../../me"])
      await expect(ask(path), path).rejects.toThrow(InternalError);
    expect(sandbox.crmAnswers()).toBe(before);
    expect(await ask("/ct_0000001")).toMatchObject({ id: "ct_0000001" });
  });

  test("keeps to a limit that each connection has for itself", async () => {
    const limit = { name: "requests", per: "connector", capacity: 2, refillMs: 2_000 } as const;
    const { clock, connect } = await connectedTo(custom([limit]));
    const began = clock.now();
    const [one, other] = [await connect(sandbox.tenant()), await connect(sandbox.tenant())];
    for (const { ask } of [one, one, other, other]) await ask("/ct_0000001");
    expect(clock.now()).toBe(began);
    await hurry(clock, one.ask("/ct_0000001"));
    expect(clock.now() - began).toBe(1_000);
  });

  test("keeps to a limit that all tenants share", async () => {
    const limit = { name: "quota", per: "app", share: 1, capacity: 2, refillMs: 2_000 } as const;
    const { clock, connect } = await connectedTo(custom([limit]));
    const began = clock.now();
    const [one, other] = [await connect(sandbox.tenant()), await connect(sandbox.tenant())];
    for (const { ask } of [one, other]) await ask("/ct_0000001");
    await hurry(clock, other.ask("/ct_0000001"));
    expect(clock.now() - began).toBe(1_000);
  });

  test("tells a caller for whom the wait would be too long, and sends nothing", async () => {
    const limit = { name: "quota", per: "app", share: 1, capacity: 1, refillMs: 20_000 } as const;
    const { connect } = await connectedTo(custom([limit]));
    const { ask } = await connect(sandbox.tenant());
    await ask("/ct_0000001");
    const before = sandbox.crmAnswers();
    await expect(ask("/ct_0000001", { timeoutMs: 10_000 })).rejects.toMatchObject({
      code: LimitExceeded.code,
      details: { limit: "provider custom", retryAfterMs: 20_000 },
    });
    expect(sandbox.crmAnswers()).toBe(before);
  });

  test("and that gives what it did not declare, or throws, fails without telling anything of it", async () => {
    for (const run of [
      async () => "not an object" as never,
      async () => {
        throw new Error("canary");
      },
    ]) {
      const { connect } = await connectedTo(custom([], run));
      const { ask } = await connect(sandbox.tenant());
      const error = await ask("/x").catch((thrown) => thrown);
      expect(error).toBeInstanceOf(InternalError);
      expect(JSON.stringify(error)).not.toMatch(/canary|not an object/);
    }
  });
});

describe("a connector that is disconnected", () => {
  const secretsOf = async (app: Armature, tenant: string, store: ReturnType<typeof inMemory>) => {
    await app.settled();
    const names = await store.records.list({ tenant, context: "secrets" }, { prefix: "secret/connectors/", limit: 50 });
    const records = await Promise.all(names.map((name) => store.records.get({ tenant, context: "secrets" }, name)));
    return records.filter((record) => JSON.stringify(record).includes("sealed"));
  };

  test("leaves nothing of its credential", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    expect(await secretsOf(app, tenant, store)).toHaveLength(1);
    const { connectors, audit } = app.as({ tenant, user: "ann" });
    await connectors.disconnect({ connectorId });
    expect(await secretsOf(app, tenant, store)).toEqual([]);
    await expect(connectors.disconnect({ connectorId })).rejects.toThrow(ConnectorNotConnected);
    expect(await connectors.get({ connectorId })).toMatchObject({ status: "disconnected" });
    const { items } = await audit.list({ operation: "connectors.forgetCredential" });
    expect(items.map(({ outcome }) => outcome)).toEqual(["succeeded"]);
  });

  test("is every one of a tenant that is suspended, and nobody else's", async () => {
    const store = inMemory();
    const app = await sandbox.start({ store });
    const [tenant, other] = [sandbox.tenant(), sandbox.tenant()];
    const theirs = await sandbox.connectWithKey(app, other);
    const mine = [await sandbox.connect(app, tenant)];
    for (let made = 0; made < 3; made += 1) mine.push(await sandbox.connectWithKey(app, tenant));
    const system = app.as({ tenant, system: "setup" });
    await system.identity.createTenant({ name: "Customer" });
    await system.identity.suspendTenant({ reason: "unpaid" });
    expect(await secretsOf(app, tenant, store)).toEqual([]);
    const { items } = await system.connectors.list();
    expect(items.map(({ id, status }) => [id, status])).toEqual(mine.map((id) => [id, "disconnected"]).sort());
    await app.as({ tenant: other, user: "ann" }).connectors.check({ connectorId: theirs });
  });

  test("is one too that was completed in the instant in which its tenant was suspended", async () => {
    const store = inMemory();
    const held = intercepted(store);
    const app = await sandbox.start({ store: held.port });
    const tenant = sandbox.tenant();
    const system = app.as({ tenant, system: "setup" });
    await system.identity.createTenant({ name: "Customer" });
    await app.settled();
    let meanwhile = false;
    const lift = held.around("commit", async (go, [, commit]) => {
      const connects = (commit as Commit).parts.some(({ events }) =>
        events.some(({ type }) => type === "connector.connected"),
      );
      if (connects) {
        // Everything that follows from the suspension has looked at the connectors before this one is there.
        await system.identity.suspendTenant({ reason: "unpaid" });
        await app.settled();
        meanwhile = true;
      }
      return go();
    });
    const connectorId = await sandbox.connectWithKey(app, tenant);
    expect(meanwhile).toBe(true);
    await app.settled();
    expect(await system.connectors.get({ connectorId })).toMatchObject({ status: "disconnected" });
    expect(await secretsOf(app, tenant, store)).toEqual([]);
    // Once the tenant is back, it can connect again.
    await system.identity.resumeTenant();
    lift();
    const again = await sandbox.connectWithKey(app, tenant);
    await app.settled();
    expect(await system.connectors.get({ connectorId: again })).toMatchObject({ status: "connected" });
  });
});
