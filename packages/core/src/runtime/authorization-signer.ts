import { createHmac } from "node:crypto";
import { z } from "zod";
import type { AuthorizationSigner } from "../contexts/connectors/ports.ts";
import type { Clock } from "../kernel/clock.ts";
import { tenantId } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import { deriveKey } from "./key-derivation.ts";
import { signToken, verifyToken } from "./signed-token.ts";

const authorizationState = z.strictObject({
  tenant: tenantId,
  connectorId: z.string(),
  nonce: z.string(),
  startedBy: z.strictObject({ type: z.enum(["user", "service"]), id: z.string() }).nullable(),
});

/** Signs what an OAuth authorization says of itself, with keys that follow from the key-encryption key. */
export function authorizationSigner(key: Secret<string>, clock: Clock): AuthorizationSigner {
  const stateKey = deriveKey(key, "oauth-state");
  const verifierKey = deriveKey(key, "oauth-code-verifier");
  return {
    sign: (state, expiresAt) =>
      signToken(stateKey, { ...state, startedBy: state.startedBy === null ? null : { ...state.startedBy } }, expiresAt),
    verify: (text) => verifyToken(stateKey, text, authorizationState, clock.now()),
    codeVerifier: (nonce) => createHmac("sha256", verifierKey.reveal()).update(nonce).digest("base64url"),
  };
}
