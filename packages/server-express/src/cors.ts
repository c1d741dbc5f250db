import { headerOf, type RequestHeaders } from "./http-exchange.ts";

/** Which pages of other origins may call from a browser. */
export interface CorsOptions {
  /** `https://app.example.com`, by scheme, host and port; or `"*"`: any, and then never with credentials. */
  readonly origins: readonly string[] | "*";
  /** Whether the browser may send cookies along, where the host authenticates by them. False when absent. */
  readonly credentials?: boolean | undefined;
  /** How long a browser may remember the answer to a preflight, in seconds; 600 when absent. */
  readonly maxAgeSeconds?: number | undefined;
}

const REQUEST_HEADERS = [
  ...["authorization", "x-api-key", "content-type", "idempotency-key", "if-match", "if-none-match"],
  ...["last-event-id", "armature-timeout", "x-request-id", "traceparent", "tracestate"],
  ...["mcp-protocol-version", "mcp-method", "mcp-name"],
].join(", ");

const ANSWER_HEADERS = ["etag", "link", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id"].join(", ");

/** The headers that let a browser's page read an answer, for the requests of the listed origins. */
export type CorsHeaders = (
  request: { readonly method: string; readonly headers: RequestHeaders },
  answer: Readonly<Record<string, string>>,
) => Readonly<Record<string, string>>;

/**
 * Cross-origin resource sharing (Fetch standard, 3.2). Nothing is reflected but origins that are listed.
 *
 * @throws {TypeError} for `"*"` with credentials, and for what is no origin
 */
export function corsHeaders({ origins, credentials = false, maxAgeSeconds = 600 }: CorsOptions): CorsHeaders {
  if (origins === "*" && credentials) throw new TypeError('CORS: credentials cannot go with the origin "*".');
  const listed = new Set(origins === "*" ? [] : origins);
  for (const origin of listed)
    if (URL.parse(origin)?.origin !== origin) throw new TypeError(`CORS: "${origin}" is not an origin.`);
  return ({ method, headers }, answer) => {
    const origin = headerOf(headers, "origin");
    // Caches must not give one origin's answer to another one.
    const vary: Readonly<Record<string, string>> = origins === "*" ? {} : { vary: "Origin" };
    if (origin === undefined || (origins !== "*" && !listed.has(origin))) return vary;
    const allowed = {
      ...vary,
      "access-control-allow-origin": origins === "*" ? "*" : origin,
      ...(credentials ? { "access-control-allow-credentials": "true" } : {}),
    };
    const { allow } = answer;
    const asks = method === "OPTIONS" && headerOf(headers, "access-control-request-method") !== undefined;
    if (!asks || allow === undefined) return { ...allowed, "access-control-expose-headers": ANSWER_HEADERS };
    return {
      ...allowed,
      "access-control-allow-methods": allow,
      "access-control-allow-headers": REQUEST_HEADERS,
      "access-control-max-age": String(maxAgeSeconds),
    };
  };
}
