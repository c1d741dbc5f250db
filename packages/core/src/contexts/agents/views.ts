import type { Agent } from "./agent.ts";
import { type AgentDefinition, needsApproval } from "./agent-definition.ts";
import type { AgentRun } from "./agent-run.ts";
import type { AgentRunView, MessageView } from "./contract.ts";
import type { Message } from "./conversation.ts";

export function agentView(definition: AgentDefinition, status: Agent["status"]) {
  const { id, version, summary, capabilities, taskTypes, tools } = definition;
  return {
    ...{ agent: id, version, summary, status },
    capabilities: [...capabilities],
    taskTypes: [...taskTypes],
    remote: definition.remote !== undefined,
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
