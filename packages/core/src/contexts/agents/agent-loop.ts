import { z } from "zod";
import type { CallOptions, Client } from "../../kernel/contract.ts";
import { ArmatureError } from "../../kernel/errors.ts";
import {
  type ActivityContext,
  ExecutionCanceled,
  type ExecutionContext,
  type ExecutionDefinition,
} from "../../kernel/execution.ts";
import { json } from "../../kernel/json.ts";
import { ModelOutputInvalid } from "../../kernel/model-errors.ts";
import type { AssistantPart, ToolResultPart } from "../../kernel/model-messages.ts";
import type { Json, JsonObject, Schema } from "../../kernel/schema.ts";
import { connectors } from "../connectors/contract.ts";
import type { AgentCatalog } from "./agent-catalog.ts";
import { toolOf } from "./agent-registry.ts";
import { AGENT_RUN } from "./begin-run.ts";
import {
  AgentBeyondOffer,
  AgentLimitReached,
  ConnectionUnclear,
  connectionsOfRun,
  DelegationTooDeep,
  HandoffFailed,
  type ToolDecision,
  toolDecision,
} from "./contract.ts";
import { delegationSignal } from "./delegation.ts";
import type { KeptConversations } from "./kept-conversations.ts";
import { modelActivity, type StepBefore } from "./model-activity.ts";
import type { ModelClient } from "./model-client.ts";
import { modelStep } from "./model-step.ts";
import type { RunFeed } from "./run-feed.ts";

/** What a run's execution is begun with. */
export const runArguments = z.strictObject({
  runId: z.templateLiteral(["run_", z.string()]),
  agent: z.string(),
  version: z.int(),
  parallelTools: z.int(),
  connections: connectionsOfRun,
  streamed: z.boolean().optional(),
  /** Its conversation, where it has begun that. */
  begun: z.string().optional(),
});
type RunArguments = z.infer<typeof runArguments>;

// The second is absent in what was recorded before there was such a thing.
const recordedStep = z.object({ decisions: z.array(toolDecision), resultsLater: z.boolean().optional() });

const verdict = z.object({
  status: z.enum(["approved", "edited", "rejected", "expired"]),
  arguments: z.record(z.string(), json).optional(),
  reason: z.string().optional(),
});

const toolArguments = z.strictObject({
  agent: z.string(),
  version: z.int(),
  name: z.string(),
  arguments: z.record(z.string(), json),
  connections: connectionsOfRun,
});

/**
 * The execution that every run is, in each version in which one may still be under way: ask the model, do what it asks
 * for as far as it may, ask again.
 *
 * @param model asks the host's models
 * @param feed where answers are shown while they are written
 * @param conversations what runs of this process have said so far
 */
export function agentRunDefinitions(
  catalog: AgentCatalog,
  model: ModelClient,
  feed: RunFeed,
  conversations: KeptConversations,
): readonly ExecutionDefinition[] {
  const tool = {
    retry: { attempts: 4 },
    timeoutMs: 300_000,
    run: (args: z.infer<typeof toolArguments>, ctx: ActivityContext) => runTool(catalog, args, ctx),
  };
  const carried = (together: boolean) => async (ctx: ExecutionContext, given: Json) =>
    (await loop(ctx, runArguments.parse(given), together)) as Json;
  const newest: ExecutionDefinition = {
    ...AGENT_RUN,
    ended: "ended",
    activities: {
      model: {
        output: modelStep as unknown as Schema,
        // It asks again by itself, and the next model. This is for outages that last.
        retry: { attempts: 4, firstWaitMs: 5_000, factor: 4, longestWaitMs: 300_000 },
        timeoutMs: 600_000,
        system: true,
        changesNothing: true,
        run: modelActivity(catalog, model, feed, conversations),
      },
      "record-step": { operation: "agents.recordStep", system: true },
      "record-results": { operation: "agents.recordResults", system: true },
      resume: { operation: "agents.resume", system: true },
      // As the agent for its user: what it passes on is what that one may do.
      delegate: {
        operation: "agents.delegate",
        retry: { neverOn: [AgentLimitReached.code, DelegationTooDeep.code] },
      },
      "hand-over": { operation: "agents.recordResults" },
      tool,
      read: { ...tool, repeatable: true },
    },
    run: carried(true),
  };
  // Another process may go on with it, and know no newer version.
  return [{ ...newest, version: 1, run: carried(false) }, newest];
}

