import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inMemory } from "../../in-memory/index.ts";
import { AlreadyExists, Forbidden, InvalidInput, NotFound, Unauthenticated } from "../../kernel/errors.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { type FixedClock, fixedClock } from "../../testing/fixed-clock.ts";
import {
  AccountDisabled,
  AccountNotDisabled,
  LastOwner,
  RoleIsBuiltIn,
  RoleNameRetired,
  TenantAlreadySuspended,
} from "./contract.ts";

let clock: FixedClock;
let app: Armature;
const system = (tenant = "acme") => app.as({ tenant, system: "setup" }).identity;
const as = (user: string, tenant = "acme") => app.as({ tenant, user }).identity;

/** A tenant with the owner ann, and bob, who may manage identities and read connectors. */
beforeEach(async () => {
  clock = fixedClock();
  app = await createArmature({ store: inMemory(), clock, relay: false });
  await system().createTenant({ name: "Acme" });
  await system().createUser({ userId: "ann", name: "Ann", email: "ann@example.com", roles: ["owner"] });
  await system().createRole({ role: "admin", permissions: ["identity:*", "connectors:read"] });
  await system().createUser({ userId: "bob", name: "Bob", roles: ["admin"] });
});

afterEach(() => app.close());

describe("a tenant", () => {
  test("is created once, by the system alone", async () => {
    await expect(system().createTenant({ name: "Again" })).rejects.toThrow(AlreadyExists);
    await expect(as("ann").createTenant({ name: "Mine" })).rejects.toThrow(Forbidden);
    expect(await as("ann").getTenant()).toMatchObject({ tenantId: "acme", name: "Acme", status: "active" });
  });

  test("can be renamed by its own people", async () => {
    await as("ann").renameTenant({ name: "Acme Ltd" });
    expect((await as("bob").getTenant()).name).toBe("Acme Ltd");
  });

  test("does not know the users of another tenant", async () => {
    await system("globex").createTenant({ name: "Globex" });
    await system("globex").createUser({ userId: "gus", name: "Gus", roles: ["owner"] });
    await expect(as("gus", "globex").getUser({ userId: "ann" })).rejects.toThrow(NotFound);
    await expect(as("ann", "globex").getTenant()).rejects.toThrow(Forbidden);
    expect((await as("gus", "globex").listUsers()).items.map(({ userId }) => userId)).toEqual(["gus"]);
  });

  test("must exist before it can have users", async () => {
    await expect(system("nowhere").createUser({ userId: "ann", name: "Ann" })).rejects.toThrow(NotFound);
  });

  test("that is suspended lets nobody do anything, until the system resumes it", async () => {
    const { key } = await as("ann").createApiKey({ name: "laptop" });
    await expect(as("ann").suspendTenant({})).rejects.toThrow(Forbidden);
    await system().suspendTenant({ reason: "unpaid" });
    await expect(system().suspendTenant({})).rejects.toThrow(TenantAlreadySuspended);
    await expect(as("ann").getTenant()).rejects.toThrow(Forbidden);
    await expect(as("ann").whoAmI()).rejects.toThrow(Forbidden);
    await expect(app.authenticate(key)).rejects.toThrow(Unauthenticated);
    const agent = app.as({ tenant: "acme", agent: "merge", onBehalfOf: { type: "user", id: "ann" } });
    await expect(agent.identity.getTenant()).rejects.toThrow(Forbidden);

    await system().resumeTenant();
    expect((await as("ann").getTenant()).status).toBe("active");
    await app.authenticate(key);
  });
});

