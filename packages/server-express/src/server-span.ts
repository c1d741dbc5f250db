import { randomBytes } from "node:crypto";
import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { headerOf, type RequestHeaders } from "./http-exchange.ts";

const tracer = trace.getTracer("@armature/server-express");
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** The trace that a request belongs to, and its span where an OpenTelemetry SDK listens. */
export interface ServerSpan {
  readonly traceId: string;
  /** What the calls that the request makes continue. */
  readonly traceparent: string;
  end(result: {
    readonly status: number;
    readonly operation?: string | undefined;
    readonly code?: string | undefined;
  }): void;
}

/**
 * Begins the request's span: in the host's own one where its server is instrumented, else in the client's trace, else
 * in a new one. Without an SDK the ids are made here, so that every answer, event and audit row names the same trace.
 */
export function startServerSpan(method: string, headers: RequestHeaders): ServerSpan {
  const outer = trace.getSpanContext(context.active());
  const instrumented = outer !== undefined && isSpanContextValid(outer);
  const parent = instrumented ? context.active() : remoteParent(headers);
  const kind = instrumented ? SpanKind.INTERNAL : SpanKind.SERVER;
  const span = tracer.startSpan(method, { kind, attributes: { "http.request.method": method } }, parent);
  const own = span.spanContext();
  const { traceId, spanId, traceFlags } = isSpanContextValid(own)
    ? own
    : { traceId: randomHex(16), spanId: randomHex(8), traceFlags: 1 };
  return {
    traceId,
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
    end: (result) => end(span, result),
  };
}

function end(span: Span, { status, operation, code }: Parameters<ServerSpan["end"]>[0]): void {
  span.setAttribute("http.response.status_code", status);
  if (operation !== undefined) span.setAttribute("armature.operation", operation);
  if (code !== undefined) span.setAttribute("error.type", code);
  // A refusal is the client's error and no failure of the server's span (OpenTelemetry's HTTP conventions).
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

function remoteParent(headers: RequestHeaders) {
  const [, traceId = "", spanId = "", flags = ""] = TRACEPARENT.exec(headerOf(headers, "traceparent") ?? "") ?? [];
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(remote) ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT;
}

const randomHex = (bytes: number) => randomBytes(bytes).toString("hex");