/** In characters of JSON. What is larger is written down by itself, and read from there. */
const LARGEST_CARRIED = 65_536;
const isSmall = (...told: readonly unknown[]) => JSON.stringify(told).length <= LARGEST_CARRIED;
/** Whoever pauses an agent or sets a budget while its tools take longer than this is heard before the next step. */
const LONGEST_UNASKED_MS = 1_000;

/** @param together whether what came about is written down with what follows, where it can be */
async function loop(ctx: ExecutionContext, run: RunArguments, together: boolean) {
  const { runId, streamed } = run;
  let before: StepBefore | undefined;
  let priorAt: number | undefined;
  for (let step = 1; ; step += 1) {
    const unrecorded = before?.recorded === false ? before.results : undefined;
    const asked = { runId, step, before, priorAt, streamed, begun: step === 1 ? run.begun : undefined };
    const given = await ctx.activity("model", asked as Json).catch(async (error: unknown) => {
      if (unrecorded !== undefined && !(error instanceof ExecutionCanceled))
        await ctx.activity("record-results", { runId, step: step - 1, results: unrecorded } as Json);
      throw error;
    });
    const { text, output, misfits, ...answered } = modelStep.parse(given);
    const end = { text, ...(output === undefined ? {} : { output }) };
    const answer = { step, ...answered, results: unrecorded };
    const isLast = together && misfits === undefined && !answered.content.some(isCall);
    if (isLast && isSmall(answered)) return { ...end, last: answer };
    const recorded = await ctx.activity("record-step", { runId, ...answer, together } as Json);
    const { decisions, resultsLater } = recordedStep.parse(recorded);
    const decidedAt = ctx.now();
    if (misfits !== undefined) throw new ModelOutputInvalid({ model: answered.model, issues: misfits });
    if (decisions.length === 0) return end;
    const { content } = answered;
    const calls = new Map(content.flatMap((part) => (isCall(part) ? [[part.id, part] as const] : [])));
    const results = await inParallel(run.parallelTools, decisions, (decision) =>
      resolve(ctx, run, step, decision, calls.get(decision.callId)!),
    );
    const small = isSmall(content, results);
    const later = small && resultsLater === true && ctx.now() - decidedAt <= LONGEST_UNASKED_MS;
    priorAt = before?.at;
    // Who has waited reads what others have said meanwhile.
    before = small && !decisions.some(hasWaited) ? { content, results, at: ctx.now(), recorded: !later } : undefined;
    if (before?.recorded === false) continue;
    const handoff = handoffOf(decisions, results);
    const next = await ctx.activity(handoff === undefined ? "record-results" : "hand-over", {
      ...{ runId, step, results },
      ...(handoff === undefined ? {} : { handoff }),
    } as Json);
    const { stop, handedTo } = next as { readonly stop?: string; readonly handedTo?: string };
    if (stop !== undefined) throw new AgentLimitReached({ runId, limit: stop });
    if (handedTo !== undefined) return answerOf(handedTo, await endOf(ctx, handedTo));
  }
}

type Call = Extract<AssistantPart, { readonly type: "tool-call" | "invalid-tool-call" }>;

function isCall(part: AssistantPart): part is Call {
  return part.type === "tool-call" || part.type === "invalid-tool-call";
}

const delegationEnd = z.object({
  status: z.enum(["completed", "failed", "canceled"]),
  text: z.string().optional(),
  output: json.optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});
type DelegationEnd = z.infer<typeof delegationEnd>;

/** How a run that was delegated to has ended, once it has. */
export async function endOf(ctx: ExecutionContext, runId: string): Promise<DelegationEnd> {
  return delegationEnd.parse(await ctx.waitForSignal(delegationSignal(runId)));
}

/**
 * The answer of who has taken the conversation over.
 *
 * @throws {HandoffFailed}
 */
export function answerOf(runId: string, { status, text = "", output, error }: DelegationEnd) {
  if (status !== "completed") throw new HandoffFailed({ runId, ...(error ?? { code: status, message: "" }) });
  return { text, ...(output === undefined ? {} : { output }) };
}

function hasWaited(decision: ToolDecision): boolean {
  return decision.type === "approval" || (decision.type === "run" && decision.delegate !== undefined);
}

