import { z } from "zod";
import { assistantPart, invalidToolCallPart, toolCallPart } from "../../kernel/model-messages.ts";

/** Why a model stopped. What a provider says beyond this is `other`. */
export const finishReason = z.enum(["stop", "length", "content-filter", "tool-calls", "error", "other"]);

const tokens = z.int().min(0);

/** How many tokens a call took. */
export const modelUsage = z.strictObject({
  /** All of the prompt, cached parts included. Absent when the provider did not say: the cost is unknown then. */
  inputTokens: tokens.optional(),
  /** Those of `inputTokens` that came from the provider's cache; 0 when it did not say. */
  cachedInputTokens: tokens,
  /** Those of `inputTokens` that were written to the provider's cache; 0 when it did not say. */
  cacheWriteInputTokens: tokens,
  /** All that was written, reasoning included. Absent when the provider did not say: the cost is unknown then. */
  outputTokens: tokens.optional(),
  /** Those of `outputTokens` that were reasoning; 0 when it did not say. */
  reasoningTokens: tokens,
});

/** Something that the provider did not do as asked, `unsupported` `temperature`. */
export const modelWarning = z.strictObject({
  type: z.string(),
  about: z.string().optional(),
  message: z.string().optional(),
});

/** One answer of a model, the same for every version of the interface and for both ways of asking. */
export const modelTurn = z.strictObject({
  /** All parts in the model's order: what goes back as the assistant's message. */
  content: z.array(assistantPart),
  /** The texts of `content`, one after the other. */
  text: z.string(),
  /** The reasoning of `content`, its parts separated by an empty line. */
  reasoning: z.string(),
  /** The tool calls of `content`. Each id is unique in the whole conversation. */
  toolCalls: z.array(z.discriminatedUnion("type", [toolCallPart, invalidToolCallPart])),
  finishReason,
  usage: modelUsage,
  /** How the provider names the answer and the model that gave it. */
  response: z.strictObject({ id: z.string().optional(), model: z.string().optional() }),
  warnings: z.array(modelWarning),
  /** What a provider says is the structured output, where that is not the whole text. */
  structuredText: z.string().optional(),
});

export type FinishReason = z.infer<typeof finishReason>;
export type ModelUsage = z.infer<typeof modelUsage>;
export type ModelWarning = z.infer<typeof modelWarning>;
export type ModelTurn = z.infer<typeof modelTurn>;
