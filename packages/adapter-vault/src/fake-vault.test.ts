import { fixedClock } from "@armature/core/testing";
import { afterEach, describe, expect, it } from "vitest";
import { type FakeVault, type FakeVaultOptions, startFakeVault } from "./fake-vault.ts";

let fake: FakeVault;
afterEach(() => fake.close());

const clock = fixedClock();

async function start(options: Omit<FakeVaultOptions, "clock"> = { like: "vault" }) {
  fake = await startFakeVault({ ...options, clock });
  const root = fake.tokens.create({ policies: ["root"] });
  return async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${fake.address}/v1/${path}`, {
      method,
      headers: { "x-vault-token": root, ...headers },
      redirect: "manual",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };
}

/** The fake is worth as much as it is like the real ones: these are the answers that were recorded or read there. */
describe("the fake's KV engine answers as Vault's", () => {
  it("404 without errors for what never was, and 404 with metadata for what was deleted or destroyed", async () => {
    const ask = await start();
    expect(await ask("GET", "secret/data/a")).toEqual({ status: 404, body: { errors: [] } });
    await ask("POST", "secret/data/a", { data: { value: "1" } });
    await ask("DELETE", "secret/data/a");
    const deleted = await ask("GET", "secret/data/a");
    expect(deleted).toMatchObject({ status: 404, body: { data: { data: null, metadata: { version: 1 } } } });
    expect(deleted.body.data.metadata.deletion_time).not.toBe("");
    await ask("POST", "secret/data/a", { data: { value: "2" } });
    await ask("POST", "secret/destroy/a", { versions: [2] });
    const destroyed = await ask("GET", "secret/data/a");
    expect(destroyed).toMatchObject({ status: 404, body: { data: { data: null, metadata: { destroyed: true } } } });
  });

  it("400 and its sentence when check-and-set fails; 0 creates only, and a deleted version still counts", async () => {
    const ask = await start();
    const put = (cas: number) => ask("POST", "secret/data/a", { data: { value: "x" }, options: { cas } });
    const mismatch = { status: 400, body: { errors: ["check-and-set parameter did not match the current version"] } };
    expect(await put(1)).toEqual(mismatch);
    expect(await put(0)).toMatchObject({ status: 200, body: { data: { version: 1 } } });
    expect(await put(0)).toEqual(mismatch);
    await ask("DELETE", "secret/data/a");
    expect(await put(0)).toEqual(mismatch);
    expect(await put(1)).toMatchObject({ status: 200, body: { data: { version: 2 } } });
    await ask("DELETE", "secret/metadata/a");
    expect(await put(0)).toMatchObject({ status: 200, body: { data: { version: 1 } } });
  });

  it("keeps ten versions, or as many as it is told, and moves the oldest", async () => {
    const ask = await start();
    for (let count = 0; count < 12; count += 1) await ask("POST", "secret/data/a", { data: { value: `${count}` } });
    const { body } = await ask("GET", "secret/metadata/a");
    expect(body.data).toMatchObject({ current_version: 12, oldest_version: 3 });
    expect(await ask("GET", "secret/data/a?version=2")).toEqual({ status: 404, body: { errors: [] } });
    expect((await ask("GET", "secret/data/a?version=3")).body.data.data).toEqual({ value: "2" });
    fake.kv.config.maxVersions = 2;
    await ask("POST", "secret/data/a", { data: { value: "x" } });
    expect((await ask("GET", "secret/metadata/a")).body.data).toMatchObject({
      current_version: 13,
      oldest_version: 12,
    });
  });

  it("lists one folder, its folders with a slash, and 404 where there is nothing", async () => {
    const ask = await start();
    for (const path of ["b", "b/c", "b/d/e", "a"]) await ask("POST", `secret/data/${path}`, { data: { value: "x" } });
    expect((await ask("GET", "secret/metadata/?list=true")).body.data).toEqual({ keys: ["a", "b", "b/"] });
    expect((await ask("GET", "secret/metadata/b?list=true")).body.data).toEqual({ keys: ["c", "d/"] });
    expect(await ask("GET", "secret/metadata/a?list=true")).toEqual({ status: 404, body: { errors: [] } });
  });

  it("takes no path that leads elsewhere", async () => {
    const ask = await start();
    expect((await ask("GET", "secret/data/a//b")).status).toBe(301);
    expect((await ask("GET", "secret/data/a..b")).status).toBe(400);
    expect((await ask("GET", "secret/data/Zo%C3%AB")).status).toBe(400);
    expect((await ask("GET", "elsewhere/data/a")).body.errors[0]).toContain("no handler for route");
  });
});

describe("the fake's tokens live as Vault's", () => {
  it("no token is 400 for Vault and 403 for OpenBao; a bad or an expired one is 403 for both", async () => {
    for (const [like, status] of [
      ["vault", 400],
      ["openbao", 403],
    ] as const) {
      const ask = await start({ like });
      expect((await ask("GET", "secret/data/a", undefined, { "x-vault-token": "" })).status).toBe(status);
      expect((await ask("GET", "secret/data/a", undefined, { "x-vault-token": "bad" })).status).toBe(403);
      const short = fake.tokens.create({ policies: ["root"], ttlMs: 1_000 });
      expect((await ask("GET", "secret/data/a", undefined, { "x-vault-token": short })).status).toBe(404);
      await clock.advance(1_000);
      expect((await ask("GET", "secret/data/a", undefined, { "x-vault-token": short })).status).toBe(403);
      await fake.close();
    }
    await start();
  });

  it("a renewal near the longest life is 200 with a warning and less, and then 403", async () => {
    const ask = await start();
    const token = fake.tokens.create({ ttlMs: 60_000, maxTtlMs: 100_000 });
    const renew = () => ask("POST", "auth/token/renew-self", {}, { "x-vault-token": token });
    await clock.advance(30_000);
    expect((await renew()).body).toMatchObject({ warnings: null, auth: { lease_duration: 60 } });
    await clock.advance(40_000);
    const capped = await renew();
    expect(capped).toMatchObject({ status: 200, body: { auth: { lease_duration: 30 } } });
    expect(capped.body.warnings[0]).toContain("capped");
    await clock.advance(30_000);
    expect((await renew()).status).toBe(403);
  });

  it("a token that cannot be renewed is told so with 400", async () => {
    const ask = await start();
    const token = fake.tokens.create({ ttlMs: 60_000, renewable: false });
    const renewed = await ask("POST", "auth/token/renew-self", {}, { "x-vault-token": token });
    expect(renewed).toEqual({ status: 400, body: { errors: ["lease is not renewable"] } });
  });

  it("a login that fails is 400, and quotes the secret id", async () => {
    const ask = await start();
    const { roleId, secretId } = fake.tokens.role({}, 1);
    const login = (body: object) => ask("POST", "auth/approle/login", body, { "x-vault-token": "" });
    expect((await login({ role_id: roleId, secret_id: "wrong" })).status).toBe(400);
    expect((await login({ role_id: "wrong", secret_id: secretId })).status).toBe(400);
    expect((await login({ role_id: roleId })).status).toBe(400);
    expect((await login({ role_id: roleId, secret_id: secretId })).status).toBe(200);
    const used = await login({ role_id: roleId, secret_id: secretId });
    expect(used).toMatchObject({ status: 400 });
    expect(used.body.errors[0]).toContain(secretId);
  });

  it("policies give each path its capabilities", async () => {
    const ask = await start();
    fake.tokens.policy("reader", { "secret/data/a/*": ["read"], "secret/metadata/+/x": ["delete"] });
    const token = { "x-vault-token": fake.tokens.create({ policies: ["default", "reader"] }) };
    expect((await ask("GET", "secret/data/a/1", undefined, token)).status).toBe(404);
    expect((await ask("POST", "secret/data/a/1", { data: {} }, token)).status).toBe(403);
    expect((await ask("GET", "secret/data/b/1", undefined, token)).status).toBe(403);
    expect((await ask("DELETE", "secret/metadata/b/x", undefined, token)).status).toBe(204);
    expect((await ask("DELETE", "secret/metadata/b/c/x", undefined, token)).status).toBe(403);
    expect((await ask("GET", "auth/token/lookup-self", undefined, token)).status).toBe(200);
  });
});

describe("the fake as a whole is like a server", () => {
  it.each([
    ["active", 200],
    ["standby", 429],
    ["performance standby", 473],
    ["dr secondary", 472],
    ["uninitialized", 501],
    ["sealed", 503],
  ] as const)("tells that it is %s with %i", async (health, status) => {
    const ask = await start();
    fake.health = health;
    expect((await ask("GET", "sys/health")).status).toBe(status);
  });

  it("ignores namespaces as Vault, and answers 404 as OpenBao to those that do not exist", async () => {
    const namespace = { "x-vault-namespace": "teams/crm" };
    const asVault = await start({ like: "vault" });
    expect((await asVault("GET", "auth/token/lookup-self", undefined, namespace)).status).toBe(200);
    await fake.close();
    const asBao = await start({ like: "openbao", namespaces: ["teams/erp"] });
    const answer = await asBao("GET", "auth/token/lookup-self", undefined, namespace);
    expect(answer).toEqual({ status: 404, body: { errors: ["namespace not found"] } });
    expect((await asBao("GET", "sys/health", undefined, namespace)).status).toBe(400);
  });
});
