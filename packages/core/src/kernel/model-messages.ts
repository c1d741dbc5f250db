import { z } from "zod";
import { json } from "./json.ts";

/**
 * What a provider gave with a part and wants back with it (a signature of its reasoning, an id), or settings for the
 * provider alone (what it shall cache): by the provider's name.
 */
export const providerOptions = z.record(z.string(), z.record(z.string(), json));

/** Ids of tool calls and names of tools as models give them. */
const callId = z.string().min(1).max(256);
const toolName = z.string().min(1).max(128);

export const textPart = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  providerOptions: providerOptions.optional(),
});

/** Where a file's bytes are. Nothing is downloaded here: a provider that takes no URLs refuses them. */
export const fileSource = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("base64"), base64: z.base64() }),
  z.strictObject({ type: z.literal("url"), url: z.url({ protocol: /^https$/ }) }),
  /** A file that a provider keeps: its id there, by the provider's name. Models older than `v4` cannot take it. */
  z.strictObject({ type: z.literal("reference"), reference: z.record(z.string(), z.string()) }),
]);

/** An image or another file: what it is stands in its media type, `image/png`, `application/pdf`. */
export const filePart = z.strictObject({
  type: z.literal("file"),
  mediaType: z.string().regex(/^[\w.+-]+\/[\w.+*-]+$/),
  source: fileSource,
  filename: z.string().min(1).max(256).optional(),
  providerOptions: providerOptions.optional(),
});

/** What a model thought before it answered. The text may be empty where a provider keeps it to itself. */
export const reasoningPart = z.strictObject({
  type: z.literal("reasoning"),
  text: z.string(),
  providerOptions: providerOptions.optional(),
});

export const toolCallPart = z.strictObject({
  type: z.literal("tool-call"),
  id: callId,
  name: toolName,
  arguments: z.record(z.string(), json),
  providerOptions: providerOptions.optional(),
});

/**
 * A tool call that cannot be run: its arguments are no JSON object, or it names no tool. It is answered like any other,
 * with an error, so that the model can mend it.
 */
export const invalidToolCallPart = z.strictObject({
  type: z.literal("invalid-tool-call"),
  id: callId,
  name: toolName,
  /** The arguments as the model wrote them, shortened. */
  text: z.string(),
  /** What is wrong, as a sentence for the model. It quotes nothing. */
  reason: z.string(),
  providerOptions: providerOptions.optional(),
});

export const toolResultPart = z.strictObject({
  type: z.literal("tool-result"),
  callId,
  name: toolName,
  outcome: z.enum(["ok", "error"]),
  value: json,
  providerOptions: providerOptions.optional(),
});

export const assistantPart = z.discriminatedUnion("type", [textPart, reasoningPart, toolCallPart, invalidToolCallPart]);

/** A message to or from a model, as JSON: what a conversation keeps, whichever model it goes to next. */
export const modelMessage = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content: z.string(), providerOptions: providerOptions.optional() }),
  z.strictObject({
    role: z.literal("user"),
    content: z.array(z.discriminatedUnion("type", [textPart, filePart])).min(1),
    providerOptions: providerOptions.optional(),
  }),
  z.strictObject({
    role: z.literal("assistant"),
    content: z.array(assistantPart),
    providerOptions: providerOptions.optional(),
  }),
  z.strictObject({
    role: z.literal("tool"),
    content: z.array(toolResultPart).min(1),
    providerOptions: providerOptions.optional(),
  }),
]);

/** A tool as a model is told of it. The name is of the characters that every provider takes. */
export const modelTool = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  description: z.string().optional(),
  /** JSON Schema of the arguments. */
  inputSchema: z.record(z.string(), json),
  /** Whether the provider shall hold the model to the schema, where it can (`v3` and newer). */
  strict: z.boolean().optional(),
});

export type ProviderOptions = z.infer<typeof providerOptions>;
export type TextPart = z.infer<typeof textPart>;
export type FileSource = z.infer<typeof fileSource>;
export type FilePart = z.infer<typeof filePart>;
export type ReasoningPart = z.infer<typeof reasoningPart>;
export type ToolCallPart = z.infer<typeof toolCallPart>;
export type InvalidToolCallPart = z.infer<typeof invalidToolCallPart>;
export type ToolResultPart = z.infer<typeof toolResultPart>;
export type AssistantPart = z.infer<typeof assistantPart>;
export type ModelMessage = z.infer<typeof modelMessage>;
export type ModelTool = z.infer<typeof modelTool>;
