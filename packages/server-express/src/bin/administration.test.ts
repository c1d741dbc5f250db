import {
  type Armature,
  type ContextDefinition,
  createArmature,
  defineContext,
  defineContract,
  defineProjection,
  NotFound,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import {
  changeProjection,
  createKey,
  createTenant,
  type KeyRequest,
  listProjections,
  listTenants,
  ownerKey,
} from "./administration.ts";

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

describe("tenant list", () => {
  test("gives every tenant as it is now, in the order in which they were made", async () => {
    const store = inMemory();
    const many = await createArmature({ store, relay: false });
    const ids = Array.from({ length: 450 }, (_, at) => `t-${at}`);
    for (const id of ids) await createTenant(many, id, undefined);
    await many.as({ tenant: "t-7", system: "test" }).identity.renameTenant({ name: "Seven" });
    const listed: { tenantId?: string; name?: string }[] = [];
    for await (const tenant of listTenants(many, store.log)) listed.push(tenant);
    expect(listed.map(({ tenantId }) => tenantId)).toEqual(ids);
    expect(listed[7]).toMatchObject({ name: "Seven", status: "active" });
    await many.close();
  });

  test("gives nothing where there is none", async () => {
    const store = inMemory();
    const empty = await createArmature({ store, relay: false });
    for await (const tenant of listTenants(empty, store.log)) expect(tenant).toBeUndefined();
    await empty.close();
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

describe("projection", () => {
  const Seen = defineProjection("seen", { row: z.object({ n: z.int() }), events: () => [] });
  const context = defineContext(defineContract("desk", {}), { projections: [Seen], handlers: {} });

  test("is paused, resumed and rebuilt as the server itself, and listed with how far it is", async () => {
    await using host = await createArmature({ store: inMemory(), contexts: [context] });
    await host.settled();
    expect(await changeProjection(host, "pause", "desk.seen")).toBe('The projection "desk.seen" is paused.');
    expect(await changeProjection(host, "rebuild", "desk.seen")).toContain(
      'Generation 2 of the projection "desk.seen"',
    );
    expect(await listProjections(host)).toMatchObject([
      { projection: "desk.seen", paused: true, generations: [{ status: "serving" }, { status: "building" }] },
    ]);
    expect(await changeProjection(host, "resume", "desk.seen")).toBe('The projection "desk.seen" goes on.');
    await host.settled();
    expect(await listProjections(host)).toMatchObject([{ paused: false, generations: [{ generation: 2 }] }]);
    await expect(changeProjection(host, "pause", "desk.none")).rejects.toThrow(NotFound);
  });
});