describe("users and service accounts", () => {
  test("are found by id and listed page by page", async () => {
    const { userId } = await as("ann").createUser({ name: "Cleo" });
    expect(userId).toMatch(/^usr_/);
    expect(await as("bob").getUser({ userId: "ann" })).toEqual({
      userId: "ann",
      version: 1,
      name: "Ann",
      email: "ann@example.com",
      roles: ["owner"],
      status: "active",
      createdAt: "2026-01-01T00:00:00.000Z",
    });
    const first = await as("bob").listUsers({ limit: 2 });
    expect(first.items.map((user) => user.userId)).toEqual(["ann", "bob"]);
    const second = await as("bob").listUsers({ limit: 2, after: first.next });
    expect(second.items.map((user) => user.userId)).toEqual([userId]);
    expect(second.next).toBeUndefined();
  });

  test("cannot be created twice under one id, also at the same moment", async () => {
    await expect(as("ann").createUser({ userId: "bob", name: "Bob again" })).rejects.toThrow(AlreadyExists);
    const both = await Promise.allSettled([1, 2].map(() => as("ann").createUser({ userId: "cleo", name: "Cleo" })));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(both.find((each) => each.status === "rejected")?.reason).toBeInstanceOf(AlreadyExists);
  });

  test("cannot have an e-mail address as their id, because ids stand in events", async () => {
    await expect(as("ann").createUser({ userId: "cleo@example.com", name: "Cleo" })).rejects.toThrow(InvalidInput);
  });

  test("a person's name and address are in no event and no audit row", async () => {
    await as("ann").updateUser({ userId: "bob", name: "Robert Canary", email: "canary@example.com" });
    const { items: events } = await app.as({ tenant: "acme", user: "ann" }).audit.events();
    const { items: rows } = await app.as({ tenant: "acme", user: "ann" }).audit.list();
    const text = JSON.stringify([events, rows]);
    expect(text).toContain("identity.user_updated");
    expect(text).toContain("identity.updateUser");
    expect(text).not.toMatch(/canary|ann@example\.com/i);
    expect((await as("ann").getUser({ userId: "bob" })).email).toBe("canary@example.com");
    await as("ann").updateUser({ userId: "bob", email: null });
    expect((await as("ann").getUser({ userId: "bob" })).email).toBeUndefined();
  });

  test("lose everything at once when they are disabled, and get it back when they are enabled", async () => {
    await as("bob").listUsers();
    await as("ann").disableUser({ userId: "bob" });
    await expect(as("bob").listUsers()).rejects.toThrow(Forbidden);
    await expect(as("ann").disableUser({ userId: "bob" })).rejects.toThrow(AccountDisabled);
    expect((await as("ann").listUsers({ status: "disabled" })).items.map(({ userId }) => userId)).toEqual(["bob"]);
    await as("ann").enableUser({ userId: "bob" });
    await as("bob").listUsers();
    await expect(as("ann").enableUser({ userId: "bob" })).rejects.toThrow(AccountNotDisabled);
  });

  test("are changed at the version that their caller has seen, also where a role or the tenant has their id", async () => {
    await system().createRole({ role: "acme", permissions: ["connectors:read"] });
    await system().renameTenant({ name: "Acme Ltd" });
    await system().updateRole({ role: "acme", permissions: ["connectors:write"] });
    await system().createUser({ userId: "acme", name: "Ann" });
    await system().setUserRoles({ userId: "acme", roles: ["acme", "owner"] }, { expectedVersion: 1 });
    expect((await system().getUser({ userId: "acme" })).version).toBe(2);
  });

  test("a service account has roles as a user has", async () => {
    const { serviceAccountId } = await as("ann").createServiceAccount({ name: "Importer" });
    const importer = app.as({ tenant: "acme", service: serviceAccountId }).identity;
    await expect(importer.listUsers()).rejects.toThrow(Forbidden);
    await as("ann").setServiceAccountRoles({ serviceAccountId, roles: ["admin"] });
    await importer.listUsers();
    expect(await importer.getServiceAccount({ serviceAccountId })).toMatchObject({
      name: "Importer",
      roles: ["admin"],
    });
    expect((await importer.listServiceAccounts()).items).toHaveLength(1);
    await as("ann").disableServiceAccount({ serviceAccountId });
    await expect(importer.listUsers()).rejects.toThrow(Forbidden);
    await as("ann").enableServiceAccount({ serviceAccountId });
    await importer.listUsers();
  });
});

