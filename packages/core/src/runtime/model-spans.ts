import { type Attributes, SpanKind, type Tracer, trace } from "@opentelemetry/api";
import { MODEL_ATTEMPT, MODEL_NAME, requestAttributes, turnAttributes } from "../contexts/agents/gen-ai.ts";
import type { ModelClientOptions } from "../contexts/agents/model-client.ts";
import { markFailed, SCOPE } from "./telemetry.ts";

/** Gives each attempt to ask a model a span `chat {model}`. What is said in either direction does not stand in it. */
export function modelSpans(tracer: Tracer = trace.getTracer(SCOPE)): NonNullable<ModelClientOptions["around"]> {
  return ({ model, name, request, attempt }, run) => {
    const attributes = { ...requestAttributes(model, request), [MODEL_NAME]: name, [MODEL_ATTEMPT]: attempt };
    return tracer.startActiveSpan(
      `chat ${model.modelId}`,
      { kind: SpanKind.CLIENT, attributes: attributes as Attributes },
      async (span) => {
        try {
          const turn = await run();
          span.setAttributes(turnAttributes(turn) as Attributes);
          return turn;
        } catch (error) {
          markFailed(span, error);
          throw error;
        } finally {
          span.end();
        }
      },
    );
  };
}
