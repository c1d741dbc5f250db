import { z } from "zod";
import { json } from "../../kernel/json.ts";
import { connectionsOfRun, party, type RemoteUsage, type RunUsage, runStatus, runUsage } from "./contract.ts";

const openCall = z.strictObject({ id: z.string(), name: z.string() });
const limits = z.strictObject({
  steps: z.int(),
  tokens: z.int(),
  nanos: z.int().optional(),
  /** How deep it may delegate. */
  depth: z.int(),
});
/** What is kept of a run. */
export const agentRunState = z.strictObject({
  agent: z.string(),
  agentVersion: z.int(),
  conversationId: z.string(),
  status: runStatus,
  onBehalfOf: party,
  inputHash: z.string(),
  startedAt: z.string(),
  endedAt: z.string().optional(),
  usage: runUsage,
  delegatedUsage: runUsage,
  limits,
  /** The run that has delegated to it, and those before, the first one first. */
  lineage: z.array(z.strictObject({ runId: z.string(), agent: z.string() })),
  parent: z.string().optional(),
  /** Where its messages stand in their conversation. */
  order: z.string(),
  connections: connectionsOfRun,
  /** Messages that it has added to its conversation. */
  messages: z.int(),
  /** Tool calls of its last step that have no result yet. */
  openCalls: z.array(openCall),
  /** Of a remote agent: the number of the last event that was written down. */
  remoteCursor: z.int().optional(),
  approvals: z.array(z.string()),
  /** Approvals that delegated runs wait for, theirs too. */
  nested: z.array(z.strictObject({ approvalId: z.string(), runId: z.string() })),
  /** Runs that it has delegated to, and that have not ended. */
  delegated: z.array(z.string()),
  /** Tokens of its last model call: about as many as the next one reads. */
  contextTokens: z.int(),
  text: z.string().optional(),
  output: json.optional(),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
});
export type AgentRunState = z.infer<typeof agentRunState>;

export const UNUSED = {
  ...{ steps: 0, toolCalls: 0, inputTokens: 0, outputTokens: 0, nanos: 0, stepsWithoutCost: 0 },
} satisfies RunUsage;

/** What a remote agent says that it has used. One that begins anew counts from nothing; what was used before is used. */
export function highest(known: RunUsage, { toolCalls = 0, nanos, ...told }: RemoteUsage): RunUsage {
  const steps = Math.max(known.steps, told.steps);
  return {
    steps,
    toolCalls: Math.max(known.toolCalls, toolCalls),
    inputTokens: Math.max(known.inputTokens, told.inputTokens),
    outputTokens: Math.max(known.outputTokens, told.outputTokens),
    nanos: Math.max(known.nanos, nanos ?? 0),
    stepsWithoutCost: nanos === undefined ? steps : 0,
  };
}

/** What two runs have used. */
export function sumOf(some: RunUsage, more: RunUsage): RunUsage {
  return {
    steps: some.steps + more.steps,
    toolCalls: some.toolCalls + more.toolCalls,
    inputTokens: some.inputTokens + more.inputTokens,
    outputTokens: some.outputTokens + more.outputTokens,
    nanos: some.nanos + more.nanos,
    currency: some.currency ?? more.currency,
    stepsWithoutCost: some.stepsWithoutCost + more.stepsWithoutCost,
  };
}
