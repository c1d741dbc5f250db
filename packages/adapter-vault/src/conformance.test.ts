import { readFileSync } from "node:fs";
import { type CuttableLine, cuttableLine, secretStoreSuite } from "@armature/conformance";
import { afterAll } from "vitest";
import { type FakeVault, type FakeVaultOptions, startFakeVault } from "./fake-vault.ts";
import { vault } from "./vault.ts";

const fakes: FakeVault[] = [];
const lines: CuttableLine[] = [];
afterAll(() => Promise.all([...lines, ...fakes].map((each) => each.close())));

async function fakeWith(options: FakeVaultOptions) {
  const fake = await startFakeVault(options);
  fakes.push(fake);
  fake.tokens.policy("armature", policyOfPage());
  const auth = fake.tokens.role({ policies: ["default", "armature"], ttlMs: 3_600_000 });
  return { fake, auth };
}

// What the page tells operators to allow, and no more.
function policyOfPage(): Readonly<Record<string, readonly string[]>> {
  const page = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const rules = [...page.matchAll(/^path "([^"]+)" +\{ capabilities = (\[[^\]]+\]) \}$/gm)];
  if (rules.length === 0) throw new Error("The page has no policy.");
  return Object.fromEntries(rules.map(([, path, capabilities]) => [path!, JSON.parse(capabilities!) as string[]]));
}

secretStoreSuite("Vault (fake, as Vault 1.8)", async () => {
  const { fake, auth } = await fakeWith({ like: "vault" });
  const { hostname: host, port } = new URL(fake.address);
  const line = await cuttableLine({ host, port: Number(port) });
  lines.push(line);
  return {
    secrets: vault({ address: `http://127.0.0.1:${line.port}`, auth }),
    elsewhere: vault({ address: fake.address, auth }),
    loseBackend: line.cut,
  };
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
