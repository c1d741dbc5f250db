import {
  type Attributes,
  type Counter,
  context,
  createNoopMeter,
  type Histogram,
  isSpanContextValid,
  type Meter,
  metrics,
  ProxyTracerProvider,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { stopwatch } from "../kernel/clock.ts";
import { ArmatureError, VersionConflict } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import type { Commit, CommitResult, Store, StoredEvent } from "../kernel/store.ts";
import type { CallRequest } from "./call.ts";
import { continueTrace, type Trace } from "./trace.ts";

/** The name under which core speaks to OpenTelemetry. */
export const SCOPE = "@armature/core";
const tracer = trace.getTracer(SCOPE);

/** What OpenTelemetry advises for durations in seconds. */
export const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** From handled at once to handled when somebody repaired it. */
const LAG_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 86_400];

/** How a delivery of an event to a consumer ended. */
export type Delivery = "handled" | "handled-before" | "failed" | "parked";

/**
 * Spans and metrics through OpenTelemetry's API: with no SDK in the host, nothing is kept. Attributes name who and what,
 * never inputs; metrics have no attribute of which there are many, such as tenants. The meter is taken when the
 * application is made, so a host starts its SDK before.
 */
export class Telemetry {
  readonly #ids: Ids;
  readonly #meter: Meter;
  /** Whether the host had a meter provider when the application was made. */
  readonly #metered: boolean;
  readonly #operations: Histogram;
  readonly #commits: Histogram;
  readonly #published: Counter;
  readonly #deliveries: Counter;
  readonly #lag: Histogram;

