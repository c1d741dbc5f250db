import { Secret, SecretUnreadable, SecretVersionConflict } from "@armature/core";
import { type FixedClock, fixedClock } from "@armature/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VaultTimedOut, VaultUnavailable } from "./errors.ts";
import { type FakeRequest, type FakeVault, startFakeVault } from "./fake-vault.ts";
import { vault } from "./vault.ts";

let clock: FixedClock;
let fake: FakeVault;
let store: ReturnType<typeof vault>;
beforeEach(async () => {
  clock = fixedClock();
  fake = await startFakeVault({ like: "vault", clock });
  store = vault({ address: fake.address, auth: { token: fake.tokens.create({ policies: ["root"] }) }, clock });
  await store.get("acme", "key"); // logged in
});
afterEach(() => fake.close());

const isWrite = ({ method, path }: FakeRequest) => method === "POST" && path.startsWith("secret/data/");
const isRead = ({ method, path }: FakeRequest) => method === "GET" && path.startsWith("secret/data/");
const writes = () => fake.requests.filter(isWrite).length;
const put = (value: string, expected?: number) => store.put("acme", "key", new Secret(value), expected);
const reveal = async (version?: number) => (await store.get("acme", "key", version))?.value.reveal();

/** Moves the clock whenever the call pauses between two attempts, until it ends. */
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

