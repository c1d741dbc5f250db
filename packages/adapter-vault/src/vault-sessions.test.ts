import { GuardedHttpClient, type HttpClient, Secret } from "@armature/core";
import { type FixedClock, fixedClock } from "@armature/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VaultLoginRefused, VaultRefused, VaultUnavailable } from "./errors.ts";
import type { FakeTokenOptions } from "./fake-tokens.ts";
import { type FakeVault, startFakeVault } from "./fake-vault.ts";
import { vault } from "./vault.ts";

const LOGIN = "auth/approle/login";
const RENEWAL = "auth/token/renew-self";
const MINUTE = 60_000;

let clock: FixedClock;
let fake: FakeVault;
beforeEach(async () => {
  clock = fixedClock();
  fake = await startFakeVault({ like: "vault", clock });
});
afterEach(() => fake.close());

const asRole = (token: FakeTokenOptions = {}, uses?: number) => {
  const auth = fake.tokens.role({ policies: ["default", "root"], ttlMs: 60 * MINUTE, ...token }, uses);
  return { auth, store: vault({ address: fake.address, auth, clock }) };
};
const withToken = (options: FakeTokenOptions) => {
  const token = fake.tokens.create({ policies: ["default", "root"], ...options });
  return { token, store: vault({ address: fake.address, auth: { token }, clock }) };
};
const logins = () => fake.count("POST", LOGIN);
const renewals = () => fake.count("POST", RENEWAL);

describe("a login", () => {
  it("happens with the first request, not before, and once", async () => {
    const { store } = asRole();
    expect(fake.requests).toEqual([]);
    await store.get("acme", "key");
    await store.get("acme", "key");
    expect(fake.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `POST ${LOGIN}`,
      "GET secret/data/armature/acme/key",
      "GET secret/data/armature/acme/key",
    ]);
  });

  it("is one for however many requests come at once", async () => {
    const { store } = asRole();
    await Promise.all(Array.from({ length: 50 }, (_, at) => store.get("acme", `key-${at}`)));
    expect(logins()).toBe(1);
  });

  it("takes role and secret id as secrets too, and the mount where AppRole is", async () => {
    const { auth } = asRole();
    const secrets = { roleId: new Secret(auth.roleId), secretId: new Secret(auth.secretId) };
    await vault({ address: fake.address, auth: secrets, clock }).get("acme", "key");
    const elsewhere = vault({ address: fake.address, auth: { ...secrets, mount: "teams/roles" }, clock });
    await expect(elsewhere.get("acme", "key")).rejects.toThrow(VaultLoginRefused);
    expect(fake.requests.at(-1)).toMatchObject({ path: "auth/teams/roles/login", token: "" });
  });

  it("that is refused fails the requests that waited for it, and the next request tries again", async () => {
    const { store, auth } = asRole();
    fake.tokens.dropSecretIds(auth.roleId);
    const outcomes = await Promise.allSettled([store.get("acme", "a"), store.get("acme", "b")]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ reason: { code: "vault.login_refused", kind: "forbidden" } });
    }
    expect(logins()).toBe(1);
    await expect(store.get("acme", "a")).rejects.toThrow(VaultLoginRefused);
    expect(logins()).toBe(2);
  });

  it("whose answer is lost is not repeated by itself: the secret id may be good for one login only", async () => {
    const { store } = asRole({}, 1);
    fake.trouble("cut after");
    await expect(store.get("acme", "key")).rejects.toThrow(VaultUnavailable);
    expect(logins()).toBe(1);
  });
});

