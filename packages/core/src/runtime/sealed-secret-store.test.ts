import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { InMemoryStore } from "../in-memory/index.ts";
import { systemClock } from "../kernel/clock.ts";
import { InvalidInput } from "../kernel/errors.ts";
import { type Ids, systemIds } from "../kernel/ids.ts";
import { KeyEncryptionKeyWrong, SecretUnreadable } from "../kernel/port-errors.ts";
import type { JsonObject } from "../kernel/schema.ts";
import { Secret } from "../kernel/secret.ts";
import { SealedSecretStore } from "./sealed-secret-store.ts";

const CANARY = "canary-5d20";
const KEK = new Secret(Buffer.alloc(32, 1).toString("base64"));
const ACME = { tenant: "acme", context: "secrets" };
const GLOBEX = { tenant: "globex", context: "secrets" };
const ids = systemIds(systemClock());

async function migrated(): Promise<InMemoryStore> {
  const store = new InMemoryStore();
  await store.migrate([{ name: "secrets", aggregates: [] }]);
  return store;
}

async function openStore(existing?: InMemoryStore, keyEncryptionKey = KEK) {
  const store = existing ?? (await migrated());
  return { store, secrets: new SealedSecretStore({ store, keyEncryptionKey, ids }) };
}

type Sealed = { format: number; latest: number; versions: { version: number; dataKey: string; sealed: string }[] };

/** Writes a record over, as somebody with access to the database could. */
async function overwrite(store: InMemoryStore, scope: typeof ACME, key: string, change: (value: never) => unknown) {
  const { version, value } = (await store.records.get(scope, key))!;
  expect(await store.records.put(scope, key, change(structuredClone(value) as never) as JsonObject, version)).toBe(
    true,
  );
}

async function unreadable(promise: Promise<unknown>, name: string): Promise<void> {
  const error = await promise.then(
    () => expect.unreachable("it was read"),
    (thrown: Error) => thrown,
  );
  expect(error).toBeInstanceOf(SecretUnreadable);
  expect((error as SecretUnreadable).details).toEqual({ name });
  expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain(CANARY);
}