describe("a write whose answer is lost", () => {
  it.each([
    "cut after",
    { after: true, status: 502, body: "<html>Bad gateway</html>" },
    { after: true, status: 200, body: '{"data":' },
  ] as const)("on the way back (%j) is looked for, and found", async (trouble) => {
    fake.trouble(trouble, isWrite);
    expect(await throughPauses(put("x", 0))).toBe(1);
    expect(writes()).toBe(1);
    expect(await reveal()).toBe("x");
  });

  it("and that had happened is not written twice", async () => {
    await put("one");
    fake.trouble("cut after", isWrite);
    expect(await throughPauses(put("two", 1))).toBe(2);
    expect(await store.get("acme", "key", 3)).toBeUndefined();
    fake.trouble("cut after", isWrite);
    expect(await throughPauses(put("three"))).toBe(3);
    expect(await reveal(3)).toBe("three");
    expect(writes()).toBe(3);
  });

  it("and that had not happened is sent again when it expects a version", async () => {
    await put("one");
    fake.trouble("cut before", isWrite);
    fake.trouble({ status: 500, body: "{}" }, isWrite);
    expect(await throughPauses(put("two", 1))).toBe(2);
    expect(await reveal()).toBe("two");
  });

  it("and that had not happened is not sent again when it expects none", async () => {
    await put("one");
    fake.trouble("cut before", isWrite);
    await expect(throughPauses(put("two"))).rejects.toThrow(VaultUnavailable);
    expect(await reveal()).toBe("one");
    expect(writes()).toBe(2);
  });

  it("is given up after three attempts, and says that nobody knows", async () => {
    for (let attempt = 0; attempt < 3; attempt += 1) fake.trouble({ status: 500, body: "{}" }, isWrite);
    const error: Error = await throughPauses(put("x", 0)).then(
      () => expect.fail("expected a rejection"),
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(VaultUnavailable);
    expect(error.message).toContain("may or may not have happened");
    expect(writes()).toBe(3);
  });

  it("is a conflict when somebody else has the number now, also with the same value", async () => {
    await put("one");
    const other = vault({ address: fake.address, auth: { token: fake.tokens.create({ policies: ["root"] }) }, clock });
    fake.trouble("cut before", isWrite);
    fake.trouble("cut before", isRead);
    const ours = put("same", 1);
    // Ours waits between two looks for what became of it.
    await clock.untilSleeping(1, 1_000);
    expect(await other.put("acme", "key", new Secret("same"), 1)).toBe(2);
    await expect(throughPauses(ours)).rejects.toThrow(SecretVersionConflict);
  });

  it("because time was up is looked for, and not sent again", async () => {
    let hanging = fake.trouble("hang after", isWrite);
    const landed = put("x", 0);
    await hanging;
    await clock.advance(10_000);
    expect(await landed).toBe(1);
    hanging = fake.trouble("hang before", isWrite);
    const lost = put("y", 1).catch((error: unknown) => error);
    await hanging;
    await clock.advance(10_000);
    expect(await lost).toBeInstanceOf(VaultTimedOut);
    expect(writes()).toBe(2);
  });

  it("and cannot be looked for stays unknown, with the first error", async () => {
    const hanging = fake.trouble("hang after", isWrite);
    const lost = put("x", 0).catch((error: unknown) => error);
    for (let attempt = 0; attempt < 3; attempt += 1) fake.trouble({ status: 500, body: "{}" }, isRead);
    await hanging;
    await clock.advance(10_000);
    expect(await throughPauses(lost)).toBeInstanceOf(VaultTimedOut);
    expect(await reveal()).toBe("x");
  });

  it("and that arrives late, after it was sent again, is found to be the same", async () => {
    await put("one");
    // The first attempt is on its way somewhere while the second is sent.
    const body = new Promise<string>((resolve) => {
      fake.trouble("cut before", (request) => {
        if (isWrite(request)) resolve(request.body);
        return isWrite(request);
      });
    });
    const ours = throughPauses(put("two", 1));
    fake.trouble("hang before", (request) => {
      // Never hangs anything: it lets the late one in just before the second attempt is looked at.
      if (isWrite(request)) fake.kv.write("armature/acme/key", late);
      return false;
    });
    const late: unknown = JSON.parse(await body);
    expect(await ours).toBe(2);
    expect(await store.get("acme", "key", 3)).toBeUndefined();
  });
});

describe("a deletion whose answer is lost", () => {
  it("is repeated, and done", async () => {
    await put("x");
    fake.trouble("cut after", ({ method }) => method === "DELETE");
    await throughPauses(store.delete("acme", "key"));
    expect(await reveal()).toBeUndefined();
    expect(fake.count("DELETE", "secret/metadata/armature/acme/key")).toBe(2);
  });
});

describe("versions", () => {
  it("that Vault no longer keeps do not exist", async () => {
    for (let count = 1; count <= 12; count += 1) expect(await put(`${count}`, count - 1)).toBe(count);
    expect(await reveal(2)).toBeUndefined();
    expect(await reveal(3)).toBe("3");
    expect(await reveal()).toBe("12");
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("have no number %d", async (version) => {
    await put("x");
    const before = fake.requests.length;
    expect(await reveal(version)).toBeUndefined();
    expect(fake.requests).toHaveLength(before);
  });

  it.each([-1, 1.5, Number.NaN])("are never expected to be %d", async (version) => {
    await expect(put("x", version)).rejects.toThrow(SecretVersionConflict);
    expect(writes()).toBe(0);
  });

  it("that somebody deleted or destroyed in Vault itself do not exist, and their number still counts", async () => {
    await put("one");
    fake.kv.softDelete("armature/acme/key");
    expect(await reveal()).toBeUndefined();
    await expect(put("x", 3)).rejects.toThrow(SecretVersionConflict);
    expect(await put("two", 0)).toBe(2);
    expect(await reveal()).toBe("two");
    fake.kv.destroy("armature/acme/key", [2]);
    expect(await reveal()).toBeUndefined();
    expect(await put("three", 0)).toBe(3);
    await expect(put("x", 0)).rejects.toThrow(SecretVersionConflict);
  });

  it("begin at 1 again after a deletion, which leaves nothing in Vault", async () => {
    await put("one");
    await put("two");
    await store.delete("acme", "key");
    expect(fake.kv.readMetadata("armature/acme/key").status).toBe(404);
    expect(await put("three", 0)).toBe(1);
  });

  it("of many writers on a mount that insists on check-and-set are all different", async () => {
    fake.kv.config.casRequired = true;
    const versions = await Promise.all(["a", "b", "c", "d", "e"].map((value) => put(value)));
    expect(versions.sort()).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("what stands in Vault", () => {
  it("is under the deployment's folder, the tenant and the parts of the name", async () => {
    const token = fake.tokens.create({ policies: ["root"] });
    const staging = vault({ address: fake.address, auth: { token }, prefix: "crm/staging", clock });
    await staging.put("acme", "connectors/con_1/crd 2", new Secret("x"));
    expect(fake.requests.at(-1)?.path).toBe("secret/data/crm/staging/acme/connectors/con_1/crd=202");
    expect(await store.list("acme", "")).toEqual([]);
    expect(await staging.list("acme", "connectors/con_1/crd")).toEqual(["connectors/con_1/crd 2"]);
  });

  it("can have been put there by hand, as a field named value", async () => {
    fake.kv.write("armature/acme/by-hand", { data: { value: "typed", note: "by Ann" } });
    expect((await store.get("acme", "by-hand"))?.value.reveal()).toBe("typed");
  });

  it("is unreadable when it has no such field, and can be deleted", async () => {
    fake.kv.write("armature/acme/odd", { data: { password: "typed-canary" } });
    const error: Error = await store.get("acme", "odd").then(
      () => expect.fail("expected a rejection"),
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(SecretUnreadable);
    expect(JSON.stringify(error)).not.toContain("canary");
    await store.delete("acme", "odd");
    expect(await store.list("acme", "")).toEqual([]);
  });

  it("under names that are none of ours is not listed", async () => {
    fake.kv.write("armature/acme/two words", { data: {} });
    fake.kv.write("armature/acme/=zz/inner", { data: {} });
    await put("x");
    expect(await store.list("acme", "")).toEqual(["key"]);
  });

  it("is listed by looking only where the prefix leads", async () => {
    for (const name of ["a/1", "a/b/1", "a/b/2", "c/1", "a//x", "a/"]) await store.put("acme", name, new Secret("x"));
    const before = fake.requests.length;
    expect(await store.list("acme", "a/b/")).toEqual(["a/b/1", "a/b/2"]);
    expect(fake.requests).toHaveLength(before + 1);
    expect(await store.list("acme", "a")).toEqual(["a/", "a//x", "a/1", "a/b/1", "a/b/2"]);
  });

  it("is not listed under text that is none and would become the same path", async () => {
    await store.put("acme", "\ufffd/x", new Secret("x"));
    expect(await store.list("acme", "\ufffd/")).toEqual(["\ufffd/x"]);
    expect(await store.list("acme", "\ud800/")).toEqual([]);
  });
});
