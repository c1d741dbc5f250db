import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
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
