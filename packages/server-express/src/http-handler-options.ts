import type { Logger } from "@armature/core";
import type { CorsOptions } from "./cors.ts";
import type { McpOptions } from "./mcp-options.ts";
import type { OpenApiOptions } from "./openapi.ts";
import type { RateLimits } from "./rate-limits.ts";

export interface HttpHandlerOptions {
  /** Gets one line a request, and what went wrong on our side. */
  readonly logger?: Logger | undefined;
  /** Longest body, in bytes; 1 MiB when absent. */
  readonly bodyLimit?: number | undefined;
  /** Longest time that a client may ask for with `armature-timeout`, in milliseconds; two minutes when absent. */
  readonly maxTimeoutMs?: number | undefined;
  /** How often a silent stream shows that it is alive, in milliseconds; 15 s when absent. */
  readonly heartbeatMs?: number | undefined;
  /** Aborted when the server begins to shut down: streams end, and `/ready` says so. */
  readonly closing?: AbortSignal | undefined;
  /** What `/openapi.json` says beside the operations. */
  readonly openapi?: OpenApiOptions | undefined;
  /** Whether `GET /docs` shows the operations, by Swagger UI; false when absent. */
  readonly docs?: boolean | undefined;
  /** Which pages of other origins may call; none when absent. */
  readonly cors?: CorsOptions | undefined;
  /** How much one address, key and tenant may ask; as much as they like when absent. */
  readonly rateLimits?: RateLimits | undefined;
  /** Proxies before the server, whose `X-Forwarded-For` is believed: addresses, ranges, `loopback`, `uniquelocal`. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Whether answers are compressed that may be: see the README for which; false when absent. */
  readonly compression?: boolean | undefined;
  /** How long browsers keep to https, in seconds, once they have had an answer over it; 0, not at all, when absent. */
  readonly hstsSeconds?: number | undefined;
  /** Whether commands and actions by POST and PATCH need an `Idempotency-Key`; false when absent. */
  readonly requireIdempotencyKey?: boolean | undefined;
  /** Which operations are tools of an MCP server at `/mcp`; there is none when absent. */
  readonly mcp?: McpOptions | undefined;
}
