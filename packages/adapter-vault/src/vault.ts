import {
  type Clock,
  GuardedHttpClient,
  type HttpClient,
  parse,
  Secret,
  type SecretStore,
  systemClock,
} from "@armature/core";
import { z } from "zod";
import { KvEngine } from "./kv-engine.ts";
import { VaultApi } from "./vault-api.ts";
import { appRoleLogin, tokenLogin } from "./vault-login.ts";
import { VaultSecretStore } from "./vault-secret-store.ts";
import { VaultSessions } from "./vault-sessions.ts";

/** A token that somebody made for this application. It is renewed while Vault lets it, and cannot be replaced. */
export interface VaultTokenAuth {
  readonly token: string | Secret<string>;
}

/** AppRole: a role's id and one of its secret ids. */
export interface VaultAppRoleAuth {
  readonly roleId: string | Secret<string>;
  readonly secretId: string | Secret<string>;
  /** Where AppRole authentication is mounted; `approle` when absent. */
  readonly mount?: string | undefined;
}

export type VaultAuth = VaultTokenAuth | VaultAppRoleAuth;

export interface VaultOptions {
  /** `https://vault.example:8200`. Over plain http everybody on the way reads tokens and secrets. */
  readonly address: string;
  readonly auth: VaultAuth;
  /** Where the KV version 2 engine is mounted; `secret` when absent. */
  readonly mount?: string | undefined;
  /** The folder below the mount that holds this deployment's secrets; `armature` when absent. */
  readonly prefix?: string | undefined;
  /** Of OpenBao or Vault Enterprise, `teams/crm`. Vault's community edition ignores it without a word. */
  readonly namespace?: string | undefined;
  /** For one request, in milliseconds; 10 s when absent. */
  readonly timeoutMs?: number | undefined;
  /** The way to Vault. When absent, a client that reaches the address and nothing else. */
  readonly http?: HttpClient | undefined;
  readonly clock?: Clock | undefined;
}

// Schemas see no credential but its text, and their messages quote nothing.
const credential = z
  .union([z.instanceof(Secret), z.string()])
  .transform((value) => (value instanceof Secret ? (value as Secret<string>) : new Secret(value)))
  .refine(
    (secret) => typeof secret.reveal() === "string" && /^[\x21-\x7e]{1,8192}$/.test(secret.reveal()),
    "must be printable ASCII without blanks (is there a line break at its end?)",
  );
const path = z
  .string()
  .regex(/^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/, "must be letters, digits, _ and - between slashes");

const tokenAuth = z.strictObject({ token: credential });
const appRoleAuth = z.strictObject({ roleId: credential, secretId: credential, mount: path.default("approle") });

const optionsSchema = z.strictObject({
  address: z
    .string()
    .refine(isAddress, "must be an http or https URL without user name, query and fragment")
    .transform((text) => text.replace(/\/+$/, "")),
  auth: z.custom<object>(
    (value) => typeof value === "object" && value !== null,
    "must be a token, or a role id and a secret id",
  ),
  mount: path.default("secret"),
  prefix: path.default("armature"),
  namespace: z
    .string()
    .regex(/^[\x21-\x7e]+$/, "must be printable ASCII without blanks")
    .optional(),
  timeoutMs: z.int().min(1).default(10_000),
});

/**
 * Secrets in HashiCorp Vault or OpenBao, in a KV version 2 engine.
 *
 * @throws {InvalidInput} an option is not valid
 */
export function vault(options: VaultOptions): SecretStore {
  const { http, clock = systemClock(), ...plain } = options;
  const { address, auth, mount, prefix, namespace, timeoutMs } = parse(optionsSchema, plain, "The options of vault");
  const { origin } = new URL(address);
  const api = new VaultApi({
    http: http ?? new GuardedHttpClient({ allowedOrigins: [origin], clock }),
    clock,
    address,
    namespace,
    timeoutMs,
  });
  const subject = "The auth option of vault";
  const login =
    "token" in auth
      ? tokenLogin(api, parse(tokenAuth, auth, subject).token)
      : appRoleLogin(api, parse(appRoleAuth, auth, subject));
  return new VaultSecretStore(api, new KvEngine(new VaultSessions(api, login), mount), prefix);
}

function isAddress(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username + url.password + url.search + url.hash === "";
}
