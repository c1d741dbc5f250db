import type { OwnClient } from "../../kernel/contract.ts";
import type { Party, Principal } from "../../kernel/principal.ts";
import type { Connectors } from "./contract.ts";

/** What the state parameter of an authorization says. It comes back through a browser, so it is signed. */
export interface AuthorizationState {
  readonly tenant: string;
  readonly connectorId: string;
  readonly nonce: string;
  readonly startedBy: Party | null;
}

/** Keyed computations that the connectors context needs; the keys stay with the composition root. */
export interface AuthorizationSigner {
  /** A token for a URL; `expiresAt` in milliseconds. */
  sign(state: AuthorizationState, expiresAt: number): Promise<string>;
  /** The state, or undefined when the token is forged, damaged or expired. */
  verify(token: string): Promise<AuthorizationState | undefined>;
  /** The PKCE code verifier that belongs to a nonce: derived, so that it need not be stored anywhere. */
  codeVerifier(nonce: string): string;
}

/**
 * Calls of the context's own operations that do not end with the caller: what a token renewal has to write down must
 * not depend on whether the first of its waiters is still there.
 */
export type DetachedCalls = (caller: {
  readonly principal: Principal;
  readonly traceparent: string;
  readonly correlationId: string;
}) => OwnClient<Connectors>;

/** Remembers work that nobody waits for, so that the application does not close before it has ended. */
export type Background = <T>(work: Promise<T>) => Promise<T>;
