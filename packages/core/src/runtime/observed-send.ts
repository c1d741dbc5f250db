import { type Attributes, metrics, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { stopwatch } from "../kernel/clock.ts";
import type { HttpClient, HttpRequest, HttpResponse } from "../kernel/ports.ts";
import { markFailed, SCOPE, SECONDS } from "./telemetry.ts";

const tracer = trace.getTracer(SCOPE);

/**
 * Gives each outgoing request a span and counts its time, by OpenTelemetry's conventions for HTTP clients. The path is
 * left out, since ids and personal data stand in it. No trace context is sent: the other side is not ours.
 */
export function observedSend(http: HttpClient): HttpClient["send"] {
  const durations = metrics.getMeter(SCOPE).createHistogram("http.client.request.duration", {
    unit: "s",
    description: "How long requests to other systems took.",
    advice: { explicitBucketBoundaries: SECONDS },
  });
  return async (request) => {
    const attributes = describe(request);
    const span = tracer.startSpan(request.method, { kind: SpanKind.CLIENT, attributes });
    const elapsed = stopwatch();
    let outcome: Attributes = {};
    try {
      const response = await http.send(request);
      outcome = outcomeOf(response);
      if (response.status >= 400) span.setStatus({ code: SpanStatusCode.ERROR });
      return response;
    } catch (error) {
      outcome = markFailed(span, error);
      throw error;
    } finally {
      span.setAttributes(outcome).end();
      durations.record(elapsed(), { ...attributes, ...outcome });
    }
  };
}

function describe({ method, url }: HttpRequest): Attributes {
  if (!URL.canParse(url)) return { "http.request.method": method };
  const { hostname, port, protocol } = new URL(url);
  return {
    "http.request.method": method,
    "server.address": hostname,
    "server.port": port === "" ? (protocol === "http:" ? 80 : 443) : Number(port),
  };
}

function outcomeOf({ status }: HttpResponse): Attributes {
  return {
    "http.response.status_code": status,
    ...(status >= 400 ? { "error.type": String(status) } : {}),
  };
}