describe("roles", () => {
  test("take effect at once when they change, and give nothing once deleted", async () => {
    await as("ann").createRole({ role: "clerk", permissions: ["identity:read"] });
    await as("ann").createUser({ userId: "cleo", name: "Cleo", roles: ["clerk"] });
    await as("cleo").listUsers();
    await as("ann").updateRole({ role: "clerk", permissions: ["audit:read"] });
    await expect(as("cleo").listUsers()).rejects.toThrow(Forbidden);
    await as("ann").updateRole({ role: "clerk", permissions: ["identity:read"] });
    await as("cleo").listUsers();
    await as("ann").deleteRole({ role: "clerk" });
    await expect(as("cleo").listUsers()).rejects.toThrow(Forbidden);
  });

  test("are listed with the built-in owner first", async () => {
    expect((await as("bob").listRoles()).items).toEqual([
      { role: "owner", permissions: ["*"], builtIn: true },
      { role: "admin", version: 1, permissions: ["identity:*", "connectors:read"], builtIn: false },
    ]);
  });

  test("the name of a deleted role is not given again, since users may still list it", async () => {
    await as("ann").deleteRole({ role: "admin" });
    await expect(as("ann").createRole({ role: "admin", permissions: [] })).rejects.toThrow(RoleNameRetired);
    await expect(as("ann").updateRole({ role: "admin", permissions: [] })).rejects.toThrow(NotFound);
    await expect(as("ann").createUser({ name: "Cleo", roles: ["admin"] })).rejects.toThrow(NotFound);
  });

  test("the owner role cannot be made, changed or deleted", async () => {
    await expect(as("ann").createRole({ role: "owner", permissions: [] })).rejects.toThrow(AlreadyExists);
    await expect(as("ann").updateRole({ role: "owner", permissions: [] })).rejects.toThrow(RoleIsBuiltIn);
    await expect(as("ann").deleteRole({ role: "owner" })).rejects.toThrow(RoleIsBuiltIn);
  });

  test("a role that does not exist cannot be given", async () => {
    await expect(as("ann").setUserRoles({ userId: "bob", roles: ["admin", "ghost"] })).rejects.toThrow(NotFound);
    expect((await as("ann").getUser({ userId: "bob" })).roles).toEqual(["admin"]);
  });

  test.each(["connectors", "Connectors:read", ":read", "connectors:", "**", "connectors:*:read", "a b:c"])(
    "%j is no permission",
    async (permission) => {
      await expect(as("ann").createRole({ role: "odd", permissions: [permission] })).rejects.toThrow(InvalidInput);
    },
  );
});

