import { secretStoreSuite } from "@armature/conformance";
import { afterAll } from "vitest";
import { type FakeVault, type FakeVaultOptions, startFakeVault } from "./fake-vault.ts";
import { vault } from "./vault.ts";

const fakes: FakeVault[] = [];
afterAll(() => Promise.all(fakes.map((fake) => fake.close())));

async function fakeWith(options: FakeVaultOptions) {
  const fake = await startFakeVault(options);
  fakes.push(fake);
  // What the README tells operators to allow, and no more.
  fake.tokens.policy("armature", {
    "secret/data/armature/*": ["create", "read", "update"],
    "secret/metadata/armature/*": ["list", "delete"],
  });
  const auth = fake.tokens.role({ policies: ["default", "armature"], ttlMs: 3_600_000 });
  return { fake, auth };
}

secretStoreSuite("Vault (fake, as Vault 1.8)", async () => {
  const { fake, auth } = await fakeWith({ like: "vault" });
  return vault({ address: fake.address, auth });
});

secretStoreSuite("OpenBao (fake, as OpenBao 2.6)", async () => {
  const { fake, auth } = await fakeWith({ like: "openbao", namespaces: ["teams/crm"] });
  return vault({ address: fake.address, auth, namespace: "teams/crm" });
});

secretStoreSuite("Vault (fake, on a mount that insists on check-and-set)", async () => {
  const { fake, auth } = await fakeWith({ like: "vault" });
  fake.kv.config.casRequired = true;
  return vault({ address: fake.address, auth });
});