describe("a token", () => {
  it("is renewed when half of its life is over and a request comes, and not by a timer", async () => {
    const { store } = asRole({ ttlMs: 60 * MINUTE });
    await store.get("acme", "key");
    expect(clock.sleeping).toBe(0);
    await clock.advance(29 * MINUTE);
    await store.get("acme", "key");
    expect(renewals()).toBe(0);
    await clock.advance(MINUTE);
    await Promise.all(Array.from({ length: 20 }, () => store.get("acme", "key")));
    expect([renewals(), logins()]).toEqual([1, 1]);
    await clock.advance(29 * MINUTE);
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([1, 1]);
  });

  it("whose renewal was shortened, because its longest life is near, is replaced by a login in time", async () => {
    const { store } = asRole({ ttlMs: 60 * MINUTE, maxTtlMs: 100 * MINUTE });
    await store.get("acme", "key");
    await clock.advance(30 * MINUTE); // renewed until 90
    await store.get("acme", "key");
    await clock.advance(30 * MINUTE); // asks for 120, gets 100: the last renewal
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([2, 1]);
    await clock.advance(20 * MINUTE); // half of what was left
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([2, 2]);
    expect(fake.requests.filter(({ path }) => path.startsWith("secret/")).every(({ token }) => token !== "")).toBe(
      true,
    );
  });

  it("whose renewal Vault refuses is replaced by a login", async () => {
    const { store } = asRole();
    await store.get("acme", "key");
    fake.tokens.revokeAll();
    await clock.advance(30 * MINUTE);
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([1, 2]);
  });

  it("that cannot be renewed is replaced at half of its life", async () => {
    const { store } = asRole({ renewable: false });
    await store.get("acme", "key");
    await clock.advance(30 * MINUTE);
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([0, 2]);
  });

  it("that has run out while nobody asked is replaced without an attempt to use it", async () => {
    const { store } = asRole();
    await store.get("acme", "key");
    await clock.advance(61 * MINUTE);
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([0, 2]);
    expect(fake.count("GET", "secret/")).toBe(2);
  });

  it("is used until its end while Vault cannot renew it and gives no other", async () => {
    const { store, auth } = asRole();
    await store.get("acme", "key");
    fake.tokens.dropSecretIds(auth.roleId);
    fake.trouble({ status: 500, body: "{}" }, ({ path }) => path === RENEWAL);
    await clock.advance(30 * MINUTE);
    await store.get("acme", "key");
    await store.get("acme", "key"); // not with every request
    expect([renewals(), logins()]).toEqual([1, 1]);
    await clock.advance(15 * MINUTE);
    await store.get("acme", "key");
    expect([renewals(), logins()]).toEqual([2, 1]);
  });

  it("without an end is never renewed", async () => {
    const { store } = withToken({ ttlMs: 0 });
    await store.get("acme", "key");
    await clock.advance(10_000 * MINUTE);
    await store.get("acme", "key");
    expect(renewals()).toBe(0);
    expect(fake.count("GET", "auth/token/lookup-self")).toBe(1);
  });

  it("that the host brought is renewed too, for as long as it was given", async () => {
    const { store } = withToken({ ttlMs: 60 * MINUTE });
    for (let half = 0; half < 6; half += 1) {
      await store.get("acme", "key");
      await clock.advance(30 * MINUTE);
    }
    expect(renewals()).toBe(5);
  });

  it("that the host brought and that is not good is refused, and nothing is tried in its place", async () => {
    const store = vault({ address: fake.address, auth: { token: "hvs.unknown" }, clock });
    await expect(store.get("acme", "key")).rejects.toThrow(VaultRefused);
    expect(fake.requests.map(({ path }) => path)).toEqual(["auth/token/lookup-self", "secret/data/armature/acme/key"]);
  });

  it("that the host brought and that was revoked is not looked up again, nor tried again", async () => {
    const { store, token } = withToken({ ttlMs: 60 * MINUTE });
    await store.get("acme", "key");
    await clock.advance(MINUTE);
    fake.tokens.revoke(token);
    fake.requests.length = 0;
    await expect(store.get("acme", "key")).rejects.toThrow(VaultRefused);
    expect(fake.requests).toHaveLength(1);
  });

  it("that may not look itself up works all the same", async () => {
    fake.tokens.policy("narrow", { "secret/data/armature/*": ["read"] });
    const { store } = withToken({ policies: ["narrow"], ttlMs: 60 * MINUTE });
    expect(await store.get("acme", "key")).toBeUndefined();
  });
});

describe("a request that Vault refuses with 403", () => {
  it("is sent once more with a new token", async () => {
    const { store } = asRole();
    await store.put("acme", "key", new Secret("x"));
    await clock.advance(MINUTE);
    fake.tokens.revokeAll();
    expect((await store.get("acme", "key"))?.value.reveal()).toBe("x");
    expect(logins()).toBe(2);
  });

  it("costs one login, however many find their token revoked at once", async () => {
    const { store } = asRole();
    await store.put("acme", "key", new Secret("x"));
    await clock.advance(MINUTE);
    fake.tokens.revokeAll();
    const found = await Promise.all(Array.from({ length: 50 }, () => store.get("acme", "key")));
    expect(found.every((each) => each?.value.reveal() === "x")).toBe(true);
    expect(logins()).toBe(2);
  });

  it("late, when others have a new token already, costs no other login", async () => {
    const { auth } = asRole();
    const way = new GuardedHttpClient({ allowedOrigins: [fake.address] });
    let held: Promise<void> | undefined;
    const slow: HttpClient = {
      async send(request) {
        const response = await way.send(request);
        if (request.url.endsWith("/slow")) await held;
        return response;
      },
    };
    const store = vault({ address: fake.address, auth, http: slow, clock });
    await store.get("acme", "slow");
    await clock.advance(MINUTE);
    fake.tokens.revokeAll();
    let release = () => {};
    held = new Promise((resolve) => {
      release = resolve;
    });
    const late = store.get("acme", "slow");
    await store.get("acme", "key");
    await clock.advance(MINUTE);
    release();
    expect(await late).toBeUndefined();
    expect(logins()).toBe(2);
    await way.close();
  });

  it("again and again costs no login each time: a young token is not what is wrong", async () => {
    fake.tokens.policy("reader", { "secret/data/armature/acme/*": ["read"] });
    const { store } = asRole({ policies: ["default", "reader"] });
    for (let count = 0; count < 20; count += 1)
      await expect(store.put("acme", "key", new Secret("x"))).rejects.toMatchObject({
        code: "vault.refused",
        kind: "forbidden",
        details: { operation: "write a secret" },
      });
    expect(logins()).toBe(1);
    await clock.advance(5_000);
    await expect(store.put("acme", "key", new Secret("x"))).rejects.toThrow(VaultRefused);
    expect(logins()).toBe(2);
    expect(await store.get("acme", "key")).toBeUndefined();
  });

  it("takes up policies that the role was given since", async () => {
    fake.tokens.policy("later", {});
    const { store } = asRole({ policies: ["default", "later"] });
    await expect(store.get("acme", "key")).rejects.toThrow(VaultRefused);
    fake.tokens.policy("later", { "secret/data/armature/*": ["read"] });
    expect(await store.get("acme", "key")).toBeUndefined();
  });

  it("fails as the login fails, when there is no new token to be had", async () => {
    const { store, auth } = asRole();
    await store.get("acme", "key");
    await clock.advance(MINUTE);
    fake.tokens.revokeAll();
    fake.tokens.dropSecretIds(auth.roleId);
    await expect(store.get("acme", "key")).rejects.toThrow(VaultLoginRefused);
  });
});
