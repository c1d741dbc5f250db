import { type Attributes, context, metrics, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SamplingDecision,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterEach, beforeAll } from "vitest";

// One SDK for all files of a process: a library's tracer keeps the first that it has found.
const exporter = new InMemorySpanExporter();
let sampled = true;
let set = false;

export interface RecordedSpans {
  all(): readonly ReadableSpan[];
  /** Whether traces that begin from now on are recorded. */
  sample(decision: boolean): void;
}

/** Records the spans of the surrounding tests, as a host's SDK would. */
export function recordSpans(): RecordedSpans {
  beforeAll(() => {
    if (set) return;
    set = true;
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({
        spanProcessors: [new SimpleSpanProcessor(exporter)],
        sampler: {
          shouldSample: () => ({
            decision: sampled ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD,
          }),
        },
      }),
    );
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  });
  afterEach(() => {
    exporter.reset();
    sampled = true;
  });
  return {
    all: () => exporter.getFinishedSpans(),
    sample: (decision) => {
      sampled = decision;
    },
  };
}

const metricReader = new PeriodicExportingMetricReader({
  exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
  exportIntervalMillis: 2_147_483_647,
});
let metered = false;

export interface RecordedMetrics {
  /** The points of a metric whose attributes hold these, by now. */
  points(name: string, attributes?: Attributes): Promise<readonly DataPoint<number | Histogram>[]>;
}

/** Counts what the surrounding tests do, as a host's SDK would. */
export function recordMetrics(): RecordedMetrics {
  beforeAll(() => {
    if (metered) return;
    metered = true;
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [metricReader] }));
  });
  return {
    async points(name, attributes = {}) {
      const { resourceMetrics, errors } = await metricReader.collect();
      if (errors.length > 0) throw new AggregateError(errors, "A metric could not be collected.");
      return resourceMetrics.scopeMetrics
        .flatMap((scope) => scope.metrics)
        .filter((metric) => metric.descriptor.name === name)
        .flatMap((metric) => metric.dataPoints as DataPoint<number | Histogram>[])
        .filter((point) => Object.entries(attributes).every(([key, value]) => point.attributes[key] === value));
    },
  };
}
