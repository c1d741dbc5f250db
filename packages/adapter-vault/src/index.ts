export {
  VaultAnsweredGarbage,
  VaultLoginRefused,
  VaultMountUnusable,
  VaultNotInitialized,
  VaultRefused,
  VaultSealed,
  VaultTimedOut,
  VaultUnavailable,
} from "./errors.ts";
export { type VaultAppRoleAuth, type VaultAuth, type VaultOptions, type VaultTokenAuth, vault } from "./vault.ts";