describe("secrets sealed in the store", () => {
  it("leave no plaintext in any record, and none when the store is printed", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "crm/token", new Secret(CANARY));
    await secrets.get("acme", "crm/token");
    for (const key of await store.records.list(ACME, { prefix: "", limit: 100 })) {
      const record = JSON.stringify(await store.records.get(ACME, key));
      for (const form of [CANARY, Buffer.from(CANARY).toString("base64"), Buffer.from(CANARY).toString("hex")])
        expect(record).not.toContain(form);
    }
    const printed = inspect(secrets, { showHidden: true, depth: 20 }) + JSON.stringify(secrets);
    for (const hidden of [CANARY, KEK.reveal(), Buffer.alloc(32, 1).toString("hex")])
      expect(printed).not.toContain(hidden);
  });

  it("are sealed apart for each tenant: a record moved to another tenant does not open", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "token", new Secret(CANARY));
    await secrets.put("globex", "token", new Secret("of globex"));
    const [theirs, key] = await Promise.all([
      store.records.get(ACME, "secret/token"),
      store.records.get(ACME, "data-key"),
    ]);
    await overwrite(store, GLOBEX, "secret/token", () => theirs!.value);
    await unreadable(secrets.get("globex", "token"), "token");
    // Nor with the data key moved beside it.
    await overwrite(store, GLOBEX, "data-key", () => key!.value);
    await unreadable((await openStore(store)).secrets.get("globex", "token"), "token");
  });

  it("cannot be written under another tenant's data key", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "token", new Secret(CANARY));
    await store.records.put(GLOBEX, "data-key", (await store.records.get(ACME, "data-key"))!.value, 0);
    await unreadable(secrets.put("globex", "token", new Secret(CANARY)), "token");
  });

  it("answer a ping under the key that first sealed anything, and under no other", async () => {
    const { store, secrets } = await openStore();
    await secrets.ping();
    const other = (await openStore(store, new Secret(Buffer.alloc(32, 2).toString("base64")))).secrets;
    await expect(other.ping()).rejects.toThrow(KeyEncryptionKeyWrong);
    // Nor does the wrong key become that of a tenant which has none yet.
    await expect(other.put("new", "token", new Secret(CANARY))).rejects.toThrow(KeyEncryptionKeyWrong);
    expect(await secrets.put("new", "token", new Secret(CANARY))).toBe(1);
    await expect((await openStore(store)).secrets.ping()).resolves.toBeUndefined();
  });

  it("do not open under another name or as another version", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "a", new Secret(CANARY));
    await secrets.put("acme", "a", new Secret("newer"));
    await secrets.put("acme", "b", new Secret("b"));
    const record = (await store.records.get(ACME, "secret/a"))!.value;
    await overwrite(store, ACME, "secret/b", () => record);
    await unreadable(secrets.get("acme", "b"), "b");
    await overwrite(store, ACME, "secret/a", (value: Sealed) => ({
      ...value,
      versions: value.versions.map((each, at) => ({ ...each, sealed: value.versions[1 - at]!.sealed })),
    }));
    await unreadable(secrets.get("acme", "a"), "a");
    await unreadable(secrets.get("acme", "a", 1), "a");
  });

  it("do not open once tampered with, and the other ones still do", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "a", new Secret(CANARY));
    await secrets.put("acme", "b", new Secret("untouched"));
    const flipped = (text: string) => `${text.slice(0, 20)}${text[20] === "A" ? "B" : "A"}${text.slice(21)}`;
    await overwrite(store, ACME, "secret/a", (value: Sealed) => ({
      ...value,
      versions: value.versions.map((each) => ({ ...each, sealed: flipped(each.sealed) })),
    }));
    await unreadable(secrets.get("acme", "a"), "a");
    expect((await secrets.get("acme", "b"))?.value.reveal()).toBe("untouched");
  });

  it("in a record of another shape are unreadable, can be listed and can be destroyed", async () => {
    const { store, secrets } = await openStore();
    for (const [name, value] of Object.entries({
      other: { format: 2 },
      empty: {},
      short: { format: 1, latest: 1, versions: [{ version: 1, dataKey: "x", sealed: "AAAA" }] },
    })) {
      await store.records.put(ACME, `secret/${name}`, value, 0);
      await unreadable(secrets.get("acme", name), name);
      await unreadable(secrets.put("acme", name, new Secret(CANARY)), name);
      expect(await secrets.list("acme", name)).toEqual([name]);
      await secrets.delete("acme", name);
      expect(await secrets.list("acme", name)).toEqual([]);
    }
  });

  it("do not open with another key-encryption key, and nothing is written with it", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "token", new Secret(CANARY));
    const wrong = (await openStore(store, new Secret(Buffer.alloc(32, 2).toString("base64")))).secrets;
    await unreadable(wrong.get("acme", "token"), "token");
    await unreadable(wrong.put("acme", "token", new Secret("x")), "token");
    await unreadable(wrong.put("acme", "new", new Secret("x")), "new");
    expect((await secrets.get("acme", "token"))?.value.reveal()).toBe(CANARY);
    expect(await secrets.list("acme", "")).toEqual(["token"]);
  });

  it("are readable by every process with the same key", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "token", new Secret(CANARY));
    expect((await (await openStore(store)).secrets.get("acme", "token"))?.value.reveal()).toBe(CANARY);
  });
});

