import { type Ids, randomHex } from "../kernel/ids.ts";

/** W3C trace context of one call. */
export interface Trace {
  readonly traceId: string;
  readonly traceparent: string;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Continues the caller's trace, or begins one. What is not a traceparent is ignored, as the standard says. */
export function continueTrace(ids: Ids, traceparent: string | undefined): Trace {
  const parent = TRACEPARENT.exec(traceparent ?? "");
  if (parent === null || /^0+$/.test(parent[1]!)) {
    const traceId = randomHex(ids, 16);
    return { traceId, traceparent: `00-${traceId}-${randomHex(ids, 8)}-01` };
  }
  // Whether the trace is recorded was decided where it began.
  const sampled = (Number.parseInt(parent[3]!, 16) & 1) === 1;
  return { traceId: parent[1]!, traceparent: `00-${parent[1]}-${randomHex(ids, 8)}-${sampled ? "01" : "00"}` };
}
