import { z } from "zod";
import { json } from "../../kernel/json.ts";
import { ModelAnswerInvalid } from "../../kernel/model-errors.ts";
import {
  type AssistantPart,
  type InvalidToolCallPart,
  type ProviderOptions,
  providerOptions,
  type ToolCallPart,
} from "../../kernel/model-messages.ts";
import {
  type FinishReason,
  finishReason,
  type ModelTurn,
  type ModelUsage,
  type ModelWarning,
} from "../../kernel/model-turn.ts";
import { type Json, type JsonObject, tryParse } from "../../kernel/schema.ts";
import { shortened } from "../../kernel/shortened.ts";

const lost = z.unknown().optional();

/** What every version's answer has in common. What is beyond it is not looked at. */
const answer = z.object({
  content: z.array(z.unknown()),
  finishReason: lost,
  usage: lost,
  response: lost,
  warnings: lost,
  structuredOutputText: lost,
});

/** The parts that a turn is made of. Others, of which every version brings new ones, are left out. */
const part = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string(), providerMetadata: lost }),
  z.object({ type: z.literal("reasoning"), text: z.string(), providerMetadata: lost }),
  z.object({
    type: z.literal("tool-call"),
    toolCallId: lost,
    toolName: lost,
    input: lost,
    providerExecuted: lost,
    providerMetadata: lost,
  }),
]);

const KNOWN_PARTS: readonly unknown[] = ["text", "reasoning", "tool-call"];
const LONGEST_ID = 256;
const LONGEST_NAME = 128;
const LONGEST_QUOTE = 4_000;

/**
 * Reads what `doGenerate` of any version gave, or what a stream came to.
 *
 * @param taken ids of tool calls that the conversation has already; those of the turn are made to differ from them
 * @throws {ModelAnswerInvalid} it is no answer
 */
export function readTurn(raw: unknown, model: string, taken: ReadonlySet<string>): ModelTurn {
  const parsed = tryParse(answer, raw);
  if (!parsed.ok) throw unreadable(model, parsed.issues[0]?.path ?? "");
  const ids = new Set(taken);
  const content = parsed.value.content.flatMap((each, index) => readPart(each, index, model, ids));
  const { structuredOutputText } = parsed.value;
  return {
    content,
    text: content.map((each) => (each.type === "text" ? each.text : "")).join(""),
    reasoning: content
      .flatMap((each) => (each.type === "reasoning" && each.text !== "" ? [each.text] : []))
      .join("\n\n"),
    toolCalls: content.filter((each) => each.type === "tool-call" || each.type === "invalid-tool-call"),
    finishReason: readFinishReason(parsed.value.finishReason),
    usage: readUsage(parsed.value.usage),
    response: readResponse(parsed.value.response),
    warnings: readWarnings(parsed.value.warnings),
    ...(typeof structuredOutputText === "string" ? { structuredText: storable(structuredOutputText) } : {}),
  };
}

function unreadable(model: string, place: string): ModelAnswerInvalid {
  return new ModelAnswerInvalid({ model, reason: `it does not fit its shape at ${place || "the answer itself"}` });
}

function readPart(raw: unknown, index: number, model: string, ids: Set<string>): readonly AssistantPart[] {
  if (!KNOWN_PARTS.includes(fieldsOf(raw)["type"])) return [];
  const parsed = tryParse(part, raw);
  if (!parsed.ok) throw unreadable(model, `content.${index}.${parsed.issues[0]?.path ?? ""}`);
  const known = parsed.value;
  const options = readOptions(known.providerMetadata);
  const kept = options === undefined ? {} : { providerOptions: options };
  if (known.type !== "tool-call") {
    const text = storable(known.text);
    return text === "" && options === undefined ? [] : [{ type: known.type, text, ...kept }];
  }
  // What the provider has run itself is not ours to run.
  if (known.providerExecuted === true) return [];
  return [{ ...readToolCall(known.toolCallId, known.toolName, known.input, ids), ...kept }];
}

function readToolCall(
  toolCallId: unknown,
  toolName: unknown,
  input: unknown,
  ids: Set<string>,
): ToolCallPart | InvalidToolCallPart {
  const id = uniqueId(toolCallId, ids);
  const named = typeof toolName === "string" ? storable(toolName) : "";
  const name = named === "" ? "unknown" : named.slice(0, LONGEST_NAME).toWellFormed();
  const read = readArguments(input);
  const reason = name === named ? read.reason : "It names no tool.";
  return reason === undefined
    ? { type: "tool-call", id, name, arguments: read.value ?? {} }
    : { type: "invalid-tool-call", id, name, text: shortened(read.text, LONGEST_QUOTE), reason };
}

interface Arguments {
  readonly text: string;
  readonly value?: ToolCallPart["arguments"];
  /** Why they cannot be used; there is no value then. */
  readonly reason?: string;
}

const toolArguments = z.record(z.string(), json);

