import { z } from "zod";
import { json } from "../../kernel/json.ts";
import { type AssistantPart, assistantPart, type ModelMessage } from "../../kernel/model-messages.ts";
import { type ModelUsage, modelUsage } from "../../kernel/model-turn.ts";
import type { Json } from "../../kernel/schema.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { conversationSummary } from "./contract.ts";
import { type Guarded, guarded } from "./guardrail.ts";
import type { ModelCall, ModelClient } from "./model-client.ts";
import { instructed, outputSchema, readOutput, repair } from "./model-output.ts";
import { nameOf } from "./model-prompt.ts";
import type { ModelDelta } from "./model-stream.ts";
import { requestOf } from "./transcript.ts";

/** What a model call comes to, as the journal has it. */
export const modelStep = z.strictObject({
  content: z.array(assistantPart),
  text: z.string(),
  output: json.optional(),
  usage: modelUsage,
  model: z.string(),
  nanos: z.int().optional(),
  currency: z.string().optional(),
  /** What does not fit its shape after the repair: it has cost something all the same. */
  /** Names of the tools that it could call. */
  offered: z.array(z.string()),
  misfits: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  summary: conversationSummary.optional(),
});
export type ModelStep = z.infer<typeof modelStep>;

/**
 * One answer of an agent's model. Where the agent declares a shape, an answer without tool calls has it: one that has
 * not is sent back once, with what is wrong.
 *
 * @param onDelta has the model stream its answer, and sees it piece by piece

 * @throws what `ModelClient.call` throws
 */
export async function askModel(
  client: ModelClient,
  agent: AgentDefinition,
  {
    messages,
    tools: summarised = [],
  }: { readonly messages: readonly ModelMessage[]; readonly tools?: readonly string[] },
  signal: AbortSignal,
  onDelta?: (delta: ModelDelta) => void,
): Promise<ModelStep> {
  const { output: schema, models } = agent;
  const { messages: read, tools, answer } = guarded(agent.guardrails, messages, agent.tools, summarised);
  const request = requestOf(agent, read, tools);
  const offered = tools.map(({ name }) => name);
  const stepOf = (calls: readonly ModelCall[], output: Json | undefined) => ({
    ...summary(calls, output, answer),
    offered,
  });
  const options = { models, signal, ...(onDelta === undefined ? {} : { onDelta }) };
  const ask = (added: readonly ModelMessage[]) => {
    if (schema === undefined) return client.call(request, options);
    const described = outputSchema(schema);
    const asked = [...instructed(request.messages, described), ...added];
    return client.call({ ...request, messages: asked, json: { schema: described } }, options);
  };
  const first = await ask([]);
  if (schema === undefined || first.turn.toolCalls.length > 0) return stepOf([first], undefined);
  // Its shape is checked as it will be kept.
  const restored = ({ text, structuredText }: ModelCall["turn"]) =>
    textOf(answer([{ type: "text", text: structuredText ?? text }]));
  const once = readOutput(schema, { text: restored(first.turn) });
  if (once.ok) return stepOf([first], once.value as Json);
  onDelta?.({ type: "restarted" });
  const second = await ask(repair(first.turn, once.issues));
  const again = readOutput(schema, { text: restored(second.turn) });
  if (!again.ok) return { ...stepOf([first, second], undefined), misfits: [...again.issues] };
  return stepOf([first, second], again.value as Json);
}

/** The step at the cost of another call too. */
export function withCall(step: ModelStep, { turn, cost }: ModelCall): ModelStep {
  const { nanos, ...rest } = step;
  const both = nanos === undefined || !cost.known ? {} : { nanos: nanos + cost.nanos };
  return { ...rest, ...both, usage: sum(step.usage, turn.usage) };
}

/** The last answer, at the cost of all of them. */
function summary(
  calls: readonly ModelCall[],
  output: Json | undefined,
  answer: Guarded["answer"],
): Omit<ModelStep, "offered"> {
  const { turn, model } = calls.at(-1)!;
  const content = answer(turn.content);
  const costs = calls.map(({ cost }) => cost);
  const nanos = costs.reduce<number | undefined>(
    (sum, cost) => (sum === undefined || !cost.known ? undefined : sum + cost.nanos),
    0,
  );
  const currency = costs.flatMap((cost) => (cost.known ? [cost.currency] : []))[0];
  return {
    content: [...content],
    text: textOf(content),
    ...(output === undefined ? {} : { output: output as never }),
    usage: calls.map(({ turn: { usage } }) => usage).reduce(sum),
    model: nameOf(model),
    ...(nanos === undefined ? {} : { nanos, currency }),
  };
}

function textOf(content: readonly AssistantPart[]): string {
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function sum(some: ModelUsage, more: ModelUsage): ModelUsage {
  const both = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? undefined : a + b;
  return {
    inputTokens: both(some.inputTokens, more.inputTokens),
    outputTokens: both(some.outputTokens, more.outputTokens),
    cachedInputTokens: some.cachedInputTokens + more.cachedInputTokens,
    cacheWriteInputTokens: some.cacheWriteInputTokens + more.cacheWriteInputTokens,
    reasoningTokens: some.reasoningTokens + more.reasoningTokens,
  };
}
