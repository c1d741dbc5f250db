import { z } from "zod";
import { SecretUnreadable } from "../../kernel/port-errors.ts";
import { tryParse } from "../../kernel/schema.ts";
import { Secret } from "../../kernel/secret.ts";
import { reauthorizationReason } from "./contract.ts";

const oauth2Credential = z.object({
  type: z.literal("oauth2"),
  accessToken: z.string(),
  /** Milliseconds; absent when the provider did not say. */
  expiresAt: z.number().optional(),
  /** When it is renewed instead of used: a little before its end. */
  renewAt: z.number().optional(),
  refreshToken: z.string().optional(),
  scopes: z.array(z.string()),
  /** Written before a refresh token is used: when the process dies now, the next one knows why the token is dead. */
  rotationBegun: z.number().optional(),
  /** The provider no longer takes the refresh token: nobody need ask again. */
  broken: reauthorizationReason.optional(),
});

const apiKeyCredential = z.object({ type: z.literal("api-key"), key: z.string() });

const basicCredential = z.object({ type: z.literal("basic"), username: z.string(), password: z.string() });

const clientCredential = z.object({
  type: z.literal("client-credentials"),
  /** The tenant's own client; absent when the app's is used. */
  client: z.object({ id: z.string(), secret: z.string() }).optional(),
  accessToken: z.string(),
  expiresAt: z.number().optional(),
  renewAt: z.number().optional(),
  scopes: z.array(z.string()),
  /** The provider no longer takes the client: nobody need ask again. */
  broken: reauthorizationReason.optional(),
});

const credential = z.discriminatedUnion("type", [
  oauth2Credential,
  apiKeyCredential,
  basicCredential,
  clientCredential,
]);

export type OAuthToken = z.infer<typeof oauth2Credential>;
export type ClientToken = z.infer<typeof clientCredential>;
export type Credential = z.infer<typeof credential>;

/** Where a connection's credential is kept: a name of its own for each time it is connected. */
export function credentialName(connectorId: string, connectionId: string): string {
  return `connectors/${connectorId}/${connectionId}`;
}

export function sealCredential(value: Credential): Secret<string> {
  return new Secret(JSON.stringify(value));
}

/** Reads a stored credential. Throws `SecretUnreadable` when it is not one. */
export function openCredential(name: string, value: Secret<string>): Credential {
  let json: unknown;
  try {
    json = JSON.parse(value.reveal());
  } catch {
    // The parser's message would quote the credential.
    throw new SecretUnreadable({ name });
  }
  const parsed = tryParse(credential, json);
  if (!parsed.ok) throw new SecretUnreadable({ name });
  return parsed.value;
}
