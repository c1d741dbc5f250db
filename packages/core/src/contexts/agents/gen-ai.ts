import type { ModelTurn } from "../../kernel/model-turn.ts";
import type { ModelRequest } from "./model-prompt.ts";

/**
 * OpenTelemetry's attributes for generative AI, as its conventions had them in October 2026. They are in development
 * there, and the npm package has older names. Those for contents (messages, instructions, arguments) are left out.
 */
export const GEN_AI = {
  operation: "gen_ai.operation.name",
  provider: "gen_ai.provider.name",
  requestModel: "gen_ai.request.model",
  maxTokens: "gen_ai.request.max_tokens",
  temperature: "gen_ai.request.temperature",
  topP: "gen_ai.request.top_p",
  seed: "gen_ai.request.seed",
  outputType: "gen_ai.output.type",
  responseId: "gen_ai.response.id",
  responseModel: "gen_ai.response.model",
  finishReasons: "gen_ai.response.finish_reasons",
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  cacheReadTokens: "gen_ai.usage.cache_read.input_tokens",
  cacheWriteTokens: "gen_ai.usage.cache_write.input_tokens",
  reasoningTokens: "gen_ai.usage.reasoning.output_tokens",
} as const;

/** Ours: the host's name for the model, and which attempt it is. */
export const MODEL_NAME = "armature.model.name";
export const MODEL_ATTEMPT = "armature.model.attempt";

/** Values of attributes. Absent ones are not set. */
export type GenAiAttributes = Readonly<Record<string, string | number | string[] | undefined>>;

/** The conventions' names for providers that the AI SDK names otherwise. */
const PROVIDERS: Readonly<Record<string, string>> = {
  "amazon-bedrock": "aws.bedrock",
  azure: "azure.ai.openai",
  bedrock: "aws.bedrock",
  google: "gcp.gemini",
  mistral: "mistral_ai",
  vertex: "gcp.vertex_ai",
  xai: "x_ai",
};

/** What a span says when a model is asked. */
export function requestAttributes(
  model: { readonly provider: string; readonly modelId: string },
  request: ModelRequest,
): GenAiAttributes {
  return {
    [GEN_AI.operation]: "chat",
    [GEN_AI.provider]: providerName(model.provider),
    [GEN_AI.requestModel]: model.modelId,
    [GEN_AI.maxTokens]: request.maxOutputTokens,
    [GEN_AI.temperature]: request.temperature,
    [GEN_AI.topP]: request.topP,
    [GEN_AI.seed]: request.seed,
    [GEN_AI.outputType]: request.json === undefined ? "text" : "json",
  };
}

/** What a span says when a model has answered. */
export function turnAttributes({ response, finishReason, usage }: ModelTurn): GenAiAttributes {
  return {
    [GEN_AI.responseId]: response.id,
    [GEN_AI.responseModel]: response.model,
    [GEN_AI.finishReasons]: [finishReason],
    [GEN_AI.inputTokens]: usage.inputTokens,
    [GEN_AI.outputTokens]: usage.outputTokens,
    [GEN_AI.cacheReadTokens]: usage.cachedInputTokens,
    [GEN_AI.cacheWriteTokens]: usage.cacheWriteInputTokens,
    [GEN_AI.reasoningTokens]: usage.reasoningTokens,
  };
}

// `openai.chat` is OpenAI; `google.vertex.chat` is Vertex.
function providerName(provider: string): string {
  if (/^google\.vertex/.test(provider)) return "gcp.vertex_ai";
  const [vendor = provider] = provider.split(".");
  return PROVIDERS[vendor] ?? vendor;
}
