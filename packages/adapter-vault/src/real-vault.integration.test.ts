import { secretStoreSuite } from "@armature/conformance";
import { describe, it } from "vitest";
import { vault } from "./vault.ts";

const { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_MOUNT: mount, VAULT_NAMESPACE: namespace } = process.env;

// Vault and OpenBao are in no package registry that CI reaches, so a missing server is no failure there either.
if (address === undefined || token === undefined)
  describe("SecretStore: a real Vault", () => {
    it.skip("skipped: start `vault server -dev` or `bao server -dev` and set VAULT_ADDR and VAULT_TOKEN", () => {});
  });
else
  secretStoreSuite(`a real Vault at ${new URL(address).host}`, () =>
    vault({ address, auth: { token }, mount, namespace }),
  );
