import { createServer } from "node:net";
import { type ArmatureError, ProviderUnreachable, Secret } from "@armature/core";
import { type FixedClock, fixedClock } from "@armature/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeVault, startFakeVault } from "./fake-vault.ts";
import { vault } from "./vault.ts";

let clock: FixedClock;
let fake: FakeVault;
beforeEach(async () => {
  clock = fixedClock();
  fake = await startFakeVault({ like: "vault", clock });
});
afterEach(() => fake.close());

const auth = () => ({ token: fake.tokens.create({ policies: ["root"] }) });
const storeOf = (options: object = {}) => vault({ address: fake.address, auth: auth(), clock, ...options });

/** Lets a call go on to its end: the clock moves whenever it pauses between two attempts. */
async function throughPauses<T>(call: Promise<T>): Promise<T> {
  let over = false;
  const end = call.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  while (!over) {
    await Promise.race([end, clock.untilSleeping(1, 1_000)]);
    if (!over) await clock.advance(1_000);
  }
  return call;
}

const failure = (call: Promise<unknown>): Promise<ArmatureError> =>
  throughPauses(call).then(
    (value) => expect.fail(`expected a rejection, but got ${JSON.stringify(value)}`),
    (error: ArmatureError) => error,
  );

describe("a ping", () => {
  it("succeeds on the active node, and on a standby that hands requests on", async () => {
    const store = storeOf();
    for (const health of ["active", "standby", "performance standby"] as const) {
      fake.health = health;
      await expect(store.ping()).resolves.toBeUndefined();
    }
  });

  it.each([
    ["sealed", "vault.sealed"],
    ["uninitialized", "vault.not_initialized"],
    ["dr secondary", "vault.unavailable"],
  ] as const)("says that Vault is %s", async (health, code) => {
    fake.health = health;
    expect(await failure(storeOf().ping())).toMatchObject({ code, kind: "unavailable" });
  });

  it("says when the token is not good for the mount", async () => {
    expect(await failure(storeOf({ auth: { token: "hvs.unknown" } }).ping())).toMatchObject({ code: "vault.refused" });
    expect(await failure(storeOf({ mount: "nowhere" }).ping())).toMatchObject({ code: "vault.refused" });
  });

  it("says when the engine at the mount keeps no versions", async () => {
    expect(await failure(storeOf({ mount: "old" }).ping())).toMatchObject({ code: "vault.mount_unusable" });
  });

  it("asks about the server's health without a namespace, where OpenBao refuses it", async () => {
    await fake.close();
    fake = await startFakeVault({ like: "openbao", clock, namespaces: ["teams/crm"] });
    await expect(storeOf({ namespace: "teams/crm" }).ping()).resolves.toBeUndefined();
    const namespaces = fake.requests.map(({ path, namespace }) => [path.split("/")[1], namespace]);
    expect(namespaces).toEqual([
      ["health", ""],
      ["token", "teams/crm"],
      ["internal", "teams/crm"],
    ]);
  });
});

describe("a Vault that cannot answer", () => {
  it("is sealed: every call says so at once, and works again when it is unsealed", async () => {
    const store = storeOf();
    await store.put("acme", "key", new Secret("x"));
    fake.health = "sealed";
    const before = fake.requests.length;
    for (const call of [
      () => store.get("acme", "key"),
      () => store.put("acme", "key", new Secret("y")),
      () => store.put("acme", "key", new Secret("y"), 1),
      () => store.delete("acme", "key"),
      () => store.list("acme", ""),
    ])
      expect(await failure(call())).toMatchObject({ code: "vault.sealed", kind: "unavailable" });
    expect(fake.requests.length - before).toBe(5);
    fake.health = "active";
    expect((await store.get("acme", "key"))?.value.reveal()).toBe("x");
  });

  it("that is not there is unavailable, after three attempts of a read", async () => {
    const reserved = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => reserved.once("listening", resolve));
    const { port } = reserved.address() as { port: number };
    await new Promise((resolve) => reserved.close(resolve));
    const error = await failure(storeOf({ address: `http://127.0.0.1:${port}` }).get("acme", "key"));
    expect(error).toMatchObject({ code: "vault.unavailable", kind: "unavailable" });
    expect(error.message).toContain("the connection was refused");
  });

  it("and stumbles twice, answers a read the third time", async () => {
    const store = storeOf();
    await store.put("acme", "key", new Secret("x"));
    const isRead = ({ method, path }: { method: string; path: string }) =>
      method === "GET" && path.startsWith("secret");
    fake.trouble({ status: 502, body: "<html>Bad gateway</html>" }, isRead);
    fake.trouble("cut before", isRead);
    const read = throughPauses(store.get("acme", "key"));
    expect((await read)?.value.reveal()).toBe("x");
  });

  it("and never answers, times out", async () => {
    const store = storeOf({ timeoutMs: 2_000 });
    await store.get("acme", "key");
    const hanging = fake.trouble("hang before");
    const read = failure(store.get("acme", "key"));
    await hanging;
    await clock.advance(2_000);
    expect(await read).toMatchObject({ code: "vault.timed_out", kind: "timeout", details: { timeoutMs: 2_000 } });
  });

  it.each([
    [{ status: 429, body: '{"errors":["request path \\"secret/x\\": rate limit quota exceeded"]}' }, "rate limit"],
    [{ status: 500, body: '{"errors":["local node not active but active cluster node not found"]}' }, "status 500"],
    [{ status: 503, body: '{"errors":["no active Vault instance found"]}' }, "status 503"],
    [{ status: 412, body: '{"errors":["required index state not present"]}' }, "behind the active one"],
    [{ status: 307, body: "", location: "https://elsewhere.example/v1/secret/x" }, "does not forward"],
  ])("says with %j that it is not the moment", async (trouble, sentence) => {
    const store = storeOf();
    await store.get("acme", "key");
    for (let attempt = 0; attempt < 3; attempt += 1) fake.trouble(trouble);
    const error = await failure(store.get("acme", "key"));
    expect(error).toMatchObject({ code: "vault.unavailable" });
    expect(error.message).toContain(sentence);
    expect(error.message).not.toContain("secret/x");
  });
});

