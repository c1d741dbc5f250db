import type { Clock } from "../../kernel/clock.ts";
import type { QueryContext } from "../../kernel/context.ts";
import type { StreamItem } from "../../kernel/contract.ts";
import type { Agent } from "./agent.ts";
import { type AgentDefinition, needsApproval } from "./agent-definition.ts";
import { AgentRun } from "./agent-run.ts";
import type { AgentRunView, Agents, MessageView } from "./contract.ts";
import { Message } from "./conversation.ts";

export function agentView(definition: AgentDefinition, agent: Agent | undefined) {
  const { id, version, summary, capabilities, taskTypes, tools } = definition;
  return {
    ...{ agent: id, version, summary },
    status: agent?.state.status ?? ("active" as const),
    capabilities: [...capabilities],
    taskTypes: [...taskTypes],
    tools: tools.map((tool) => ({
      ...{ name: tool.name, description: tool.description, risk: tool.risk },
      approval: needsApproval(definition, tool),
    })),
  };
}

export function runView({ id, state }: AgentRun): AgentRunView {
  const { agent, agentVersion, status, onBehalfOf, startedAt, endedAt, usage, text, output, error } = state;
  return {
    ...{ runId: id as `run_${string}`, agent, agentVersion, status, onBehalfOf, startedAt, endedAt, usage },
    ...{ text, output, error, conversationId: state.conversationId as `cnv_${string}` },
    approvals: state.approvals as `apr_${string}`[],
  };
}

export function messageView({ id, state }: Message): MessageView {
  const { runId, role, content, at } = state;
  return { messageId: id, runId: runId as `run_${string}`, role, content: [...content], at };
}

const LOOK_MS = 200;

type FollowContext = QueryContext<Agents, never> & { readonly after: string | undefined; readonly clock: Clock };
type Followed =
  | { readonly type: "message"; readonly message: MessageView }
  | { readonly type: "status"; readonly run: AgentRunView };

/** A run's messages and states, from the cursor on, until it has ended. */
export async function* followRun(ctx: FollowContext, runId: string): AsyncIterable<StreamItem<Followed>> {
  let [order = "", seen = ""] = (ctx.after ?? "").split("|");
  for (;;) {
    // In this order: a run that has ended has all its messages.
    const run = await ctx.load(AgentRun, runId);
    const { conversationId, status, endedAt } = run.state;
    for await (const message of ctx.findAll(Message, {
      where: { conversationId },
      orderBy: "order",
      range: { field: "order", gte: `${run.state.startedAt} ${runId} ` },
    })) {
      if (message.state.runId !== runId) break;
      if (message.state.order <= order) continue;
      order = message.state.order;
      yield { cursor: `${order}|${seen}`, item: { type: "message", message: messageView(message) } };
    }
    if (status !== seen) {
      seen = status;
      yield { cursor: `${order}|${seen}`, item: { type: "status", run: runView(run) } };
    }
    if (endedAt !== undefined) return;
    await ctx.clock.sleep(LOOK_MS, ctx.signal).catch(() => undefined);
    if (ctx.signal.aborted) return;
  }
}