describe("nobody gives what they do not hold", () => {
  const forbidden = (permission: string) => ({ details: { permission } });

  test("not by making or changing a role", async () => {
    await expect(as("bob").createRole({ role: "all", permissions: ["*"] })).rejects.toMatchObject(forbidden("*"));
    await expect(as("bob").createRole({ role: "c", permissions: ["connectors:*"] })).rejects.toThrow(Forbidden);
    await expect(
      as("bob").updateRole({ role: "admin", permissions: ["identity:*", "secrets:reveal"] }),
    ).rejects.toMatchObject(forbidden("secrets:reveal"));
    await as("bob").createRole({ role: "reader", permissions: ["connectors:read"] });
  });

  test("not by giving a role, to a new account or an existing one, to themselves or others", async () => {
    await expect(as("bob").createUser({ name: "Eve", roles: ["owner"] })).rejects.toThrow(Forbidden);
    await expect(as("bob").createServiceAccount({ name: "Eve", roles: ["owner"] })).rejects.toThrow(Forbidden);
    await expect(as("bob").setUserRoles({ userId: "bob", roles: ["admin", "owner"] })).rejects.toThrow(Forbidden);
    await as("bob").createUser({ name: "Cleo", roles: ["admin"] });
  });

  test("not by enabling who holds more", async () => {
    await as("ann").createUser({ userId: "zoe", name: "Zoe", roles: ["owner"] });
    await as("ann").disableUser({ userId: "zoe" });
    await expect(as("bob").enableUser({ userId: "zoe" })).rejects.toThrow(Forbidden);
    await as("ann").enableUser({ userId: "zoe" });
  });

  test("but may leave and take away what they do not hold", async () => {
    await as("ann").createRole({ role: "money", permissions: ["billing:write"] });
    await as("ann").createUser({ userId: "cleo", name: "Cleo", roles: ["money"] });
    await as("bob").setUserRoles({ userId: "cleo", roles: ["money", "admin"] });
    await as("bob").setUserRoles({ userId: "cleo", roles: ["admin"] });
    await expect(as("bob").setUserRoles({ userId: "cleo", roles: ["admin", "money"] })).rejects.toThrow(Forbidden);
  });

  test("not by making a key for who holds more", async () => {
    const account = { type: "user", id: "ann" } as const;
    await expect(as("bob").createApiKey({ name: "hers", account })).rejects.toMatchObject(forbidden("*"));
    await expect(as("bob").createApiKey({ name: "hers", account, limitedTo: ["audit:read"] })).rejects.toThrow(
      Forbidden,
    );
    await as("bob").createApiKey({ name: "hers", account, limitedTo: ["connectors:read"] });
  });

  test("a key for somebody else does not grow with that account's roles, unless its maker held everything", async () => {
    await as("ann").createServiceAccount({ serviceAccountId: "importer", name: "Importer", roles: ["admin"] });
    const account = { type: "service", id: "importer" } as const;
    const bobs = await as("bob").createApiKey({ name: "by bob", account });
    const anns = await as("ann").createApiKey({ name: "by ann", account });
    await as("ann").setServiceAccountRoles({ serviceAccountId: "importer", roles: ["owner"] });
    const use = async (key: string) => app.as(await app.authenticate(key)).audit.list();
    await expect(use(bobs.key)).rejects.toThrow(Forbidden);
    await use(anns.key);
    expect((await app.as(await app.authenticate(bobs.key)).identity.whoAmI()).actor).toEqual(account);
  });

  test("a limited key cannot make itself an unlimited one", async () => {
    const { key } = await as("ann").createApiKey({ name: "limited", limitedTo: ["identity:keys", "audit:read"] });
    const limited = app.as(await app.authenticate(key)).identity;
    await expect(limited.createApiKey({ name: "unlimited" })).rejects.toThrow(Forbidden);
    await limited.createApiKey({ name: "as limited", limitedTo: ["audit:read"] });
  });
});

