import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { expect, test } from "vitest";
import { ModelClient } from "../contexts/agents/model-client.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { ScriptedModel } from "../testing/scripted-model.ts";
import { modelSpans } from "./model-spans.ts";

function setup(model: ScriptedModel) {
  const exporter = new InMemorySpanExporter();
  const tracer = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).getTracer("test");
  const retry = { attempts: 2, backoffMs: 0 };
  const clock = fixedClock();
  const client = new ModelClient({
    models: { default: model },
    clock,
    random: () => 0,
    retry,
    around: modelSpans(tracer),
  });
  return { client, clock, exporter };
}

test("each attempt is a span with the conventions' attributes, and without what was said", async () => {
  const answer = {
    text: "Ann's number is 555.",
    toolCalls: [{ name: "find", arguments: { who: "Ann" } }],
    usage: { inputTokens: 7, cachedInputTokens: 2, cacheWriteInputTokens: 1, outputTokens: 9, reasoningTokens: 3 },
  };
  const model = new ScriptedModel([{ fails: { status: 503 } }, answer], {
    provider: "google.generative-ai",
    modelId: "large",
  });
  const { client, clock, exporter } = setup(model);
  const call = client.call({
    messages: [{ role: "user", content: [{ type: "text", text: "What is Ann's number?" }] }],
    maxOutputTokens: 100,
    temperature: 0.5,
  });
  await clock.untilSleeping(1, 0);
  await clock.advance(0);
  await call;
  const [failed, answered] = exporter.getFinishedSpans();
  const asked = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "gcp.gemini",
    "gen_ai.request.model": "large",
    "gen_ai.request.max_tokens": 100,
    "gen_ai.request.temperature": 0.5,
    "gen_ai.output.type": "text",
    "armature.model.name": "default",
  };
  expect(failed).toMatchObject({ name: "chat large", kind: SpanKind.CLIENT, status: { code: SpanStatusCode.ERROR } });
  expect(failed?.attributes).toEqual({ ...asked, "armature.model.attempt": 1, "error.type": "model.unavailable" });
  expect(answered?.attributes).toEqual({
    ...asked,
    "armature.model.attempt": 2,
    "gen_ai.response.id": "scripted-2",
    "gen_ai.response.model": "large",
    "gen_ai.response.finish_reasons": ["tool-calls"],
    "gen_ai.usage.input_tokens": 7,
    "gen_ai.usage.output_tokens": 9,
    "gen_ai.usage.cache_read.input_tokens": 2,
    "gen_ai.usage.cache_write.input_tokens": 1,
    "gen_ai.usage.reasoning.output_tokens": 3,
  });
  expect(JSON.stringify([failed?.attributes, answered?.attributes, failed?.events])).not.toContain("Ann");
});

test.each([
  ["openai.chat", "openai"],
  ["amazon-bedrock", "aws.bedrock"],
  ["google.vertex.chat", "gcp.vertex_ai"],
  ["house", "house"],
])("the provider %s is called %s", async (provider, expected) => {
  const { client, exporter } = setup(new ScriptedModel(["Hello."], { provider }));
  await client.call({ messages: [] });
  expect(exporter.getFinishedSpans()[0]?.attributes["gen_ai.provider.name"]).toBe(expected);
});