  constructor(ids: Ids) {
    this.#ids = ids;
    this.#meter = metrics.getMeter(SCOPE);
    this.#metered = this.#meter !== createNoopMeter();
    const seconds = (name: string, description: string, explicitBucketBoundaries = SECONDS) =>
      this.#meter.createHistogram(name, { unit: "s", description, advice: { explicitBucketBoundaries } });
    this.#operations = seconds("armature.operation.duration", "How long calls of operations and consumers took.");
    this.#commits = seconds("armature.commit.duration", "How long the store took to commit, or to refuse to.");
    this.#lag = seconds(
      "armature.delivery.lag",
      "From an event to the end of its handling by a consumer.",
      LAG_SECONDS,
    );
    this.#published = this.#meter.createCounter("armature.relay.published", {
      unit: "{event}",
      description: "Events that the bus has taken.",
    });
    this.#deliveries = this.#meter.createCounter("armature.deliveries", {
      unit: "{delivery}",
      description: "Deliveries of events to consumers, by how they ended.",
    });
  }

  /**
   * Runs one call in a span named after its operation. Where nobody records, neither spans nor metrics, that costs
   * nothing: the call then makes a trace of its own when it needs one.
   */
  call<T>(
    target: { readonly id: string; readonly operation: { readonly kind: string } },
    request: CallRequest,
    run: (trace: Trace | undefined) => Promise<T>,
  ): Promise<T> {
    if (!this.#metered && !hasTracer()) return run(undefined);
    const { principal, traceparent } = request;
    const { kind } = target.operation;
    const dimensions = { "armature.operation": target.id, "armature.kind": kind };
    const attributes = {
      ...dimensions,
      "armature.tenant": principal.tenant,
      "armature.actor": `${principal.actor.type}:${principal.actor.id}`,
    };
    const spanKind = kind === "subscription" ? SpanKind.CONSUMER : SpanKind.INTERNAL;
    const elapsed = stopwatch();
    return tracer.startActiveSpan(
      target.id,
      { kind: spanKind, attributes },
      remoteParent(traceparent),
      async (span) => {
        let failed: Attributes = {};
        try {
          return await run(traceOf(this.#ids, span, traceparent));
        } catch (error) {
          failed = markFailed(span, error);
          throw error;
        } finally {
          span.end();
          this.#operations.record(elapsed(), { ...dimensions, ...failed });
        }
      },
    );
  }

  /** Commits. A race that was lost is no failure: the call runs again, or says so itself. */
  async commit(store: Pick<Store, "commit">, tenant: string, commit: Commit): Promise<CommitResult> {
    if (!this.#metered && !hasTracer()) return store.commit(tenant, commit);
    const contexts = commit.parts.map((part) => part.context);
    const events = commit.parts.reduce((sum, part) => sum + part.events.length, 0);
    const attributes = { "armature.tenant": tenant, "armature.contexts": contexts, "armature.commit.events": events };
    const span = tracer.startSpan("commit", { attributes });
    const elapsed = stopwatch();
    let outcome: Attributes = {};
    try {
      const result = await store.commit(tenant, commit);
      outcome = { "armature.commit.outcome": result.status };
      return result;
    } catch (error) {
      outcome = error instanceof VersionConflict ? { "armature.commit.outcome": "conflict" } : markFailed(span, error);
      throw error;
    } finally {
      span.setAttributes(outcome).end();
      this.#commits.record(elapsed(), { "armature.context": contexts[0] ?? "none", ...outcome });
    }
  }

  /** Hands a batch of one context's events to the bus. The span is linked to what raised them. */
  async publish(context: string, events: readonly StoredEvent[], run: () => Promise<void>): Promise<void> {
    const attributes = {
      "armature.context": context,
      "messaging.operation.name": "publish",
      "messaging.operation.type": "send",
      "messaging.destination.name": `/contexts/${context}`,
      "messaging.batch.message_count": events.length,
    };
    const parents = new Set(events.slice(0, MOST_LINKS).map((event) => event.traceparent));
    const links = [...parents].flatMap((parent) => {
      const linked = spanContextOf(parent);
      return linked === undefined ? [] : [{ context: linked }];
    });
    const span = tracer.startSpan(`publish ${context}`, { kind: SpanKind.PRODUCER, attributes, links, root: true });
    try {
      await run();
      this.#published.add(events.length, { "armature.context": context });
    } catch (error) {
      markFailed(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  /** Counts a delivery, and how long after the event (in milliseconds since 1970) it ended. */
  delivery(consumer: string, outcome: Delivery, event: StoredEvent, now: number): void {
    this.#deliveries.add(1, { "armature.consumer": consumer, "armature.delivery.outcome": outcome });
    if (outcome === "handled")
      this.#lag.record(Math.max(0, now - Date.parse(event.time)) / 1000, { "armature.consumer": consumer });
  }

  /** Shows how much waits in the outboxes whenever metrics are collected, until the returned function is called. */
  watchOutbox(contexts: readonly string[], size: (context: string) => Promise<number>): () => void {
    const about = { unit: "{message}", description: "Events and commands that wait in the outbox." };
    return this.#watch("armature.outbox.size", about, "armature.context", contexts, size);
  }

  /** The same for how many events are behind what queries of each projection read. */
  watchProjections(projections: readonly string[], lag: (projection: string) => Promise<number>): () => void {
    const about = { unit: "{event}", description: "Events behind the rows of a projection that are read." };
    return this.#watch("armature.projection.lag", about, "armature.projection", projections, lag);
  }

  #watch(
    name: string,
    about: { readonly unit: string; readonly description: string },
    attribute: string,
    all: readonly string[],
    read: (each: string) => Promise<number>,
  ): () => void {
    if (all.length === 0) return () => undefined;
    const gauge = this.#meter.createObservableGauge(name, about);
    const observe: Parameters<typeof gauge.addCallback>[0] = async (result) => {
      await Promise.all(all.map(async (each) => result.observe(await read(each), { [attribute]: each })));
    };
    gauge.addCallback(observe);
    return () => gauge.removeCallback(observe);
  }
}

const MOST_LINKS = 100;

/** Whether the host has an SDK that records spans. */
function hasTracer(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(SCOPE) !== undefined;
}

/** Marks a span as failed with the error's code, and gives the attributes that say so. */
export function markFailed(span: Span, error: unknown): Attributes {
  const code = error instanceof ArmatureError ? error.code : "internal";
  const attributes = { "error.type": code };
  span.setAttributes(attributes).setStatus({ code: SpanStatusCode.ERROR, message: code });
  return attributes;
}

function traceOf(ids: Ids, span: Span, traceparent: string | undefined): Trace {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const own = `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED) === 0 ? "00" : "01"}`;
  if (span.isRecording()) return { traceId, traceparent: own };
  // Not sampled, or no SDK (its tracer hands on the parent's context): the span's id is ours to make.
  return continueTrace(ids, isSpanContextValid(span.spanContext()) ? own : traceparent);
}

function remoteParent(traceparent: string | undefined) {
  const parent = spanContextOf(traceparent);
  return parent === undefined ? context.active() : trace.setSpanContext(context.active(), parent);
}

function spanContextOf(traceparent: string | undefined) {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "");
  if (parts === null) return undefined;
  return {
    traceId: parts[1]!,
    spanId: parts[2]!,
    traceFlags: Number.parseInt(parts[3]!, 16) & TraceFlags.SAMPLED,
    isRemote: true,
  };
}