describe("the last owner", () => {
  test("can be neither disabled nor stripped", async () => {
    await expect(as("ann").disableUser({ userId: "ann" })).rejects.toThrow(LastOwner);
    await expect(as("ann").setUserRoles({ userId: "ann", roles: [] })).rejects.toThrow(LastOwner);
    await expect(system().disableUser({ userId: "ann" })).rejects.toThrow(LastOwner);
  });

  test("is whoever remains: a second owner lets the first one go", async () => {
    await as("ann").setUserRoles({ userId: "bob", roles: ["owner"] });
    await as("bob").setUserRoles({ userId: "ann", roles: ["admin"] });
    await expect(as("bob").disableUser({ userId: "bob" })).rejects.toThrow(LastOwner);
  });

  test("remains when two owners strip each other at the same moment", async () => {
    await as("ann").setUserRoles({ userId: "bob", roles: ["owner"] });
    const outcomes = await Promise.allSettled([
      as("ann").disableUser({ userId: "bob" }),
      as("bob").disableUser({ userId: "ann" }),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const { items } = await system().listUsers({ status: "active" });
    expect(items.filter(({ roles }) => roles.includes("owner"))).toHaveLength(1);
  });

  test("may be a service account", async () => {
    await as("ann").createServiceAccount({ serviceAccountId: "root", name: "Root", roles: ["owner"] });
    await as("ann").disableUser({ userId: "ann" });
    await expect(system().disableServiceAccount({ serviceAccountId: "root" })).rejects.toThrow(LastOwner);
  });
});

describe("API keys", () => {
  test("stand for their account, with its roles at the moment of each call", async () => {
    const { key, keyId } = await as("bob").createApiKey({ name: "laptop" });
    expect(key).toMatch(/^arm_acme_[0-9a-z]{26}_[0-9a-f]{64}$/);
    const principal = await app.authenticate(key);
    expect(principal).toEqual({ tenant: "acme", actor: { type: "user", id: "bob" }, credential: keyId });
    expect(await app.as(principal).identity.whoAmI()).toEqual({
      tenant: "acme",
      actor: { type: "user", id: "bob" },
      permissions: ["identity:self", "identity:*", "connectors:read"],
    });
    expect((await as("bob").listApiKeys()).items).toEqual([
      {
        keyId,
        version: 1,
        account: { type: "user", id: "bob" },
        name: "laptop",
        lastFour: key.slice(-4),
        createdAt: "2026-01-01T00:00:00.000Z",
      },
    ]);
  });

  test("stand in the audit beside their account", async () => {
    const { key, keyId } = await as("bob").createApiKey({ name: "laptop" });
    await app.as(await app.authenticate(key)).identity.createUser({ userId: "cleo", name: "Cleo" });
    await as("bob").createUser({ userId: "dan", name: "Dan" });
    const rows = await app.as({ tenant: "acme", user: "ann" }).audit.list({ operation: "identity.createUser" });
    expect(rows.items.map(({ target, credential }) => [target, credential]).slice(0, 2)).toEqual([
      ["dan", undefined],
      ["cleo", keyId],
    ]);
  });

  test("that expire make none that last longer, and none that last for ever", async () => {
    const at = (hours: number) => new Date(clock.now() + hours * 3_600_000).toISOString();
    const { key } = await as("bob").createApiKey({ name: "laptop", expiresAt: at(2) });
    const withKey = app.as(await app.authenticate(key)).identity;
    const beyond = { code: "identity.expiry_beyond_own", details: { expiresAt: at(2) } };
    await expect(withKey.createApiKey({ name: "for ever" })).rejects.toMatchObject(beyond);
    await expect(withKey.createApiKey({ name: "longer", expiresAt: at(3) })).rejects.toMatchObject(beyond);
    await withKey.createApiKey({ name: "as long", expiresAt: at(2) });
    const lasting = app.as(await app.authenticate((await as("bob").createApiKey({ name: "desk" })).key));
    await lasting.identity.createApiKey({ name: "for ever" });
  });

  test("are shown once: no event, audit row or repeated call has them", async () => {
    const options = { idempotencyKey: "make-key-1" };
    const { key } = await as("bob").createApiKey({ name: "laptop" }, options);
    await expect(as("bob").createApiKey({ name: "laptop" }, options)).rejects.toMatchObject({
      code: "idempotency.result_not_kept",
    });
    const everything = [
      await app.as({ tenant: "acme", user: "ann" }).audit.events(),
      await app.as({ tenant: "acme", user: "ann" }).audit.list(),
      await as("bob").listApiKeys(),
    ];
    const secret = key.split("_").at(-1)!;
    expect(JSON.stringify(everything)).toContain("identity.api_key_created");
    expect(JSON.stringify(everything)).not.toContain(secret);
    expect(everything[2]!.items).toHaveLength(1);
  });

  test.each<[string, () => Promise<unknown>]>([
    ["revoked", async () => as("bob").revokeApiKey({ keyId: (await as("bob").listApiKeys()).items[0]!.keyId })],
    ["disabled with its account", () => as("ann").disableUser({ userId: "bob" })],
    ["expired", () => clock.advance(60 * 60 * 1000)],
  ])("one that is %s is refused exactly as one that nobody knows", async (_why, end) => {
    const expiresAt = new Date(clock.now() + 60 * 60 * 1000).toISOString();
    const { key } = await as("bob").createApiKey({ name: "laptop", expiresAt });
    await app.authenticate(key);
    await end();
    const refusal = (text: string) => app.authenticate(text).then(Promise.reject, (error) => JSON.stringify(error));
    const unknown = await refusal(key.replace(/.{64}$/, "0".repeat(64)));
    expect(await refusal(key)).toBe(unknown);
    expect(await refusal(key.replace("_acme_", "_nowhere_"))).toBe(unknown);
    expect(await refusal("hunter2")).toBe(unknown);
    expect(unknown).toContain('"unauthenticated"');
  });

  test("of others are seen and revoked only by who may", async () => {
    await as("ann").createRole({ role: "self-service", permissions: ["identity:keys"] });
    await as("ann").createUser({ userId: "cleo", name: "Cleo", roles: ["self-service"] });
    const { keyId } = await as("bob").createApiKey({ name: "laptop" });
    await as("cleo").createApiKey({ name: "phone" });
    await expect(as("cleo").revokeApiKey({ keyId })).rejects.toThrow(Forbidden);
    await expect(as("cleo").listApiKeys({ accountType: "user", accountId: "bob" })).rejects.toThrow(Forbidden);
    await expect(as("cleo").createApiKey({ name: "x", account: { type: "user", id: "bob" } })).rejects.toThrow(
      Forbidden,
    );
    expect((await as("cleo").listApiKeys()).items.map(({ name }) => name)).toEqual(["phone"]);
    expect((await as("ann").listApiKeys({ accountType: "user", accountId: "bob" })).items).toHaveLength(1);
    await as("ann").revokeApiKey({ keyId });
  });

  test("need an account to belong to, one that exists and is not disabled", async () => {
    const make = (account?: Principal["onBehalfOf"]) => system().createApiKey({ name: "first", account });
    await expect(make()).rejects.toThrow(InvalidInput);
    await expect(make({ type: "user", id: "nobody" })).rejects.toThrow(NotFound);
    await as("ann").disableUser({ userId: "bob" });
    await expect(make({ type: "user", id: "bob" })).rejects.toThrow(AccountDisabled);
    const { key } = await make({ type: "user", id: "ann" });
    expect((await app.authenticate(key)).limitedTo).toBeUndefined();
  });

  test("an agent that makes one makes it for its user, with no more than the user has now", async () => {
    const agent = app.as({ tenant: "acme", agent: "helper", onBehalfOf: { type: "user", id: "bob" } });
    const { key } = await agent.identity.createApiKey({ name: "for bob" });
    const principal = await app.authenticate(key);
    expect(principal.actor).toEqual({ type: "user", id: "bob" });
    expect(principal.limitedTo).toEqual(["identity:self", "identity:*", "connectors:read"]);
  });
});

describe("who am I", () => {
  test("says what is left of a user's permissions behind an agent and a limit", async () => {
    const principal = {
      tenant: "acme",
      actor: { type: "agent", id: "merge" },
      onBehalfOf: { type: "user", id: "bob" },
      limitedTo: ["identity:read", "identity:self", "connectors:*", "audit:read"],
    } as const;
    expect(await app.as(principal).identity.whoAmI()).toEqual({
      tenant: "acme",
      actor: { type: "agent", id: "merge" },
      onBehalfOf: { type: "user", id: "bob" },
      permissions: ["identity:self", "identity:read", "connectors:read"],
    });
  });

  test("answers users without any role, and no strangers", async () => {
    await as("ann").createUser({ userId: "cleo", name: "Cleo" });
    expect((await as("cleo").whoAmI()).permissions).toEqual(["identity:self"]);
    await expect(as("nobody").whoAmI()).rejects.toThrow(Forbidden);
  });
});

describe("what Armature itself asks", () => {
  test("what an account may do is told to the system, and to no owner", async () => {
    const account = { type: "user", id: "bob" } as const;
    expect(await system().grantsOf({ account })).toEqual({
      permissions: ["identity:self", "identity:*", "connectors:read"],
    });
    expect(await system().grantsOf({ account: { type: "service", id: "bob" } })).toEqual({ permissions: [] });
    await expect(as("ann").grantsOf({ account })).rejects.toThrow(Forbidden);
  });

  test("whose key it is is told to the system, in the key's own tenant, and to no owner", async () => {
    const { key, keyId } = await as("bob").createApiKey({ name: "laptop", limitedTo: ["audit:read"] });
    const secretHash = createHash("sha256").update(key.split("_").at(-1)!).digest("hex");
    expect(await system().authenticateApiKey({ keyId, secretHash })).toEqual({
      tenant: "acme",
      actor: { type: "user", id: "bob" },
      limitedTo: ["audit:read"],
      credential: keyId,
    });
    await system("globex").createTenant({ name: "Globex" });
    await expect(system("globex").authenticateApiKey({ keyId, secretHash })).rejects.toThrow(Unauthenticated);
    await expect(as("ann").authenticateApiKey({ keyId, secretHash })).rejects.toThrow(Forbidden);
  });
});
