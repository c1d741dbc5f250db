import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { Refusal } from "./loopback-server.ts";

/** What an access token for the CRM names as its audience: a token for another API is not good here. */
export const crmAudience = "urn:armature-examples:sandbox-crm";
export const crmScopes = ["contacts.read", "contacts.write"] as const;
export type Scope = (typeof crmScopes)[number];

/** Who calls the CRM. */
export interface Caller {
  readonly account: string;
  readonly via: "oauth" | "api-key";
  readonly scopes: ReadonlySet<string>;
}

/** RFC 7662: what the authorization server says about a token. */
const introspectionSchema = z.discriminatedUnion("active", [
  z.object({ active: z.literal(false) }),
  z.object({
    active: z.literal(true),
    /** Absent when no person is behind the token but a client that acts for itself. */
    sub: z.string().optional(),
    client_id: z.string(),
    aud: z.string(),
    scope: z.string().default(""),
  }),
]);

/**
 * Establishes who calls: by an API key that the CRM gave out, or by an access token, about which the authorization
 * server is asked each time, so that a revoked or expired one is refused at once.
 *
 * @throws Refusal 401 with `WWW-Authenticate` (RFC 6750); 503 when the authorization server cannot be asked
 */
export async function identifyCaller(
  request: IncomingMessage,
  options: {
    readonly authorizationServer: string;
    readonly api: { readonly id: string; readonly secret: string };
    /** Account by API key. */
    readonly apiKeys: ReadonlyMap<string, string>;
  },
): Promise<Caller> {
  const key = request.headers["x-api-key"];
  if (typeof key === "string") {
    const account = options.apiKeys.get(key);
    if (account === undefined) throw unauthenticated("invalid_api_key", "The API key is unknown.");
    return { account, via: "api-key", scopes: new Set(crmScopes) };
  }
  const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) throw unauthenticated("unauthenticated", "Send an access token or an API key.");

  const answer = await introspect(token, options);
  if (!answer.active || answer.aud !== crmAudience) {
    throw unauthenticated("invalid_token", "The access token is expired, revoked or not for this API.");
  }
  return { account: answer.sub ?? answer.client_id, via: "oauth", scopes: new Set(answer.scope.split(" ")) };
}

/** @throws Refusal 403 when the caller was not given the scope */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.has(scope)) return;
  throw new Refusal(403, "insufficient_scope", `This needs the scope ${scope}.`, {
    "www-authenticate": `Bearer realm="sandbox-crm", error="insufficient_scope", scope="${scope}"`,
  });
}

async function introspect(token: string, { authorizationServer, api }: Parameters<typeof identifyCaller>[1]) {
  try {
    const response = await fetch(new URL("/token/introspection", authorizationServer), {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(`${api.id}:${api.secret}`).toString("base64")}` },
      body: new URLSearchParams({ token, token_type_hint: "access_token" }),
      signal: AbortSignal.timeout(5_000),
    });
    if (!response.ok) throw new Error(`introspection answered ${response.status}`);
    return introspectionSchema.parse(await response.json());
  } catch (cause) {
    console.error(cause);
    throw new Refusal(503, "authorization_server_unavailable", "The authorization server cannot be asked.");
  }
}

function unauthenticated(code: string, message: string): Refusal {
  const detail = code === "invalid_token" ? `, error="invalid_token", error_description="${message}"` : "";
  return new Refusal(401, code, message, { "www-authenticate": `Bearer realm="sandbox-crm"${detail}` });
}
