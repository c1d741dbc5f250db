import { type Armature, type ContextDefinition, createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createKey, createTenant, type KeyRequest, ownerKey } from "./administration.ts";

let app: Armature;
beforeEach(async () => {
  app = await createArmature({ store: inMemory(), contexts: [] as readonly ContextDefinition[] });
  await createTenant(app, "acme", "Acme");
});
afterEach(() => app.close());

const request = (change: Partial<KeyRequest> = {}): KeyRequest => ({
  tenant: "acme",
  account: { type: "user", id: "ann" },
  role: "owner",
  limitedTo: undefined,
  name: "test",
  ...change,
});

describe("tenant create", () => {
  test("makes the tenant, as the server itself", async () => {
    const acme = app.as({ tenant: "acme", system: "test" });
    expect(await acme.identity.getTenant({})).toMatchObject({ tenantId: "acme", name: "Acme" });
    const [row] = (await acme.audit.list({})).items;
    expect(row).toMatchObject({ operation: "identity.createTenant", actor: { type: "system", id: "armature-server" } });
  });

  test("makes its owner with a first key", async () => {
    const { actor } = await app.authenticate(await createKey(app, ownerKey("acme", "ann")));
    expect(actor).toEqual({ type: "user", id: "ann" });
    expect(await app.as({ tenant: "acme", user: "ann" }).identity.listUsers({})).toMatchObject({
      items: [{ roles: ["owner"] }],
    });
  });

  test("does not make one twice", async () => {
    await expect(createTenant(app, "acme", undefined)).rejects.toThrow('The tenant "acme" exists already.');
  });
});

describe("key create", () => {
  test("makes the user with the role, and a key that works", async () => {
    const key = await createKey(app, request());
    expect(await app.authenticate(key)).toMatchObject({ tenant: "acme", actor: { type: "user", id: "ann" } });
    const { roles } = await app.as({ tenant: "acme", system: "test" }).identity.getUser({ userId: "ann" });
    expect(roles).toEqual(["owner"]);
  });

  test("makes a service account just as well, and limits the key", async () => {
    const account = { type: "service", id: "ci" } as const;
    const key = await createKey(app, request({ account, limitedTo: ["audit:read"] }));
    expect(await app.authenticate(key)).toMatchObject({ actor: account, limitedTo: ["audit:read"] });
  });

  test("makes another key for an account that exists, and leaves its roles alone", async () => {
    const first = await createKey(app, request());
    const second = await createKey(app, request({ role: undefined }));
    expect(second).not.toBe(first);
    await expect(createKey(app, request({ role: "reader" }))).rejects.toThrow(
      'The user "ann" exists already, without the role "reader"',
    );
  });

  test("does not make an account that could do nothing", async () => {
    await expect(createKey(app, request({ role: undefined }))).rejects.toThrow(
      'There is no user "ann" yet: give --role to create it.',
    );
  });

  test("needs a tenant that exists", async () => {
    await expect(createKey(app, request({ tenant: "nobody" }))).rejects.toThrow('There is no tenant "nobody".');
  });
});
