import {
  context,
  isSpanContextValid,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { ArmatureError } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import type { CallRequest } from "./call.ts";
import { continueTrace, type Trace } from "./trace.ts";

const tracer = trace.getTracer("@armature/core");

/**
 * Runs one call in a span named after its operation. Attributes name who and what, never inputs. Without an
 * OpenTelemetry SDK in the host the ids are made here, so that audit rows and events always have a trace.
 */
export async function inSpan<T>(
  ids: Ids,
  target: { readonly id: string; readonly operation: { readonly kind: string } },
  request: CallRequest,
  run: (trace: Trace) => Promise<T>,
): Promise<T> {
  const { principal } = request;
  const attributes = {
    "armature.operation": target.id,
    "armature.kind": target.operation.kind,
    "armature.tenant": principal.tenant,
    "armature.actor": `${principal.actor.type}:${principal.actor.id}`,
  };
  const parent = remoteParent(request.traceparent);
  return tracer.startActiveSpan(target.id, { kind: SpanKind.INTERNAL, attributes }, parent, async (span) => {
    try {
      return await run(traceOf(ids, span, request.traceparent));
    } catch (error) {
      const code = error instanceof ArmatureError ? error.code : "internal";
      span.setAttribute("error.type", code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      throw error;
    } finally {
      span.end();
    }
  });
}

function traceOf(ids: Ids, span: Span, traceparent: string | undefined): Trace {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const own = `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED) === 0 ? "00" : "01"}`;
  if (span.isRecording()) return { traceId, traceparent: own };
  // Not sampled, or no SDK (its tracer hands on the parent's context): the span's id is ours to make.
  return continueTrace(ids, isSpanContextValid(span.spanContext()) ? own : traceparent);
}

function remoteParent(traceparent: string | undefined) {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "");
  if (parts === null) return context.active();
  return trace.setSpanContext(context.active(), {
    traceId: parts[1]!,
    spanId: parts[2]!,
    traceFlags: Number.parseInt(parts[3]!, 16) & TraceFlags.SAMPLED,
    isRemote: true,
  });
}
