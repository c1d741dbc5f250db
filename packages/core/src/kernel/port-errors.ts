import { z } from "zod";
import { defineError, type ErrorClass } from "./errors.ts";

/** The newest version of a secret is not the one that the writer expected: somebody else wrote first. */
export class SecretVersionConflict extends defineError("secret.version_conflict", {
  kind: "conflict",
  details: z.object({ name: z.string(), expected: z.number() }),
  message: ({ name, expected }) => `The secret "${name}" is no longer at version ${expected}.`,
}) {}

/** A sealed value does not open: another key-encryption key, or tampered data. */
export class SecretUnreadable extends defineError("secret.unreadable", {
  kind: "internal",
  details: z.object({ name: z.string() }),
  message: ({ name }) => `The secret "${name}" cannot be opened with the configured key.`,
}) {}

/** The key-encryption key is not the one that this store's secrets were sealed with. */
export class KeyEncryptionKeyWrong extends defineError("secret.key_encryption_key_wrong", {
  kind: "internal",
  details: z.object({}),
  message: () =>
    "The configured key-encryption key is not the one that this store's secrets were sealed with; none of them can be opened.",
}) {}

/** The address is private, local or otherwise special, and the host has not listed its origin. */
export class AddressRefused extends defineError("http.address_refused", {
  kind: "forbidden",
  details: z.object({ host: z.string(), reason: z.string() }),
  message: ({ host, reason }) =>
    `Calls to "${host}" are refused: ${reason}. Only the host's \`allowedOrigins\` can except it.`,
}) {}

/** No answer could be had from the other side. The request may or may not have arrived. */
export class ProviderUnreachable extends defineError("provider.unreachable", {
  kind: "unavailable",
  details: z.object({ host: z.string(), reason: z.string() }),
  message: ({ host, reason }) => `"${host}" cannot be reached: ${reason}.`,
}) {}

/** The other side did not answer in time. The request may or may not have had its effect. */
export class ProviderTimedOut extends defineError("provider.timed_out", {
  kind: "timeout",
  details: z.object({ host: z.string(), timeoutMs: z.number() }),
  message: ({ host, timeoutMs }) => `"${host}" did not answer within ${timeoutMs} ms.`,
}) {}

/** The other side answered something that is not what it claims to be, or too much of it. */
export class ProviderAnsweredGarbage extends defineError("provider.answered_garbage", {
  kind: "unavailable",
  details: z.object({ host: z.string(), reason: z.string() }),
  message: ({ host, reason }) => `"${host}" gave an answer that cannot be used: ${reason}.`,
}) {}

/** The provider has been down, and it is not yet time to try again. Nothing was sent, and nothing has happened. */
export class CircuitOpen extends defineError("provider.circuit_open", {
  kind: "unavailable",
  details: z.object({ provider: z.string(), retryAfterMs: z.number() }),
  message: ({ provider, retryAfterMs }) =>
    `"${provider}" is down, and nothing is sent to it for now; ask again in ${Math.ceil(retryAfterMs / 1000)} s.`,
}) {}

/** No rows can be read: they are being made for the first time, or those that are there are not of this version. */
export class ProjectionNotReady extends defineError("projection.not_ready", {
  kind: "unavailable",
  details: z.object({ projection: z.string(), version: z.number() }),
  message: ({ projection, version }) =>
    `The projection "${projection}" cannot be read yet: its rows of version ${version} are still being made.`,
}) {}

export const portErrors: readonly ErrorClass[] = [
  SecretVersionConflict,
  SecretUnreadable,
  KeyEncryptionKeyWrong,
  AddressRefused,
  ProviderUnreachable,
  ProviderTimedOut,
  ProviderAnsweredGarbage,
  CircuitOpen,
  ProjectionNotReady,
];

/** The store cannot take part in a transaction of the host's. */
export class HostTransactionUnsupported extends defineError("host_transaction.unsupported", {
  kind: "precondition",
  details: z.object({}),
  message: () =>
    "This store cannot take part in a transaction of the host's: that takes PostgreSQL on a server, `postgres({ pool })`.",
}) {}

const sentences = {
  "not-open":
    "The client is not in the transaction that `within` works in: there was no BEGIN on it, or the transaction has ended. On its own each command would commit by itself, so none is run.",
  failed: "A statement of the transaction has failed, so all that is left to do is to roll it back.",
  left: "The function given to `within` has ended, and what it was given ends with it.",
} as const;

/** The transaction that was given to `within` cannot be used. Nothing was done. */
export class HostTransactionUnusable extends defineError("host_transaction.unusable", {
  kind: "precondition",
  details: z.object({ reason: z.enum(["not-open", "failed", "left"]) }),
  message: ({ reason }) => sentences[reason],
}) {}

/** The operation may wait for the outside, which a transaction must not. */
export class NotWithinTransaction extends defineError("host_transaction.not_within", {
  kind: "precondition",
  details: z.object({ operation: z.string(), operationKind: z.enum(["action", "stream"]) }),
  message: ({ operation, operationKind }) =>
    `${operation} is ${operationKind === "action" ? "an action" : "a stream"} and cannot run inside of a transaction: it may wait for the outside. Call it before the transaction or after it.`,
}) {}
