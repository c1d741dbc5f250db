import { z } from "zod";
import { action, defineContract } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { pageOf, paging } from "../../kernel/paging.ts";
import { SecretUnreadable, SecretVersionConflict } from "../../kernel/port-errors.ts";
import { sensitive } from "../../kernel/sensitive.ts";

const secretName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    "must be 1 to 128 letters, digits, dots, hyphens or underscores, and start with a letter or digit",
  );
const value = sensitive(z.string().min(1).max(65_536));
const version = z.int().min(1);

/** The host has not switched on that plaintext may leave the process. */
export class SecretRevealDisabled extends defineError("secrets.reveal_disabled", {
  kind: "forbidden",
  details: z.object({}),
  message: () => "Secrets cannot be read back here: the host has not allowed it.",
}) {}

const contract = defineContract("secrets", {
  put: action({
    input: z.strictObject({
      name: secretName,
      value,
      /** The newest version that the caller knows; 0 when there must be none. */
      expectedVersion: z.int().min(0).optional(),
    }),
    output: z.object({ version }),
    permission: "secrets:write",
    http: "PUT /secrets/{name}",
    errors: [SecretVersionConflict, SecretUnreadable],
    repeatable: "handler",
    summary: "Writes a new version of one of the tenant's own secrets.",
  }),
  list: action({
    input: z.strictObject({ limit: paging.limit, after: secretName.optional() }),
    output: pageOf(z.object({ name: secretName })),
    permission: "secrets:read",
    http: "GET /secrets",
    repeatable: true,
    summary: "Lists the names of the tenant's own secrets, never their values.",
  }),
  delete: action({
    input: z.strictObject({ name: secretName }),
    permission: "secrets:write",
    http: "DELETE /secrets/{name}",
    repeatable: "handler",
    summary: "Destroys every version of one of the tenant's own secrets.",
  }),
  reveal: action({
    input: z.strictObject({ name: secretName, version: version.optional() }),
    output: z.object({ name: secretName, version, value }),
    permission: "secrets:reveal",
    http: "POST /secrets/{name}/reveal",
    errors: [SecretRevealDisabled, SecretUnreadable],
    repeatable: true,
    summary: "Reads a secret back in plaintext, where the host allows it.",
  }),
});

export interface Secrets extends Readonly<typeof contract> {}
/** The secrets that a tenant keeps for itself. Credentials of connections are not among them. */
export const secrets: Secrets = contract;
