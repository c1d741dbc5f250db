import { toJSONSchema } from "zod/v4/core";
import { ModelOutputInvalid } from "../../kernel/model-errors.ts";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import type { ModelTurn } from "../../kernel/model-turn.ts";
import { type Issue, type JsonObject, type Schema, tryParse } from "../../kernel/schema.ts";
import type { ModelCall, ModelCallOptions, ModelClient } from "./model-client.ts";
import { shower } from "./model-exchange.ts";
import { type ModelRequest, nameOf } from "./model-prompt.ts";

/** An output that fits its schema, and the calls that it took: one, or two where the model had to mend it. */
export interface ModelOutput<Out> {
  readonly output: Out;
  readonly calls: readonly ModelCall[];
}

const callsMade = new WeakMap<Error, readonly ModelCall[]>();

/** The calls that were answered before this error of `askForOutput`: they have cost something. */
export function callsOf(error: unknown): readonly ModelCall[] {
  return (error instanceof Error ? callsMade.get(error) : undefined) ?? [];
}

/**
 * Asks for JSON that fits a schema. The schema goes with the request, for providers that hold the model to it, and into
 * the instructions, for those that do not. An answer that does not fit is sent back once, with what is wrong.
 *
 * @throws {ModelOutputInvalid} it does not fit after that either; and what `ModelClient.call` throws
 */
export async function askForOutput<Out>(
  client: ModelClient,
  schema: Schema<Out>,
  request: Omit<ModelRequest, "json"> & { readonly name?: string },
  options: ModelCallOptions = {},
): Promise<ModelOutput<Out>> {
  const { name, ...rest } = request;
  const described = outputSchema(schema);
  const messages = instructed(request.messages, described);
  const calls: ModelCall[] = [];
  const show = shower(options.onDelta);
  const asking = show === undefined ? options : { ...options, onDelta: show.delta };
  const ask = async (added: readonly ModelMessage[]) => {
    const json = { schema: described, ...(name === undefined ? {} : { name }) };
    const call = await client.call({ ...rest, messages: [...messages, ...added], json }, asking);
    calls.push(call);
    return { call, read: readOutput(schema, call.turn) };
  };
  try {
    const first = await ask([]);
    if (first.read.ok) return { output: first.read.value, calls };
    show?.begin();
    const second = await ask(repair(first.call.turn, first.read.issues));
    if (second.read.ok) return { output: second.read.value, calls };
    throw new ModelOutputInvalid({ model: nameOf(second.call.model), issues: [...second.read.issues] });
  } catch (error) {
    if (error instanceof Error) callsMade.set(error, calls);
    throw error;
  }
}

/** Reads an output as models write it: JSON, JSON in a fence, or JSON with a sentence around it. */
export function readOutput<Out>(
  schema: Schema<Out>,
  turn: Pick<ModelTurn, "text" | "structuredText">,
): ReturnType<typeof tryParse<Out>> {
  const text = turn.structuredText ?? turn.text;
  let found: Issue[] | undefined;
  for (const candidate of candidates(text)) {
    let value: unknown;
    try {
      value = JSON.parse(candidate);
    } catch {
      continue;
    }
    const parsed = tryParse(schema, value);
    if (parsed.ok) return parsed;
    found ??= [...parsed.issues];
  }
  return { ok: false, issues: found ?? [{ path: "", message: "is not valid JSON" }] };
}

function* candidates(text: string): Generator<string> {
  yield text;
  for (const [, fenced] of text.matchAll(/```(?:json)?[^\S\n]*\n([\s\S]*?)\n?[^\S\n]*```/gi)) yield fenced!;
  for (const [open, close] of ["{}", "[]"]) {
    const start = text.indexOf(open!);
    const end = text.lastIndexOf(close!);
    if (start >= 0 && end > start) yield text.slice(start, end + 1);
  }
}

const REQUEST = "Answer with JSON only, without any other text. It must fit this JSON Schema:";

// One system message, at the beginning: some providers take no other.
export function instructed(messages: readonly ModelMessage[], schema: JsonObject): readonly ModelMessage[] {
  const instruction = `${REQUEST}\n${JSON.stringify(schema)}`;
  const [first, ...others] = messages;
  return first?.role === "system"
    ? [{ ...first, content: `${first.content}\n\n${instruction}` }, ...others]
    : [{ role: "system", content: instruction }, ...messages];
}

export function repair({ text }: ModelTurn, issues: readonly Issue[]): readonly ModelMessage[] {
  const list = issues.map(({ path, message }) => `- ${path === "" ? "It" : path} ${message}.`).join("\n");
  const wrong = `Your answer does not fit the JSON Schema:\n${list}\nAnswer again, with all of the JSON and nothing else.`;
  return [
    ...(text === "" ? [] : [{ role: "assistant", content: [{ type: "text", text }] } satisfies ModelMessage]),
    { role: "user", content: [{ type: "text", text: wrong }] },
  ];
}

// Draft 7 is what the interface names. What the model writes is the schema's input.
export function outputSchema(schema: Schema): JsonObject {
  const { $schema: _, ...described } = toJSONSchema(schema as unknown as Parameters<typeof toJSONSchema>[0], {
    io: "input",
    target: "draft-7",
  }) as Record<string, unknown>;
  return closed(described) as JsonObject;
}

const NAMED = ["properties", "patternProperties", "definitions", "$defs"];
const INNER = ["items", "additionalItems", "additionalProperties", "anyOf", "oneOf", "allOf", "not"];

// Providers that hold a model to a schema want to be told that there is nothing else in an object.
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== "object" || node === null) return node;
  const fields: Record<string, unknown> = { ...node };
  for (const [key, value] of Object.entries(fields)) {
    if (INNER.includes(key)) fields[key] = closed(value);
    else if (NAMED.includes(key))
      fields[key] = Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, closed(inner)]));
  }
  if (fields["type"] === "object" && "properties" in fields) fields["additionalProperties"] ??= false;
  return fields;
}
