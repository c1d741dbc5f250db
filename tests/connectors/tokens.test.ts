import {
  type Armature,
  Canceled,
  ConnectorNeedsReauthorization,
  ConnectorNotConnected,
  connectorActions,
  DeadlineExceeded,
  type HeldLease,
  type Lease,
  oauth2,
  ProviderAnsweredGarbage,
  ProviderFailed,
  ProviderLimited,
  ProviderTimedOut,
  SealedSecretStore,
  type Secret,
  Secret as SecretOf,
  type SecretStore,
  systemIds,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { fixedClock, intercepted } from "@armature/core/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withoutServer } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { gate } from "../scenarios/bench.ts";
import { inMemoryPlace, keyEncryptionKey, type Place, pglitePlace, postgresPlace } from "../scenarios/place.ts";
import { hours, movableClock, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];
type ConnectorId = `con_${string}`;

const listOne = (app: Armature, tenant: string, connectorId: ConnectorId) => {
  const { connectors } = app.as({ tenant, user: "ann" });
  return connectorActions(connectors, sandbox.definition(), connectorId).listContacts({ limit: 1 });
};
const statusOf = (app: Armature, tenant: string, connectorId: ConnectorId) =>
  app.as({ tenant, user: "ann" }).connectors.get({ connectorId });
const eventTypes = async (app: Armature, tenant: string) =>
  (await app.as({ tenant, user: "ann" }).audit.events({ direction: "asc" })).items.map(({ type }) => type);

/** A tenant with a connection, and a clock that can make its token old. */
async function connected() {
  const clock = movableClock();
  const store = inMemory({ clock });
  const app = await sandbox.start({ store, clock });
  const tenant = sandbox.tenant();
  const connectorId = await sandbox.connect(app, tenant);
  /** The token is expired for everybody. */
  const expire = () => {
    clock.skip(hours(2));
    sandbox.authorization.expireAccessTokens();
  };
  return { clock, store, app, tenant, connectorId, expire };
}

/** Secrets as the app keeps them, whose writes can be held and fail. */
function interceptedSecrets(store: ReturnType<typeof inMemory>, clock = movableClock()) {
  const plain: SecretStore = new SealedSecretStore({
    store,
    ids: systemIds(clock),
    keyEncryptionKey: new SecretOf(keyEncryptionKey),
  });
  const secrets = intercepted(plain);
  /** Around the write of a token that has just been renewed. */
  const aroundRenewed = (interception: (proceed: () => Promise<unknown>) => unknown) =>
    secrets.around("put", (proceed, [, , value]) => {
      const text = (value as Secret<string>).reveal();
      return text.includes("rotationBegun") ? proceed() : interception(proceed);
    });
  return { secrets: secrets.port, aroundRenewed };
}

describe("a token that has expired", () => {
  test("is renewed with one request, however many callers find it expired, and the grant lives on", async () => {
    const { app, tenant, connectorId, expire } = await connected();
    expire();
    const before = sandbox.tokenRequests();
    const pages = await Promise.all(Array.from({ length: 100 }, () => listOne(app, tenant, connectorId)));
    expect(pages.map(({ contacts }) => contacts.length)).toEqual(Array.from({ length: 100 }, () => 1));
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(sandbox.grantAlive(tenant)).toBe(true);
    expire();
    await listOne(app, tenant, connectorId);
    expect(sandbox.tokenRequests() - before).toBe(2);
    expect(sandbox.grantAlive(tenant)).toBe(true);
    const refreshed = (await eventTypes(app, tenant)).filter((type) => type === "connector.credential_refreshed");
    expect(refreshed).toHaveLength(2);
  });

  test("is renewed with one request also when it lives for two seconds only", async () => {
    const { app, clock, store, tenant, connectorId, expire } = await connected();
    const other = await sandbox.start({ store, clock });
    sandbox.authorization.setAccessTokenSeconds(60);
    expire();
    sandbox.authorization.setAccessTokenSeconds(2);
    const before = sandbox.tokenRequests();
    const callers = Array.from({ length: 40 }, (_, at) => listOne(at % 2 === 0 ? app : other, tenant, connectorId));
    await Promise.all(callers);
    await listOne(app, tenant, connectorId);
    expect(sandbox.tokenRequests() - before).toBe(1);
  });

  test("is renewed a little before its end, and not before that", async () => {
    const { app, clock, tenant, connectorId } = await connected();
    const before = sandbox.tokenRequests();
    clock.skip(hours(1) - 20_000);
    await listOne(app, tenant, connectorId);
    expect(sandbox.tokenRequests()).toBe(before);
    clock.skip(16_000);
    await listOne(app, tenant, connectorId);
    expect(sandbox.tokenRequests()).toBe(before + 1);
  });

  test("is renewed also when the caller who began it has left, and the others get the new one", async () => {
    const { app, tenant, connectorId, expire } = await connected();
    expire();
    const before = sandbox.tokenRequests();
    sandbox.authorization.simulation.set({ kind: "hang", when: "before" }, { times: 1 });
    const { connectors } = app.as({ tenant, user: "ann" });
    const leaver = new AbortController();
    const left = connectors.check({ connectorId }, { signal: leaver.signal });
    await sandbox.authorization.simulation.untilHeld(1);
    const waiting = listOne(app, tenant, connectorId);
    leaver.abort();
    await expect(left).rejects.toThrow(Canceled);
    sandbox.authorization.simulation.lift();
    await waiting;
    expect(sandbox.tokenRequests() - before).toBe(1);
  });

  test("is stored before the application closes, although nobody waits for it any more", async () => {
    const { app, store, clock, tenant, connectorId, expire } = await connected();
    expire();
    sandbox.authorization.simulation.set({ kind: "hang", when: "after" }, { times: 1 });
    const { connectors } = app.as({ tenant, user: "ann" });
    const leaver = new AbortController();
    const left = expect(connectors.check({ connectorId }, { signal: leaver.signal })).rejects.toThrow(Canceled);
    await sandbox.authorization.simulation.untilHeld(1);
    leaver.abort();
    await left;
    const closing = app.close();
    sandbox.authorization.simulation.lift();
    await closing;
    const before = sandbox.tokenRequests();
    await listOne(await sandbox.start({ store, clock }), tenant, connectorId);
    expect(sandbox.tokenRequests()).toBe(before);
  });

  test("cannot be renewed without a refresh token, which is said at once", async () => {
    const crm = sandbox.definition();
    const own = crm.auth.oauth2!;
    const connectors = [
      { ...crm, auth: { oauth2: oauth2({ ...own, scopes: ["contacts.read"], parameters: { prompt: "login" } }) } },
    ];
    const clock = movableClock();
    const app = await sandbox.start({ clock, connectors });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    await listOne(app, tenant, connectorId);
    const before = sandbox.tokenRequests();
    clock.skip(hours(2));
    await expect(listOne(app, tenant, connectorId)).rejects.toThrow(ConnectorNeedsReauthorization);
    expect(sandbox.tokenRequests()).toBe(before);
    expect(await statusOf(app, tenant, connectorId)).toMatchObject({ reason: "refused" });
  });
});

describe.each(places)("two processes that find a token expired, $name", ({ make }) => {
  let place: Place;
  beforeAll(async () => {
    place = await make();
  });
  afterAll(() => place?.close());

  test("make one token request together, and all their callers succeed", async () => {
    const clock = movableClock();
    const start = async () => sandbox.start({ clock, store: await place.open() });
    const app = await start();
    await app.migrate();
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    const other = await start();
    clock.skip(hours(2));
    sandbox.authorization.expireAccessTokens();
    const before = sandbox.tokenRequests();
    const callers = Array.from({ length: 100 }, (_, at) => listOne(at % 2 === 0 ? app : other, tenant, connectorId));
    expect(await Promise.all(callers)).toHaveLength(100);
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(sandbox.grantAlive(tenant)).toBe(true);
    // The embedded database takes its time for a hundred callers on a busy machine.
  }, 60_000);
});

describe("a token that the provider refuses before its time", () => {
  test("is renewed once for all callers, and what was refused is asked again", async () => {
    const { app, tenant, connectorId } = await connected();
    sandbox.authorization.expireAccessTokens();
    const before = sandbox.tokenRequests();
    await Promise.all(Array.from({ length: 30 }, () => listOne(app, tenant, connectorId)));
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });

  test("and whose grant is gone: the connector needs to be authorized again, which every later call says by itself", async () => {
    const { app, tenant, connectorId } = await connected();
    const grant = sandbox.authorization.grants().findLast(({ account }) => account === tenant)!;
    sandbox.authorization.revokeGrant(grant.id);
    const needs = { code: ConnectorNeedsReauthorization.code, details: { connectorId, reason: "refused" } };
    const asked = sandbox.tokenRequests();
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => listOne(app, tenant, connectorId)));
    expect(sandbox.tokenRequests() - asked).toBe(1);
    for (const each of all) expect(each).toMatchObject({ status: "rejected", reason: needs });
    expect(await statusOf(app, tenant, connectorId)).toMatchObject({
      status: "needs-reauthorization",
      reason: "refused",
    });
    expect((await eventTypes(app, tenant)).at(-1)).toBe("connector.needs_reauthorization");
    const before = [sandbox.tokenRequests(), sandbox.crmAnswers()];
    await expect(listOne(app, tenant, connectorId)).rejects.toMatchObject(needs);
    const { connectors } = app.as({ tenant, user: "ann" });
    await expect(connectors.check({ connectorId })).rejects.toMatchObject(needs);
    expect([sandbox.tokenRequests(), sandbox.crmAnswers()]).toEqual(before);

    const again = await sandbox.walk(app, tenant, undefined, connectorId);
    await app.oauthCallback(again.query);
    await listOne(app, tenant, connectorId);
    expect((await statusOf(app, tenant, connectorId)).reason).toBeUndefined();
  });

  test("goes with its secret when the connector is authorized again", async () => {
    const { app, store, tenant, connectorId } = await connected();
    const { secrets } = interceptedSecrets(store);
    const [before] = await secrets.list(tenant, "connectors/");
    const grant = sandbox.authorization.grants().findLast(({ account }) => account === tenant)!;
    sandbox.authorization.revokeGrant(grant.id);
    await expect(listOne(app, tenant, connectorId)).rejects.toThrow(ConnectorNeedsReauthorization);
    const again = await sandbox.walk(app, tenant, undefined, connectorId);
    await app.oauthCallback(again.query);
    await app.settled();
    const after = await secrets.list(tenant, "connectors/");
    expect(after).toHaveLength(1);
    expect(after[0]).not.toBe(before);
  });
});

