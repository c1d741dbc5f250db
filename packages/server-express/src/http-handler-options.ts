import type { Logger } from "@armature/core";
import type { OpenApiOptions } from "./openapi.ts";

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
}
