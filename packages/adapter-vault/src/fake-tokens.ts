import { randomBytes } from "node:crypto";
import type { Clock } from "@armature/core";
import { type FakeReply, give, refuse } from "./fake-kv.ts";

export interface FakeTokenOptions {
  /** Names of policies, with `default` unless it is left out by name; `root` may do anything. */
  readonly policies?: readonly string[];
  /** 0 when absent: without end. */
  readonly ttlMs?: number;
  /** The longest life, counted from its making. */
  readonly maxTtlMs?: number;
  readonly renewable?: boolean;
}

interface Token {
  readonly id: string;
  readonly policies: readonly string[];
  readonly ttlMs: number;
  readonly lastAt: number;
  readonly renewable: boolean;
  expiresAt: number;
}

interface Role {
  readonly token: FakeTokenOptions;
  /** Logins left, by secret id. */
  readonly secretIds: Map<string, number>;
}

export type FakePolicy = Readonly<Record<string, readonly string[]>>;

const DEFAULT_POLICY: FakePolicy = {
  "auth/token/lookup-self": ["read"],
  "auth/token/renew-self": ["update"],
  "auth/token/revoke-self": ["update"],
};

/** Tokens with their lives, policies and AppRole, as Vault has them. */
export class FakeTokens {
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();
  readonly #roles = new Map<string, Role>();
  readonly #policies = new Map<string, FakePolicy>([["default", DEFAULT_POLICY]]);
  /** Successful logins. */
  logins = 0;
  renewals = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  create({ policies = ["default"], ttlMs = 0, maxTtlMs, renewable = true }: FakeTokenOptions = {}): string {
    const now = this.#clock.now();
    const lastAt = maxTtlMs === undefined ? Number.POSITIVE_INFINITY : now + maxTtlMs;
    const id = `hvs.fake${randomBytes(18).toString("hex")}`;
    const expiresAt = ttlMs === 0 ? Number.POSITIVE_INFINITY : Math.min(now + ttlMs, lastAt);
    this.#tokens.set(id, { id, policies, ttlMs, lastAt, renewable: renewable && ttlMs > 0, expiresAt });
    return id;
  }

  revoke(id: string): void {
    this.#tokens.delete(id);
  }

  revokeAll(): void {
    this.#tokens.clear();
  }

  /** Paths may end with `*`, and have `+` for one segment. */
  policy(name: string, rules: FakePolicy): void {
    this.#policies.set(name, rules);
  }

  role(
    token: FakeTokenOptions,
    uses = Number.POSITIVE_INFINITY,
  ): { readonly roleId: string; readonly secretId: string } {
    const roleId = randomBytes(16).toString("hex");
    const secretId = `secret-id-${randomBytes(16).toString("hex")}`;
    this.#roles.set(roleId, { token, secretIds: new Map([[secretId, uses]]) });
    return { roleId, secretId };
  }

  dropSecretIds(roleId: string): void {
    this.#roles.get(roleId)?.secretIds.clear();
  }

  /** The token while it is good. */
  find(id: string): Token | undefined {
    const token = this.#tokens.get(id);
    return token !== undefined && token.expiresAt > this.#clock.now() ? token : undefined;
  }

  allows({ policies }: Token, capability: string, path: string): boolean {
    if (policies.includes("root")) return true;
    return this.#rulesOf(policies).some(
      ([pattern, capabilities]) => capabilities.includes(capability) && matches(pattern, path),
    );
  }

  /** Whether any rule leads below the mount. */
  reaches({ policies }: Token, mount: string): boolean {
    if (policies.includes("root")) return true;
    return this.#rulesOf(policies).some(([pattern]) => pattern.startsWith(`${mount}/`));
  }

  lookup(token: Token): FakeReply {
    const { id, policies, renewable, expiresAt } = token;
    const ttl = Number.isFinite(expiresAt) ? Math.ceil((expiresAt - this.#clock.now()) / 1000) : 0;
    return give({ id, accessor: "fake-accessor", policies, renewable, ttl, type: "service" });
  }

  /** Near the longest life it gives what is left, with a warning; the token itself ends then. */
  renew(token: Token): FakeReply {
    if (!token.renewable) return refuse(400, "lease is not renewable");
    this.renewals += 1;
    const now = this.#clock.now();
    const capped = now + token.ttlMs > token.lastAt;
    token.expiresAt = capped ? token.lastAt : now + token.ttlMs;
    const left = Math.floor((token.expiresAt - now) / 1000);
    const warning = `TTL of "${token.ttlMs / 1000}s" exceeded the effective max_ttl of "${left}s"; TTL value is capped accordingly`;
    return this.#auth(token, left, capped ? [warning] : null);
  }

  /** Every failure is 400. */
  login(roleId: unknown, secretId: unknown): FakeReply {
    if (typeof roleId !== "string" || roleId === "") return refuse(400, "missing role_id");
    if (typeof secretId !== "string" || secretId === "") return refuse(400, "missing secret_id");
    const role = this.#roles.get(roleId);
    const left = role?.secretIds.get(secretId) ?? 0;
    if (role === undefined || left === 0) return refuse(400, `invalid secret_id "${secretId}"`);
    role.secretIds.set(secretId, left - 1);
    this.logins += 1;
    const token = this.#tokens.get(this.create(role.token))!;
    return this.#auth(token, token.ttlMs / 1000, null);
  }

  #auth({ id, policies, renewable }: Token, seconds: number, warnings: readonly string[] | null): FakeReply {
    const auth = { client_token: id, accessor: "fake-accessor", policies, lease_duration: seconds, renewable };
    return give(null, { auth: { ...auth, token_type: "service" }, warnings });
  }

  #rulesOf(policies: readonly string[]): readonly (readonly [string, readonly string[]])[] {
    return policies.flatMap((name) => Object.entries(this.#policies.get(name) ?? {}));
  }
}

function matches(pattern: string, path: string): boolean {
  const open = pattern.endsWith("*");
  const source = (open ? pattern.slice(0, -1) : pattern).replace(/[.*?^${}()|[\]\\]/g, "\\$&").replaceAll("+", "[^/]+");
  return new RegExp(`^${source}${open ? "" : "$"}`).test(path);
}