describe("a renewal that is cut off", () => {
  /** A lease whose holder is dead: it is not renewed any more. */
  const withoutRenewal = (lease: Lease): Lease => ({
    acquire: async (key, ttlMs) => {
      const held = await lease.acquire(key, ttlMs);
      return held && ({ ...held, renew: async () => false, release: async () => undefined } satisfies HeldLease);
    },
  });

  /** A process that is at the point of storing a renewed token; `die` leaves it there for ever. */
  async function atTheStore(when: "before" | "after") {
    const { app: first, clock, store, tenant, connectorId, expire } = await connected();
    await first.close();
    const { secrets, aroundRenewed } = interceptedSecrets(store, clock);
    const reached = gate();
    const end = gate();
    const dying = await sandbox.start({ store, clock, secrets, lease: withoutRenewal(store.lease) });
    const lift = aroundRenewed(async (proceed) => {
      if (when === "after") await proceed();
      reached.open();
      await end.opened;
      throw new Error("dead");
    });
    expire();
    const lost = listOne(dying, tenant, connectorId).catch(() => undefined);
    await reached.opened;
    // Its lease runs out.
    clock.skip(6_000);
    const bury = async () => {
      lift();
      clock.skip(60_000);
      end.open();
      await lost;
    };
    return { next: await sandbox.start({ store, clock }), tenant, connectorId, bury };
  }

  test("after the new token is stored loses nothing", async () => {
    const { next, tenant, connectorId, bury } = await atTheStore("after");
    const before = sandbox.tokenRequests();
    await listOne(next, tenant, connectorId);
    expect(sandbox.tokenRequests()).toBe(before);
    expect(sandbox.grantAlive(tenant)).toBe(true);
    await bury();
  });

  test("in the instant before needs a person, which is said at once and with the reason", async () => {
    const { next, tenant, connectorId, bury } = await atTheStore("before");
    const error = await listOne(next, tenant, connectorId).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConnectorNeedsReauthorization);
    expect(error.details).toEqual({ connectorId, reason: "interrupted" });
    expect(error.message).toContain("a token rotation was cut off before the new token was safe");
    expect(await statusOf(next, tenant, connectorId)).toMatchObject({
      status: "needs-reauthorization",
      reason: "interrupted",
    });
    const again = await sandbox.walk(next, tenant, undefined, connectorId);
    await next.oauthCallback(again.query);
    await listOne(next, tenant, connectorId);
    await bury();
  });

  test("by a store that stumbles is not: the new token is stored as soon as it stands again", async () => {
    const { clock, store, tenant, connectorId, expire, app } = await connected();
    await app.close();
    const { secrets, aroundRenewed } = interceptedSecrets(store, clock);
    const stumbling = await sandbox.start({ store, clock, secrets });
    let stumbles = 0;
    aroundRenewed(async (proceed) => {
      stumbles += 1;
      if (stumbles <= 2) throw new Error("not now");
      return proceed();
    });
    expire();
    const before = sandbox.tokenRequests();
    await Promise.all(Array.from({ length: 10 }, () => listOne(stumbling, tenant, connectorId)));
    expect(stumbles).toBe(3);
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });

  test("by a store that lost only its answer is not", async () => {
    const { clock, store, tenant, connectorId, expire, app } = await connected();
    await app.close();
    const { secrets, aroundRenewed } = interceptedSecrets(store, clock);
    const stumbling = await sandbox.start({ store, clock, secrets });
    const lift = aroundRenewed(async (proceed) => {
      lift();
      await proceed();
      throw new Error("the answer was lost");
    });
    expire();
    const before = sandbox.tokenRequests();
    await listOne(stumbling, tenant, connectorId);
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(await statusOf(stumbling, tenant, connectorId)).toMatchObject({ status: "connected" });
  });

  test("by a disconnection ends in what was asked for: nothing of the credential comes back", async () => {
    const { app, store, tenant, connectorId, expire } = await connected();
    expire();
    sandbox.authorization.simulation.set({ kind: "hang", when: "after" }, { times: 1 });
    const call = listOne(app, tenant, connectorId);
    const refused = expect(call).rejects.toThrow(ConnectorNotConnected);
    await sandbox.authorization.simulation.untilHeld(1);
    await app.as({ tenant, user: "ann" }).connectors.disconnect({ connectorId });
    await app.settled();
    sandbox.authorization.simulation.lift();
    await refused;
    expect(await interceptedSecrets(store).secrets.list(tenant, "connectors/")).toEqual([]);
    expect(await statusOf(app, tenant, connectorId)).toMatchObject({ status: "disconnected" });
  });
});

