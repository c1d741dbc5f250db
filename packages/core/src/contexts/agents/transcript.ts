import type { ModelMessage, ModelTool } from "../../kernel/model-messages.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import type { MessageState } from "./conversation.ts";
import type { ModelRequest } from "./model-prompt.ts";
import type { Tool } from "./tool.ts";

type Stored = Pick<MessageState, "runId" | "role" | "content">;

/**
 * What a run's next model call reads of its conversation: its own messages, and those of others as far as each tool call
 * in them has its result. A run that still waits elsewhere in the conversation is left out from where it waits.
 */
export function transcriptOf(messages: readonly Stored[], runId: string): readonly ModelMessage[] {
  return readable(messages, runId).map(toMessage);
}

/** The same as they are stored. */
export function readable<M extends Stored>(messages: readonly M[], runId: string): readonly M[] {
  return messages.filter((message, at) => message.runId === runId || isAnswered(messages, at));
}

export function toMessage({ role, content }: Stored): ModelMessage {
  return { role, content } as ModelMessage;
}

function isAnswered(messages: readonly Stored[], at: number): boolean {
  const { runId, role, content } = messages[at]!;
  if (role !== "assistant") return true;
  const asked = content.filter((part) => part.type === "tool-call" || part.type === "invalid-tool-call");
  if (asked.length === 0) return true;
  const next = messages[at + 1];
  return next?.runId === runId && next.role === "tool";
}

/** What an agent's model is asked. */
export function requestOf(
  agent: AgentDefinition,
  messages: readonly ModelMessage[],
  offered: readonly Tool[] = agent.tools,
): ModelRequest {
  const tools: ModelTool[] = offered.map(({ name, description, inputSchema }) => ({
    ...{ name, description },
    inputSchema: inputSchema as ModelTool["inputSchema"],
  }));
  return {
    messages: [{ role: "system", content: agent.instructions }, ...messages],
    ...(tools.length === 0 ? {} : { tools }),
    maxOutputTokens: agent.limits.outputTokens,
  };
}
