import { Secret, type SecretStore } from "@armature/core";
import fc from "fast-check";
import { beforeAll, expect } from "vitest";
import { everythingIn, expectRefusal, fresh } from "./expectations.ts";
import { expectOutage, type Losable, onceBack, withoutBackend } from "./outage-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface SecretStoreSetup extends Losable {
  readonly secrets: SecretStore;
  /** The same secrets as another process sees them; without it the tests of two instances are skipped. */
  readonly elsewhere?: SecretStore;
}

const CONFLICT = "secret.version_conflict";

/** What every `SecretStore` must do. The store may hold other things already. */
export function secretStoreSuite(
  adapter: string,
  setup: () => SecretStore | SecretStoreSetup | Promise<SecretStore | SecretStoreSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("SecretStore", adapter, options, (test) => {
    let ready: SecretStoreSetup;
    let secrets: SecretStore;
    beforeAll(async () => {
      const made = await setup();
      ready = "secrets" in made ? made : { secrets: made };
      secrets = ready.secrets;
    });

    const reveal = async (tenant: string, name: string, version?: number) =>
      (await secrets.get(tenant, name, version))?.value.reveal();

    test("a secret is read as it was written, as version 1", async () => {
      const tenant = fresh("t");
      expect(await secrets.put(tenant, "crm/token", new Secret("s3cr3t"))).toBe(1);
      const stored = await secrets.get(tenant, "crm/token");
      expect(stored?.version).toBe(1);
      expect(stored?.value.reveal()).toBe("s3cr3t");
    });

    test("a secret that was never written does not exist", async () => {
      const tenant = fresh("t");
      expect(await secrets.get(tenant, "nothing")).toBeUndefined();
      await secrets.put(tenant, "something", new Secret("x"));
      expect(await secrets.get(tenant, "something", 2)).toBeUndefined();
      expect(await secrets.get(tenant, "somethin")).toBeUndefined();
    });

    test("every write is a new version and the one before can still be read", async () => {
      const tenant = fresh("t");
      expect(await secrets.put(tenant, "key", new Secret("one"))).toBe(1);
      expect(await secrets.put(tenant, "key", new Secret("two"), 1)).toBe(2);
      expect(await secrets.put(tenant, "key", new Secret("three"))).toBe(3);
      expect(await reveal(tenant, "key")).toBe("three");
      expect(await reveal(tenant, "key", 3)).toBe("three");
      expect(await reveal(tenant, "key", 2)).toBe("two");
      expect((await secrets.get(tenant, "key", 2))?.version).toBe(2);
    });

    test("a write that expects another version than the newest is refused and changes nothing", async () => {
      const tenant = fresh("t");
      await expectRefusal(secrets.put(tenant, "key", new Secret("x"), 1), CONFLICT);
      expect(await secrets.get(tenant, "key")).toBeUndefined();
      await secrets.put(tenant, "key", new Secret("one"), 0);
      await secrets.put(tenant, "key", new Secret("two"), 1);
      for (const expected of [0, 1, 3])
        await expectRefusal(secrets.put(tenant, "key", new Secret("x"), expected), CONFLICT);
      expect((await secrets.get(tenant, "key"))?.version).toBe(2);
      expect(await reveal(tenant, "key")).toBe("two");
    });

    test("of many writers that expect the same version exactly one wins, round after round", async () => {
      const tenant = fresh("t");
      for (let version = 0; version < 3; version += 1) {
        const values = Array.from({ length: 12 }, (_, index) => `round ${version} writer ${index}`);
        const outcomes = await Promise.allSettled(
          values.map((value) => secrets.put(tenant, "contested", new Secret(value), version)),
        );
        const winners = outcomes.flatMap((outcome, index) => (outcome.status === "fulfilled" ? [values[index]] : []));
        expect(winners).toHaveLength(1);
        for (const outcome of outcomes)
          if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: CONFLICT });
        expect(await reveal(tenant, "contested")).toBe(winners[0]);
        expect((await secrets.get(tenant, "contested"))?.version).toBe(version + 1);
      }
    });

    test("writers that expect no version all succeed, each with a version of its own", async () => {
      const tenant = fresh("t");
      const values = Array.from({ length: 8 }, (_, index) => `writer ${index}`);
      const versions = await Promise.all(values.map((value) => secrets.put(tenant, "key", new Secret(value))));
      expect([...versions].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(await reveal(tenant, "key")).toBe(values[versions.indexOf(8)]);
      // A version may be kept no longer; it may never be somebody else's.
      for (const [index, version] of versions.entries())
        expect([values[index], undefined]).toContain(await reveal(tenant, "key", version));
    });

    test("tenants never see, list, overwrite or delete each other's secrets", async () => {
      const [acme, globex] = [fresh("acme"), fresh("globex")];
      await secrets.put(acme, "shared-name", new Secret("of acme"));
      await secrets.put(acme, "shared-name", new Secret("of acme, newer"));
      expect(await secrets.get(globex, "shared-name")).toBeUndefined();
      expect(await secrets.get(globex, "shared-name", 1)).toBeUndefined();
      expect(await secrets.list(globex, "")).toEqual([]);
      await secrets.delete(globex, "shared-name");
      expect(await secrets.put(globex, "shared-name", new Secret("of globex"), 0)).toBe(1);
      expect(await reveal(acme, "shared-name")).toBe("of acme, newer");
      expect(await reveal(globex, "shared-name")).toBe("of globex");
    });

    test("a tenant whose id is the beginning of another's sees nothing of it", async () => {
      const tenant = fresh("t");
      const longer = `${tenant}-2`;
      await secrets.put(longer, "key", new Secret("x"));
      await secrets.put(longer, "a/key", new Secret("x"));
      expect(await secrets.list(tenant, "")).toEqual([]);
      expect(await secrets.get(tenant, "key")).toBeUndefined();
    });

    test("a deleted secret is gone in every version and its name is free again", async () => {
      const tenant = fresh("t");
      await secrets.put(tenant, "key", new Secret("old plaintext"));
      await secrets.put(tenant, "key", new Secret("newer plaintext"));
      await secrets.put(tenant, "key-2", new Secret("stays"));
      await secrets.delete(tenant, "key");
      expect(await secrets.get(tenant, "key")).toBeUndefined();
      expect(await secrets.get(tenant, "key", 1)).toBeUndefined();
      expect(await secrets.get(tenant, "key", 2)).toBeUndefined();
      expect(await secrets.list(tenant, "")).toEqual(["key-2"]);
      const version = await secrets.put(tenant, "key", new Secret("again"), 0);
      expect(await reveal(tenant, "key")).toBe("again");
      expect(await reveal(tenant, "key", version)).toBe("again");
      expect(await reveal(tenant, "key-2")).toBe("stays");
    });

    test("deleting what does not exist has no effect, twice", async () => {
      const tenant = fresh("t");
      await secrets.delete(tenant, "nothing");
      await secrets.delete(tenant, "nothing");
      expect(await secrets.list(tenant, "")).toEqual([]);
    });

    test("names are listed by prefix, each once, in order", async () => {
      const tenant = fresh("t");
      const names = ["b/2", "a/1", "b/1", "b", "bb", "b/10", "c", "b_1"];
      for (const name of names) await secrets.put(tenant, name, new Secret(name));
      await secrets.put(tenant, "b/1", new Secret("second version"));
      expect(await secrets.list(tenant, "b/")).toEqual(["b/1", "b/10", "b/2"]);
      expect(await secrets.list(tenant, "b")).toEqual(["b", "b/1", "b/10", "b/2", "b_1", "bb"]);
      expect(await secrets.list(tenant, "")).toEqual([...names].sort());
      expect(await secrets.list(tenant, "zzz")).toEqual([]);
    });

    test("signs that search patterns use are only signs in a prefix", async () => {
      const tenant = fresh("t");
      await secrets.put(tenant, "a_b", new Secret("x"));
      await secrets.put(tenant, "axb", new Secret("x"));
      expect(await secrets.list(tenant, "a_")).toEqual(["a_b"]);
      expect(await secrets.list(tenant, "%")).toEqual([]);
      expect(await secrets.list(tenant, "*")).toEqual([]);
    });

    test("hundreds of secrets are listed completely", async () => {
      const tenant = fresh("t");
      const names = Array.from({ length: 230 }, (_, index) => `many/${String(index).padStart(4, "0")}`);
      for (let start = 0; start < names.length; start += 46)
        await Promise.all(names.slice(start, start + 46).map((name) => secrets.put(tenant, name, new Secret(name))));
      expect(await secrets.list(tenant, "many/")).toEqual(names);
    });

    test("the empty text, line breaks, quotes, NUL and signs outside the basic plane come back unchanged", async () => {
      const tenant = fresh("t");
      const values = [
        "",
        " ",
        "\u0000",
        "a\r\nb\tc\u2028",
        `"'\\\${}`,
        "naïve Zoë 日本語 🗝️👩🏽‍💻",
        "\ufeffx",
        "e\u0301",
        "\u{10ffff}",
      ];
      for (const [index, value] of values.entries()) {
        await secrets.put(tenant, `v${index}`, new Secret(value));
        expect(await reveal(tenant, `v${index}`)).toBe(value);
      }
    });

    test("any text comes back unchanged", async () => {
      const tenant = fresh("t");
      const anyText = fc.string({ unit: "binary", maxLength: 200 });
      await fc.assert(
        fc.asyncProperty(anyText, async (value) => {
          const version = await secrets.put(tenant, "any", new Secret(value));
          expect(await reveal(tenant, "any", version)).toBe(value);
        }),
        { numRuns: 40 },
      );
    });

    test("a value of 64 KiB comes back unchanged", async () => {
      const tenant = fresh("t");
      const value = "0123456789abcdef".repeat(4096);
      await secrets.put(tenant, "large", new Secret(value));
      expect(await reveal(tenant, "large")).toBe(value);
    });

    test("what comes back prints as [secret]", async () => {
      const tenant = fresh("t");
      await secrets.put(tenant, "key", new Secret("canary-8f2e"));
      const stored = await secrets.get(tenant, "key");
      expect(everythingIn(stored)).not.toContain("canary-8f2e");
      expect(`${stored?.value}`).toBe("[secret]");
    });

    test("an error never holds a value, neither the refused one nor the stored one", async () => {
      const tenant = fresh("t");
      await secrets.put(tenant, "key", new Secret("canary-stored"));
      const error = await expectRefusal(secrets.put(tenant, "key", new Secret("canary-refused"), 7), CONFLICT);
      expect(everythingIn(error)).not.toContain("canary");
    });

    test("two instances write the first secrets of a tenant at once, and each reads what the other wrote", async (context) => {
      const { elsewhere } = ready;
      if (elsewhere === undefined) return context.skip("the setup has no second instance");
      for (let round = 0; round < 5; round += 1) {
        const tenant = fresh("t");
        const names = Array.from({ length: 6 }, (_, at) => `key-${at}`);
        const by = (at: number) => (at % 2 === 0 ? secrets : elsewhere);
        await Promise.all(names.map((name, at) => by(at).put(tenant, name, new Secret(`of ${at}`), 0)));
        for (const [at, name] of names.entries())
          expect((await by(at + 1).get(tenant, name))?.value.reveal()).toBe(`of ${at}`);
      }
    });

    test("of writers of two instances that expect the same version exactly one wins, and both read what it wrote", async (context) => {
      const { elsewhere } = ready;
      if (elsewhere === undefined) return context.skip("the setup has no second instance");
      const tenant = fresh("t");
      await secrets.put(tenant, "key", new Secret("0"), 0);
      for (let version = 1; version <= 6; version += 1) {
        const written = await Promise.allSettled(
          Array.from({ length: 6 }, (_, at) =>
            (at % 2 === 0 ? secrets : elsewhere).put(tenant, "key", new Secret(`${version}.${at}`), version),
          ),
        );
        const winners = written.flatMap(({ status }, at) => (status === "fulfilled" ? [`${version}.${at}`] : []));
        expect(winners).toHaveLength(1);
        for (const by of [secrets, elsewhere]) expect((await by.get(tenant, "key"))?.value.reveal()).toBe(winners[0]);
      }
      await elsewhere.delete(tenant, "key");
      expect(await secrets.get(tenant, "key")).toBeUndefined();
    });

    test("while the backend is away reading and writing are refused soon, without a value; after that all is as it was", async (context) => {
      const tenant = fresh("t");
      await secrets.put(tenant, "key", new Secret("kept-value"));
      await withoutBackend(context, ready, async () => {
        const errors = [
          await expectOutage(secrets.put(tenant, "new", new Secret("refused-value"), 0)),
          await expectOutage(secrets.ping()),
        ];
        for (const error of errors) expect(everythingIn(error)).not.toMatch(/kept-value|refused-value/);
      });
      expect((await onceBack(() => secrets.get(tenant, "key")))?.value.reveal()).toBe("kept-value");
      // What was refused may have been written, and then as a whole.
      const version = (await secrets.get(tenant, "new"))?.version ?? 0;
      expect(await secrets.put(tenant, "new", new Secret("second"), version)).toBe(version + 1);
      expect((await secrets.get(tenant, "new"))?.value.reveal()).toBe("second");
    }, 60_000);

    test("it answers a ping", async () => {
      await expect(secrets.ping()).resolves.toBeUndefined();
    });
  });
}