describe("when the token endpoint is in trouble", () => {
  test.each([
    ["fails", { kind: "status", status: 503 } as const, ProviderFailed],
    ["answers garbage", { kind: "garbage" } as const, ProviderAnsweredGarbage],
    ["answers something else", { kind: "wrong-shape" } as const, ProviderAnsweredGarbage],
    ["redirects to a private address", { kind: "redirect" } as const, ProviderAnsweredGarbage],
    ["answers without end", { kind: "oversized", bytes: 200_000 } as const, ProviderAnsweredGarbage],
    ["takes no more requests", { kind: "status", status: 429, retryAfter: "7" } as const, ProviderLimited],
  ])("and %s, callers hear of it, the credential stays, and later it works again", async (_what, fault, expected) => {
    const { app, tenant, connectorId, expire } = await connected();
    expire();
    sandbox.authorization.simulation.set(fault, { times: 1 });
    const error = await listOne(app, tenant, connectorId).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(expected);
    if (error instanceof ProviderLimited) expect(error.details.retryAfterMs).toBe(7_000);
    expect(await statusOf(app, tenant, connectorId)).toMatchObject({ status: "connected" });
    await listOne(app, tenant, connectorId);
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });

  test("and hangs, a caller waits no longer than it wanted, and later it works again", async () => {
    const clock = fixedClock(Date.now());
    const store = inMemory({ clock });
    const app = await sandbox.start({ store, clock });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    await clock.advance(hours(2));
    sandbox.authorization.simulation.set({ kind: "hang", when: "before" });
    const { connectors } = app.as({ tenant, user: "ann" });
    const hasty = expect(connectors.check({ connectorId }, { timeoutMs: 1_000 })).rejects.toThrow(DeadlineExceeded);
    await sandbox.authorization.simulation.untilHeld(1);
    const patient = expect(connectors.check({ connectorId })).rejects.toThrow(ProviderTimedOut);
    await clock.advance(1_000);
    await hasty;
    await clock.advance(14_000);
    await patient;
    sandbox.authorization.simulation.lift();
    expect(await connectors.check({ connectorId })).toMatchObject({ account: { id: tenant } });
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });

  test("because our own secret is wrong, nobody has to authorize again: it works once the secret is right", async () => {
    const { app, clock, store, tenant, connectorId, expire } = await connected();
    await app.close();
    const wrong = await sandbox.start({
      store,
      clock,
      connectors: [sandbox.definition({ clientSecret: "wrong" })],
    });
    expire();
    await expect(listOne(wrong, tenant, connectorId)).rejects.toThrow(ProviderFailed);
    expect(await statusOf(wrong, tenant, connectorId)).toMatchObject({ status: "connected" });
    await wrong.close();
    const right = await sandbox.start({ store, clock });
    await listOne(right, tenant, connectorId);
  });

  test("as its definition says: a refusal that passes does not cost the connection", async () => {
    const crm = sandbox.definition();
    const words: string[] = [];
    const classifyTokenError = (error: string) => {
      words.push(error);
      return "again" as const;
    };
    const own = crm.auth.oauth2!;
    const clock = movableClock();
    const app = await sandbox.start({
      clock,
      connectors: [{ ...crm, auth: { oauth2: oauth2({ ...own, classifyTokenError }) } }],
    });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    const grant = sandbox.authorization.grants().findLast(({ account }) => account === tenant)!;
    sandbox.authorization.revokeGrant(grant.id);
    await expect(listOne(app, tenant, connectorId)).rejects.toThrow(ProviderFailed);
    expect(words).toEqual(["invalid_grant"]);
    expect(await statusOf(app, tenant, connectorId)).toMatchObject({ status: "connected" });
  });
});
