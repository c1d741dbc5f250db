import { secretStoreSuite } from "@armature/conformance";
import { describe, it } from "vitest";
import { vault } from "./vault.ts";

const { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_MOUNT: mount, VAULT_NAMESPACE: namespace } = process.env;

// Vault and OpenBao are in no package registry that CI reaches, so a missing server is no failure there either.
if (address === undefined || token === undefined)
  describe("SecretStore: a real Vault", () => {
    it.skip("skipped: it takes `vault server -dev -dev-root-token-id=dev` (or bao), and then `VAULT_ADDR=http://127.0.0.1:8200 VAULT_TOKEN=dev pnpm test packages/adapter-vault`", () => {});
  });
else
  secretStoreSuite(`a real Vault at ${new URL(address).host}`, () =>
    vault({ address, auth: { token }, mount, namespace }),
  );