/** The call that hands the conversation over: of several the first one that was not refused. */
function handoffOf(decisions: readonly ToolDecision[], results: readonly ToolResultPart[]) {
  for (const [at, decision] of decisions.entries())
    if (decision.type !== "refused" && decision.delegate?.handoff === true && results[at]!.outcome === "ok")
      return { callId: decision.callId, agent: decision.delegate.agent };
  return undefined;
}

/** Every tool call comes to exactly one result. */
async function resolve(
  ctx: ExecutionContext,
  run: RunArguments,
  step: number,
  decision: ToolDecision,
  call: Call,
): Promise<ToolResultPart> {
  const result = (outcome: "ok" | "error", value: Json): ToolResultPart => ({
    ...{ type: "tool-result", callId: call.id, name: call.name, outcome },
    value: value as never,
  });
  if (decision.type === "refused" || call.type !== "tool-call")
    return result("error", decision.type === "refused" ? decision.reason : "This call cannot be run.");
  let args = call.arguments as JsonObject;
  if (decision.type === "approval") {
    const {
      status,
      arguments: edited,
      reason,
    } = verdict.parse(await ctx.waitForSignal(`approval.${decision.approvalId}`));
    if (status === "rejected")
      return result("error", `A person has rejected this call${reason === undefined ? "." : `: ${reason}`}`);
    if (status === "expired") return result("error", "Nobody has approved this call in time. It was not run.");
    if (status === "edited" && edited !== undefined) args = edited as JsonObject;
    const { stop } = (await ctx.activity("resume", { runId: run.runId })) as { readonly stop?: string };
    if (stop !== undefined) return result("error", `This call was not run: ${stop}`);
  }
  const { delegate } = decision;
  if (delegate?.handoff === true) return result("ok", `The conversation goes over to "${delegate.agent}".`);
  try {
    if (delegate !== undefined) {
      const asked = { runId: run.runId, step, callId: call.id, agent: delegate.agent, arguments: args };
      const { runId } = (await ctx.activity("delegate", asked as Json)) as { readonly runId: string };
      const { status, text = "", output, error } = await endOf(ctx, runId);
      return status === "completed"
        ? result("ok", output ?? text)
        : result("error", error ?? { code: status, message: "" });
    }
    const { agent, version, connections } = run;
    const asked = { agent, version, connections, name: call.name, arguments: args };
    const value = await ctx.activity(decision.repeatable === true ? "read" : "tool", asked as Json);
    return result("ok", value ?? null);
  } catch (error) {
    if (error instanceof ExecutionCanceled || !(error instanceof ArmatureError)) throw error;
    return result("error", { code: error.code, message: error.message });
  }
}

async function runTool(
  catalog: AgentCatalog,
  given: z.infer<typeof toolArguments>,
  ctx: ActivityContext,
): Promise<unknown> {
  const { agent, version, name, arguments: args, connections } = toolArguments.parse(given);
  const definition = await catalog.at(ctx, agent, version);
  const tool = toolOf(definition, name);
  if (tool === undefined && catalog.isOwn(agent)) throw new AgentBeyondOffer({ what: "tools", names: [name] });
  if (tool === undefined)
    throw new TypeError(`The agent "${agent}" of version ${version} has no tool "${name}" any more.`);
  const input = { ...tool.toInput(args as JsonObject) };
  if (tool.provider !== undefined)
    Object.assign(input, { connectorId: connections[tool.provider] ?? (await onlyConnection(ctx, tool.provider)) });
  const client = ctx.use(tool.contract) as Readonly<
    Record<string, (input: unknown, options: CallOptions) => Promise<unknown>>
  >;
  const { toolTimeoutMs } = definition.limits;
  return tool.toResult(await client[tool.operation]!(input, { timeoutMs: toolTimeoutMs }));
}

async function onlyConnection(ctx: ActivityContext, provider: string): Promise<string> {
  const client: Client<typeof connectors> = ctx.use(connectors);
  const { items } = await client.list({ provider, status: "connected", limit: 2 });
  if (items.length === 1) return items[0]!.id;
  throw new ConnectionUnclear({ provider, connections: items.length });
}

/** With a cap, in the order in which the calls were made. */
async function inParallel<T, R>(cap: number, items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    for (;;) {
      const at = next;
      next += 1;
      if (at >= items.length) return;
      results[at] = await run(items[at]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(cap, items.length) }, lane));
  return results;
}
