import { vault } from "@armature/adapter-vault";
import { type Armature, connectorActions, createArmature, Forbidden, type SecretStore } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger } from "@armature/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeVault, startFakeVault } from "../packages/adapter-vault/src/fake-vault.ts";
import { apiKey, hours, movableClock, useSandbox } from "./connectors/sandbox.ts";

const sandbox = useSandbox();
const CANARY = "s3cret-canary-77";

let fake: FakeVault;
let secrets: SecretStore;
beforeEach(async () => {
  fake = await startFakeVault({ like: "vault" });
  fake.tokens.policy("armature", {
    "secret/data/armature/*": ["create", "read", "update"],
    "secret/metadata/armature/*": ["list", "delete"],
  });
  const auth = fake.tokens.role({ policies: ["default", "armature"], ttlMs: hours(1) });
  secrets = vault({ address: fake.address, auth });
});
afterEach(() => fake.close());

/** Paths in Vault that hold something, below the deployment's folder. */
function held(folder = "armature"): readonly string[] {
  const { body } = fake.kv.list(folder) as { body: { data?: { keys: string[] } } };
  return (body.data?.keys ?? []).flatMap((key) =>
    key.endsWith("/") ? held(`${folder}/${key.slice(0, -1)}`) : [`${folder}/${key}`],
  );
}

describe("a tenant's secrets, kept in Vault", () => {
  let app: Armature;
  const logger = recordingLogger();
  afterEach(() => app.close());

  /** Acme with its owner ann, and bob, who may do nothing with secrets. */
  async function start() {
    app = await createArmature({ store: inMemory(), secrets, allowSecretReveal: true, relay: false, logger });
    const setup = app.as({ tenant: "acme", system: "setup" }).identity;
    await setup.createTenant({ name: "Acme" });
    await setup.createUser({ userId: "ann", name: "Ann", roles: ["owner"] });
    await setup.createUser({ userId: "bob", name: "Bob" });
    return app.as({ tenant: "acme", user: "ann" });
  }

  it("are written, listed, shown and deleted by who may", async () => {
    const ann = await start();
    expect(await ann.secrets.put({ name: "smtp", value: CANARY })).toEqual({ version: 1 });
    expect(await ann.secrets.put({ name: "smtp", value: `${CANARY}-2`, expectedVersion: 1 })).toEqual({ version: 2 });
    await expect(ann.secrets.put({ name: "smtp", value: "x", expectedVersion: 1 })).rejects.toMatchObject({
      code: "secret.version_conflict",
      details: { name: "smtp" },
    });
    await ann.secrets.put({ name: "sms.key", value: "x" });
    expect(await ann.secrets.list()).toEqual({ items: [{ name: "sms.key" }, { name: "smtp" }], next: undefined });
    expect(await ann.secrets.reveal({ name: "smtp" })).toEqual({ name: "smtp", version: 2, value: `${CANARY}-2` });
    expect(await ann.secrets.reveal({ name: "smtp", version: 1 })).toMatchObject({ value: CANARY });
    expect(held()).toEqual(["armature/acme/tenant/sms.key", "armature/acme/tenant/smtp"]);
    await ann.secrets.delete({ name: "smtp" });
    expect(held()).toEqual(["armature/acme/tenant/sms.key"]);

    const bob = app.as({ tenant: "acme", user: "bob" });
    await expect(bob.secrets.list()).rejects.toThrow(Forbidden);
    await expect(bob.secrets.put({ name: "smtp", value: "x" })).rejects.toThrow(Forbidden);
    const gus = app.as({ tenant: "globex", system: "test" });
    expect((await gus.secrets.list()).items).toEqual([]);
  });

  it("are nowhere else: not in an audit row, an event or a log", async () => {
    const ann = await start();
    await ann.secrets.put({ name: "smtp", value: CANARY });
    fake.health = "sealed";
    await expect(ann.secrets.put({ name: "smtp", value: `${CANARY}-3` })).rejects.toThrow();
    const rows = (await ann.audit.list()).items;
    expect(rows.filter(({ operation }) => operation === "secrets.put").map(({ outcome }) => outcome)).toHaveLength(2);
    expect(JSON.stringify([rows, await ann.audit.events({})]) + logger.text()).not.toContain("canary");
  });

  it("cannot be had while Vault is sealed, which readiness says too", async () => {
    const ann = await start();
    await ann.secrets.put({ name: "smtp", value: CANARY });
    await expect(app.ready()).resolves.toBeUndefined();
    fake.health = "sealed";
    await expect(ann.secrets.reveal({ name: "smtp" })).rejects.toMatchObject({ code: "vault.sealed" });
    await expect(app.ready()).rejects.toMatchObject({ code: "vault.sealed", kind: "unavailable" });
    fake.health = "active";
    await expect(app.ready()).resolves.toBeUndefined();
    expect(await ann.secrets.reveal({ name: "smtp" })).toMatchObject({ value: CANARY });
  });
});

describe("connectors' credentials, kept in Vault", () => {
  const listOne = (app: Armature, tenant: string, connectorId: `con_${string}`) =>
    connectorActions(app.as({ tenant, user: "ann" }).connectors, sandbox.definition(), connectorId).listContacts({
      limit: 1,
    });

  it("hold an API key for as long as the connection lasts", async () => {
    const app = await sandbox.start({ secrets });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connectWithKey(app, tenant);
    expect(held(`armature/${tenant}`)).toHaveLength(1);
    expect(held()[0]).toMatch(new RegExp(`^armature/${tenant}/connectors/${connectorId}/crd_[a-z0-9]+$`));
    expect((await secrets.get(tenant, held()[0]!.slice(`armature/${tenant}/`.length)))?.value.reveal()).toContain(
      apiKey,
    );
    expect((await listOne(app, tenant, connectorId)).contacts).toHaveLength(1);
    await app.as({ tenant, user: "ann" }).connectors.disconnect({ connectorId });
    await app.settled();
    expect(held()).toEqual([]);
  });

  it("are renewed with one request, however many callers in two processes find the token expired", async () => {
    const clock = movableClock();
    const store = inMemory({ clock });
    const app = await sandbox.start({ store, clock, secrets });
    const other = await sandbox.start({
      store,
      clock,
      secrets: vault({ address: fake.address, auth: fake.tokens.role({ policies: ["default", "armature"] }) }),
    });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    clock.skip(hours(2));
    sandbox.authorization.expireAccessTokens();
    const before = sandbox.tokenRequests();
    const callers = Array.from({ length: 60 }, (_, at) => listOne(at % 2 === 0 ? app : other, tenant, connectorId));
    expect(await Promise.all(callers)).toHaveLength(60);
    expect(sandbox.tokenRequests() - before).toBe(1);
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });

  it("survive that Vault's answer to the write of a renewed token is lost", async () => {
    const clock = movableClock();
    const app = await sandbox.start({ store: inMemory({ clock }), clock, secrets });
    const tenant = sandbox.tenant();
    const connectorId = await sandbox.connect(app, tenant);
    clock.skip(hours(2));
    sandbox.authorization.expireAccessTokens();
    const lost = fake.trouble("cut after", ({ method, body }) => {
      const value: unknown = method === "POST" ? JSON.parse(body).data?.value : undefined;
      return typeof value === "string" && !value.includes("rotationBegun");
    });
    expect((await listOne(app, tenant, connectorId)).contacts).toHaveLength(1);
    await lost;
    expect(await app.as({ tenant, user: "ann" }).connectors.get({ connectorId })).toMatchObject({
      status: "connected",
    });
    expect(sandbox.grantAlive(tenant)).toBe(true);
  });
});
