import { callHash } from "../../kernel/call-hash.ts";
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
  const { approvals, nested, delegated, delegatedUsage, parent } = state;
  return {
    ...{ runId: id as `run_${string}`, agent, agentVersion, status, onBehalfOf, startedAt, endedAt, usage },
    ...{ text, output, error, conversationId: state.conversationId as `cnv_${string}` },
    ...{ delegatedUsage, parent: parent as `run_${string}` | undefined, delegated: delegated as `run_${string}`[] },
    approvals: [...approvals, ...nested.map(({ approvalId }) => approvalId)] as `apr_${string}`[],
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
    const { conversationId, endedAt } = run.state;
    // Those of runs that it has handed over to stand behind its own.
    const place = `${run.state.order} `;
    for await (const message of ctx.findAll(Message, {
      where: { conversationId },
      orderBy: "order",
      range: { field: "order", gte: place },
    })) {
      if (!message.state.order.startsWith(place)) break;
      if (message.state.order <= order) continue;
      order = message.state.order;
      yield { cursor: `${order}|${seen}`, item: { type: "message", message: messageView(message) } };
    }
    const status = statusOf(run);
    if (status !== seen) {
      seen = status;
      yield { cursor: `${order}|${seen}`, item: { type: "status", run: runView(run) } };
    }
    if (endedAt !== undefined) return;
    await ctx.clock.sleep(LOOK_MS, ctx.signal).catch(() => undefined);
    if (ctx.signal.aborted) return;
  }
}

/** Another one whenever there is something new to see of how it stands: what it waits for, too. */
function statusOf(run: AgentRun): string {
  const { status, approvals } = runView(run);
  return approvals.length === 0 ? status : `${status} ${callHash(status, { approvals }).slice(0, 12)}`;
}
