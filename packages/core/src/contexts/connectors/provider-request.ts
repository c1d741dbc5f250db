import { InvalidInput } from "../../kernel/errors.ts";
import type { ConnectorDefinition, ProviderRequest } from "./connector-definition.ts";
import type { Credential } from "./credential.ts";

/** A request to a provider as it is sent, all but the credential. */
export interface PreparedRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Puts an action's request together. */
export function prepare(
  { http }: ConnectorDefinition,
  path: string,
  request: ProviderRequest<unknown>,
): PreparedRequest {
  const url = below(http.baseUrl, path);
  for (const [name, value] of Object.entries(request.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value));
  const body = request.json === undefined ? undefined : JSON.stringify(request.json);
  const headers = {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    accept: "application/json",
    ...http.headers,
    ...lowerCase(request.headers),
  };
  return { url: url.href, headers, body };
}

/** The header that proves who the connection is. */
export function credentialHeader({ auth }: ConnectorDefinition, credential: Credential): Record<string, string> {
  switch (credential.type) {
    case "oauth2":
    case "client-credentials":
      return { authorization: `Bearer ${credential.accessToken}` };
    case "basic": {
      const { username, password } = credential;
      // RFC 7617 with charset UTF-8, which is what a provider that names none understands most often.
      return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
    }
    case "api-key": {
      const { header, prefix } = auth.apiKey ?? { header: "authorization", prefix: "Bearer " };
      return { [header]: `${prefix}${credential.key}` };
    }
  }
}

// A path that was put together from a caller's text must not lead the credential elsewhere, nor to another resource
// of the same provider: an id ".." is no id, and encodeURIComponent leaves it as it is.
function below(baseUrl: string, path: string): URL {
  const base = new URL(`${baseUrl}/`);
  const url = new URL(baseUrl + path);
  if (!path.startsWith("/") || url.origin !== base.origin || !url.pathname.startsWith(base.pathname))
    throw new TypeError("A path of a provider's action must begin with a slash and stay below the base URL.");
  if (DOT_SEGMENT.test(path.replace(/[?#].*$/s, "")))
    throw new InvalidInput({
      subject: "The address of the provider's action",
      issues: [{ path: "", message: 'has "." or ".." for a part of it; an id may be neither' }],
    });
  return url;
}

const DOT_SEGMENT = /[/\\](?:\.|%2e){1,2}(?:[/\\]|$)/i;

function lowerCase(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
