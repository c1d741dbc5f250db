import { defineError } from "@armature/core";
import { z } from "zod";

// None of these holds a token, a value, a path or a text of Vault's: Vault quotes paths, and once a secret id. Nor do
// they have a cause, nor name the address: they travel to callers.

/** Vault is sealed. Nothing can be read or written until its operators have unsealed it. */
export class VaultSealed extends defineError("vault.sealed", {
  kind: "unavailable",
  details: z.object({}),
  message: () => "Vault is sealed; its operators have to unseal it.",
}) {}

/** Vault has never been initialised. */
export class VaultNotInitialized extends defineError("vault.not_initialized", {
  kind: "unavailable",
  details: z.object({}),
  message: () => "Vault has not been initialised.",
}) {}

/** Vault cannot be reached, or cannot answer now. */
export class VaultUnavailable extends defineError("vault.unavailable", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) =>
    `Vault cannot be used now (${reason}); a write that was under way may or may not have happened.`,
}) {}

/** Vault did not answer in time. */
export class VaultTimedOut extends defineError("vault.timed_out", {
  kind: "timeout",
  details: z.object({ timeoutMs: z.number() }),
  message: ({ timeoutMs }) =>
    `Vault did not answer within ${timeoutMs} ms; a write that was under way may or may not have happened.`,
}) {}

/** What answered is not Vault, or not one that this adapter understands. */
export class VaultAnsweredGarbage extends defineError("vault.answered_garbage", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `What answered in Vault's place cannot be understood: ${reason}.`,
}) {}

/** There is no KV version 2 engine where secrets should be kept: the mount or the namespace is another one. */
export class VaultMountUnusable extends defineError("vault.mount_unusable", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `Vault has no KV version 2 engine at the configured mount: ${reason}.`,
}) {}

/** Vault refused a request, also with a token that is new. */
export class VaultRefused extends defineError("vault.refused", {
  kind: "forbidden",
  details: z.object({ operation: z.string(), reason: z.string() }),
  message: ({ operation, reason }) => `Vault refused to ${operation}: ${reason}.`,
}) {}

/** Vault gave no token for the configured role. */
export class VaultLoginRefused extends defineError("vault.login_refused", {
  kind: "forbidden",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `Vault refused the login: ${reason}.`,
}) {}
