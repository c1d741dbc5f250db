import type { Principal } from "./principal.ts";
import type { JsonObject } from "./schema.ts";
import type { Secret } from "./secret.ts";

/** Public keys by which anybody can check a token: a JSON Web Key Set (RFC 7517). */
export interface PublicKeys {
  readonly keys: readonly JsonObject[];
}

export interface TokenRequest {
  readonly principal: Principal;
  /** Who may believe the token: the URLs of the services that it is shown to. */
  readonly audience: readonly string[];
  /** What it is for, where it is for one thing alone. */
  readonly subject?: string | undefined;
}

/**
 * Short-lived, signed words of who calls: tenant, actor, on whose behalf, within which limits. What calls another
 * service shows one; a bare header is never believed.
 */
export interface PrincipalTokens {
  /** Who signs, and whose API a token has to be for that `verify` believes: a URL. */
  readonly issuer: string;
  /** How long a token is good for, in milliseconds. */
  readonly lifetimeMs: number;
  issue(request: TokenRequest): Promise<Secret<string>>;
  /** Whose word the token is; undefined for one that is forged, damaged, expired, or meant for somebody else. */
  verify(token: string): Promise<Principal | undefined>;
  publicKeys(): PublicKeys;
}