describe("what answers in Vault's place", () => {
  it.each([
    { status: 200, body: "<html>Welcome to nginx</html>" },
    { status: 404, body: "<html>Not found</html>" },
    { status: 403, body: "Forbidden" },
    { status: 404, body: '{"message":"no Route matched with those values"}' },
    { status: 200, body: '{"data":{"data":{"value":"x"}}}' },
    { status: 200, body: '{"data":{"data":{"value":"x"},"metadata":{"version":"1"}}}' },
    { status: 200, body: "" },
    { status: 200, body: "[]" },
    { status: 200, body: "null" },
  ])("is not believed: %j", async (trouble) => {
    const store = storeOf();
    await store.get("acme", "key");
    fake.trouble(trouble);
    expect(await failure(store.get("acme", "key"))).toMatchObject({
      code: "vault.answered_garbage",
      kind: "unavailable",
    });
  });

  it("is not believed when it says that a login succeeded", async () => {
    const store = storeOf({ auth: fake.tokens.role({}) });
    for (const body of [
      '{"auth":null}',
      '{"auth":{"client_token":"a\\nb","lease_duration":1,"renewable":true}}',
      "{}",
    ]) {
      fake.trouble({ status: 200, body });
      expect(await failure(store.get("acme", "key"))).toMatchObject({ code: "vault.answered_garbage" });
    }
  });

  it("is no reason to believe that a secret does not exist", async () => {
    const store = storeOf();
    await store.get("acme", "key");
    fake.trouble({ status: 404, body: '{"errors":["no handler for route \\"secret/data/x\\""]}' });
    expect(await failure(store.get("acme", "key"))).toMatchObject({ code: "vault.mount_unusable" });
    expect(await failure(storeOf({ mount: "nowhere" }).list("acme", ""))).toMatchObject({
      code: "vault.mount_unusable",
    });
  });
});

describe("a configuration that does not fit the server", () => {
  it("names a namespace that OpenBao does not have", async () => {
    await fake.close();
    fake = await startFakeVault({ like: "openbao", clock, namespaces: ["teams/erp"] });
    const options = { namespace: "teams/crm" };
    expect(await failure(storeOf(options).get("acme", "key"))).toMatchObject({ code: "vault.mount_unusable" });
    const login = storeOf({ ...options, auth: fake.tokens.role({}) }).get("acme", "key");
    expect(await failure(login)).toMatchObject({ code: "vault.login_refused" });
  });

  it("sends the namespace to Vault too, whose community edition ignores it", async () => {
    const store = storeOf({ namespace: "teams/crm" });
    await store.put("acme", "key", new Secret("x"));
    expect(fake.requests.at(-1)?.namespace).toBe("teams/crm");
    expect((await storeOf().get("acme", "key"))?.value.reveal()).toBe("x");
  });

  it("names an engine that keeps no versions: nothing is taken for written", async () => {
    const store = storeOf({ mount: "old" });
    expect(await failure(store.put("acme", "key", new Secret("x")))).toMatchObject({ code: "vault.mount_unusable" });
  });

  it("brings an HTTP client that does not let requests through", async () => {
    const refusing = { send: async () => Promise.reject(new ProviderUnreachable({ host: "vault", reason: "no way" })) };
    expect(await failure(storeOf({ http: refusing }).get("acme", "key"))).toMatchObject({
      code: "vault.unavailable",
      details: { reason: "no way" },
    });
  });
});
