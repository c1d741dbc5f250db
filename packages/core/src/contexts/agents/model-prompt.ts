import type { LanguageModel } from "../../kernel/language-model.ts";
import { ModelRefused } from "../../kernel/model-errors.ts";
import type {
  AssistantPart,
  FilePart,
  ModelMessage,
  ModelTool,
  ProviderOptions,
  TextPart,
  ToolResultPart,
} from "../../kernel/model-messages.ts";
import type { JsonObject } from "../../kernel/schema.ts";

/** What a model is asked. All of it is JSON. */
export interface ModelRequest {
  readonly messages: readonly ModelMessage[];
  readonly tools?: readonly ModelTool[];
  /** `auto` when absent: the model decides. */
  readonly toolChoice?: "auto" | "none" | "required" | { readonly tool: string };
  /** Asks for JSON that fits a JSON Schema. Providers may ignore it. */
  readonly json?: { readonly schema: JsonObject; readonly name?: string };
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly stopSequences?: readonly string[];
  readonly seed?: number;
  readonly providerOptions?: ProviderOptions;
}

/** Versions of the interface whose prompts are written. */
type Version = "v2" | "v3" | "v4";

/** The request as the model's version of the interface has it: what `doGenerate` and `doStream` are given. */
export function toCallOptions(
  model: LanguageModel,
  request: ModelRequest,
  signal: AbortSignal,
): Readonly<Record<string, unknown>> {
  const version = versionOf(model);
  const { messages, tools, toolChoice, json, stopSequences, maxOutputTokens, temperature, topP, seed } = request;
  return withoutAbsent({
    prompt: messages.flatMap((message) => toPromptMessage(message, version, model)),
    tools: tools === undefined || tools.length === 0 ? undefined : tools.map((tool) => toTool(tool, version)),
    toolChoice: tools === undefined || tools.length === 0 ? undefined : toToolChoice(toolChoice),
    responseFormat: json === undefined ? undefined : withoutAbsent({ type: "json", ...json }),
    stopSequences: stopSequences === undefined ? undefined : [...stopSequences],
    maxOutputTokens,
    temperature,
    topP,
    seed,
    providerOptions: request.providerOptions,
    abortSignal: signal,
  });
}

/** Whether prompts can be written for this model. What is newer than is known is taken for the newest that is. */
export function isSpokenTo(model: LanguageModel): boolean {
  return /^v(?:[2-9]|[1-9]\d+)$/.test(model.specificationVersion);
}

function versionOf({ specificationVersion }: LanguageModel): Version {
  return specificationVersion === "v2" || specificationVersion === "v3" ? specificationVersion : "v4";
}

// Providers refuse messages without content, and texts without a character.
function toPromptMessage(message: ModelMessage, version: Version, model: LanguageModel): readonly object[] {
  const { role, providerOptions } = message;
  const content =
    message.role === "system"
      ? message.content
      : message.role === "user"
        ? message.content.flatMap((part) => (part.type === "text" ? toText(part) : [toFile(part, version, model)]))
        : message.role === "assistant"
          ? message.content.flatMap(toAssistantPart)
          : message.content.map(toToolResult);
  return content.length === 0 ? [] : [withoutAbsent({ role, content, providerOptions })];
}

function toText({ text, providerOptions }: TextPart): readonly object[] {
  return text === "" ? [] : [withoutAbsent({ type: "text", text, providerOptions })];
}

function toFile(part: FilePart, version: Version, model: LanguageModel): object {
  const { mediaType, filename, providerOptions } = part;
  return withoutAbsent({ type: "file", mediaType, filename, data: toFileData(part, version, model), providerOptions });
}

function toFileData({ source }: FilePart, version: Version, model: LanguageModel): unknown {
  switch (source.type) {
    case "base64":
      return version === "v4" ? { type: "data", data: source.base64 } : source.base64;
    case "url":
      return version === "v4" ? { type: "url", url: new URL(source.url) } : new URL(source.url);
    case "reference":
      if (version === "v4") return { type: "reference", reference: source.reference };
      throw new ModelRefused({ model: nameOf(model), reason: "file_reference_unsupported" });
  }
}

function toAssistantPart(part: AssistantPart): readonly object[] {
  const { providerOptions } = part;
  switch (part.type) {
    case "text":
      return toText(part);
    case "reasoning":
      // Without its text it is worth something only to the provider that has kept it.
      return part.text === "" && providerOptions === undefined
        ? []
        : [withoutAbsent({ type: "reasoning", text: part.text, providerOptions })];
    case "tool-call":
      return [toToolCall(part.id, part.name, part.arguments, providerOptions)];
    case "invalid-tool-call":
      // Some providers take objects only, whatever the model has written.
      return [toToolCall(part.id, part.name, {}, providerOptions)];
  }
}

function toToolCall(id: string, name: string, input: unknown, options: ProviderOptions | undefined): object {
  return withoutAbsent({
    type: "tool-call",
    toolCallId: id,
    toolName: sentName(name),
    input,
    providerOptions: options,
  });
}

function toToolResult({ callId, name, outcome, value, providerOptions }: ToolResultPart): object {
  const failed = outcome === "error";
  const output =
    typeof value === "string"
      ? { type: failed ? "error-text" : "text", value }
      : { type: failed ? "error-json" : "json", value };
  return withoutAbsent({
    type: "tool-result",
    toolCallId: callId,
    toolName: sentName(name),
    output,
    providerOptions,
  });
}

// A name that a model made up would have every later call of the conversation refused.
function sentName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64);
}

function toTool({ name, description, inputSchema, strict }: ModelTool, version: Version): object {
  return withoutAbsent({
    type: "function",
    name,
    description,
    inputSchema,
    strict: version === "v2" ? undefined : strict,
  });
}

function toToolChoice(choice: ModelRequest["toolChoice"] = "auto"): object {
  return typeof choice === "string" ? { type: choice } : { type: "tool", toolName: choice.tool };
}

/** `provider/modelId`: how errors, attempts and prices name a model. */
export function nameOf({ provider, modelId }: Pick<LanguageModel, "provider" | "modelId">): string {
  return `${provider}/${modelId}`;
}

function withoutAbsent(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const present: Record<string, unknown> = {};
  for (const key of Object.keys(object)) if (object[key] !== undefined) present[key] = object[key];
  return present;
}