// JSON text by all versions; some models of hosts give the object. No text at all is how models call without arguments.
function readArguments(input: unknown): Arguments {
  const text = storable(typeof input === "string" ? input : (asText(input) ?? ""));
  let value: unknown;
  try {
    value = text.trim() === "" ? {} : storableJson(JSON.parse(text));
  } catch (error) {
    return { text, reason: error instanceof RangeError ? "Its arguments are nested too deeply." : NOT_JSON };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { text, reason: "Its arguments are JSON, but not an object." };
  const parsed = tryParse(toolArguments, value);
  return parsed.ok ? { text, value: parsed.value } : { text, reason: "Its arguments are nested too deeply." };
}

const NOT_JSON = "Its arguments are not valid JSON.";

function asText(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return "not JSON";
  }
}

// Some servers count from call_0 in every answer, and some give no id. Results are told apart by it.
function uniqueId(given: unknown, ids: Set<string>): string {
  const text = typeof given === "string" ? storable(given) : "";
  const wanted = text.length > LONGEST_ID - 16 ? "" : text;
  let id = wanted;
  for (let count = wanted === "" ? 1 : 2; id === "" || ids.has(id); count += 1) id = `${wanted || "call"}_${count}`;
  ids.add(id);
  return id;
}

function readOptions(metadata: unknown): ProviderOptions | undefined {
  const text = metadata === undefined || metadata === null ? undefined : asText(metadata);
  if (text === undefined) return undefined;
  try {
    const parsed = tryParse(providerOptions, storableJson(JSON.parse(text)));
    return parsed.ok && Object.keys(parsed.value).length > 0 ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}

function readFinishReason(raw: unknown): FinishReason {
  const said = tryParse(finishReason, typeof raw === "string" ? raw : fieldsOf(raw)["unified"]);
  return said.ok ? said.value : "other";
}

/** Usage as `v2` (numbers) and later versions (objects of numbers) give it. What is no number of tokens was not said. */
export function readUsage(raw: unknown): ModelUsage {
  const usage = fieldsOf(raw);
  const input = fieldsOf(usage["inputTokens"]);
  const output = fieldsOf(usage["outputTokens"]);
  const cached = count(input["cacheRead"]) ?? count(usage["cachedInputTokens"]) ?? 0;
  const written = count(input["cacheWrite"]) ?? 0;
  const reasoning = count(output["reasoning"]) ?? count(usage["reasoningTokens"]) ?? 0;
  const uncached = count(input["noCache"]);
  const text = count(output["text"]);
  const said = count(usage["inputTokens"]) ?? count(input["total"]) ?? sum(uncached, cached + written);
  const total = count(usage["outputTokens"]) ?? count(output["total"]) ?? sum(text, reasoning);
  // Some providers of v2 count the cached part apart. A part that is larger than the whole is none.
  const inputTokens = said !== undefined && said < cached + written ? said + cached + written : said;
  const outputTokens = total !== undefined && total < reasoning ? total + reasoning : total;
  return {
    ...(inputTokens === undefined ? {} : { inputTokens }),
    cachedInputTokens: cached,
    cacheWriteInputTokens: written,
    ...(outputTokens === undefined ? {} : { outputTokens }),
    reasoningTokens: reasoning,
  };
}

/** More than any model reads in a year: a number beyond it is none of tokens. */
const MOST_TOKENS = 1_000_000_000;

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MOST_TOKENS ? value : undefined;
}

function sum(whole: number | undefined, part: number): number | undefined {
  return whole === undefined ? undefined : whole + part;
}

function readResponse(raw: unknown): ModelTurn["response"] {
  const { id, modelId } = fieldsOf(raw);
  return {
    ...(typeof id === "string" && id !== "" ? { id: storable(id) } : {}),
    ...(typeof modelId === "string" && modelId !== "" ? { model: storable(modelId) } : {}),
  };
}

const MOST_WARNINGS = 20;
const LONGEST_WARNING = 500;

function readWarnings(raw: unknown): ModelWarning[] {
  if (!Array.isArray(raw)) return [];
  return raw.slice(0, MOST_WARNINGS).flatMap((each): ModelWarning[] => {
    const { type, feature, setting, tool, details, message } = fieldsOf(each);
    if (typeof type !== "string") return [];
    const about = [feature, setting, fieldsOf(tool)["name"]].find((name) => typeof name === "string");
    const said = [details, message].find((text) => typeof text === "string");
    return [
      {
        type: short(type),
        ...(about === undefined ? {} : { about: short(about) }),
        ...(said === undefined ? {} : { message: short(said) }),
      },
    ];
  });
}

const short = (text: string): string => shortened(storable(text), LONGEST_WARNING);

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

// Stores hold neither, and models write both: escapes of half a character, and NUL.
function storable(text: string): string {
  return text.replaceAll("\u0000", "").toWellFormed();
}

function storableJson(value: Json): Json {
  if (typeof value === "string") return storable(value);
  if (Array.isArray(value)) return value.map(storableJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, inner]) => [storable(key), storableJson(inner)]),
  );
}