describe("a tenant's data key", () => {
  it("is made once, however many processes need it first at the same time", async () => {
    const store = await migrated();
    let made = 0;
    const counting: Ids = {
      next: (prefix) => {
        if (prefix === "dk") made += 1;
        return ids.next(prefix);
      },
      random: (bytes) => ids.random(bytes),
    };
    const processes = Array.from(
      { length: 8 },
      () => new SealedSecretStore({ store, keyEncryptionKey: KEK, ids: counting }),
    );
    await Promise.all(
      processes.flatMap((secrets, at) =>
        [1, 2].map((n) => secrets.put("acme", `s${at}-${n}`, new Secret(`value ${at}`))),
      ),
    );
    expect(made).toBeGreaterThan(1);
    expect(await store.records.get(ACME, "data-key")).toMatchObject({ version: 1 });
    const fresh = (await openStore(store)).secrets;
    for (const reader of [fresh, ...processes])
      for (const at of processes.keys())
        expect((await reader.get("acme", `s${at}-2`))?.value.reveal()).toBe(`value ${at}`);
  });

  it("is read once and then kept in memory", async () => {
    const { store, secrets } = await openStore();
    const read: string[] = [];
    const watched = {
      ping: () => store.ping(),
      records: {
        ...{ put: store.records.put.bind(store.records), delete: store.records.delete.bind(store.records) },
        list: store.records.list.bind(store.records),
        get: (scope: typeof ACME, key: string) => {
          read.push(key);
          return store.records.get(scope, key);
        },
      },
    };
    await secrets.put("acme", "token", new Secret("x"));
    const second = new SealedSecretStore({ store: watched, keyEncryptionKey: KEK, ids });
    for (let call = 0; call < 3; call += 1) await second.get("acme", "token");
    expect(read.filter((key) => key === "data-key")).toHaveLength(1);
  });

  it("that was replaced by another process is found", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "old", new Secret("x"));
    await store.records.delete(ACME, "data-key");
    const other = (await openStore(store)).secrets;
    await other.put("acme", "new", new Secret("sealed with the next key"));
    expect((await secrets.get("acme", "new"))?.value.reveal()).toBe("sealed with the next key");
    await unreadable(secrets.get("acme", "old"), "old");
  });

  it("names the key-encryption key that sealed it, so that a later one can be told from it", async () => {
    const { store, secrets } = await openStore();
    await secrets.put("acme", "token", new Secret("x"));
    const key = (await store.records.get(ACME, "data-key"))!.value;
    const record = (await store.records.get(ACME, "secret/token"))!.value as unknown as Sealed;
    expect(key).toEqual({
      format: 1,
      id: expect.stringMatching(/^dk_/),
      sealedBy: expect.stringMatching(/^[0-9a-f]{16}$/),
      sealed: expect.any(String),
    });
    expect(record.versions[0]!.dataKey).toBe(key["id"]);
  });
});

describe("versions", () => {
  it("count on after a delete, so that an old reference cannot come to mean another value", async () => {
    const { secrets } = await openStore();
    for (const value of ["one", "two"]) await secrets.put("acme", "token", new Secret(value));
    await secrets.delete("acme", "token");
    expect(await secrets.get("acme", "token")).toBeUndefined();
    expect(await secrets.put("acme", "token", new Secret("again"), 0)).toBe(3);
    expect(await secrets.get("acme", "token", 2)).toBeUndefined();
    expect((await secrets.get("acme", "token", 3))?.value.reveal()).toBe("again");
  });

  it("beyond the number that is kept are destroyed, oldest first", async () => {
    const store = await migrated();
    const secrets = new SealedSecretStore({ store, keyEncryptionKey: KEK, ids, keepVersions: 3 });
    for (let n = 1; n <= 5; n += 1) await secrets.put("acme", "token", new Secret(`v${n}`), n - 1);
    expect(await secrets.get("acme", "token", 2)).toBeUndefined();
    expect((await secrets.get("acme", "token", 3))?.value.reveal()).toBe("v3");
    expect(((await store.records.get(ACME, "secret/token"))!.value as unknown as Sealed).versions).toHaveLength(3);
  });

  it("are ten where the host says nothing", async () => {
    const { secrets } = await openStore();
    for (let n = 1; n <= 12; n += 1) await secrets.put("acme", "token", new Secret(`v${n}`));
    expect(await secrets.get("acme", "token", 2)).toBeUndefined();
    expect((await secrets.get("acme", "token", 3))?.value.reveal()).toBe("v3");
  });
});

describe("what cannot be a secret", () => {
  it("is refused: a name that is empty, too long or not text, a value that is not text", async () => {
    const { secrets } = await openStore();
    for (const name of ["", "x".repeat(501), "a\0b", "\ud800"])
      await expect(secrets.put("acme", name, new Secret(CANARY))).rejects.toThrow(InvalidInput);
    const error = await secrets.put("acme", "a", new Secret(`${CANARY}\ud800`)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InvalidInput);
    expect(inspect(error, { showHidden: true })).not.toContain(CANARY);
  });

  it("stops the start: a key-encryption key of another size, or versions to keep below one", () => {
    const store = new InMemoryStore();
    const start = (keyEncryptionKey: Secret<string>, keepVersions = 1) =>
      new SealedSecretStore({ store, keyEncryptionKey, ids, keepVersions });
    expect(() => start(new Secret("c2hvcnQ="))).toThrow(
      "The key-encryption key is not valid: it must be 32 bytes in base64",
    );
    expect(() => start(KEK, 0)).toThrow(InvalidInput);
    expect(() => start(KEK)).not.toThrow();
  });
});
