import { z } from "zod";
import { jsonSchema } from "../../kernel/schema.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { agents } from "./contract.ts";
import { checked, type Tool, type ToolRisk } from "./tool.ts";

/** What the model of the delegating agent says. */
export const delegatedTask = z.strictObject({
  task: z.string().min(1).max(200_000).describe("What to do, with all that one has to know who reads nothing else."),
});
const handoffReason = z.strictObject({ reason: z.string().max(1_000).optional() });

/**
 * Another agent as a tool. It works in a run and a conversation of its own, for the same user and within the same
 * budgets, and its answer is what the tool comes to. With `handoff` it takes the conversation over instead: it reads
 * all of it, and its answer is the run's.
 *
 * @param agent its definition or id: the newest version works. It has to be among the host's agents
 * @throws {TypeError} its name cannot be a tool's
 */
export function agentTool(
  agent: AgentDefinition | string,
  options: {
    /** `ask_researcher` or `handoff_to_researcher` when absent. */
    readonly name?: string;
    /** What it is good for: the definition's summary when absent. */
    readonly description?: string;
    /** Of asking it: `read` when absent. What it does is judged tool by tool. */
    readonly risk?: ToolRisk;
    readonly handoff?: boolean;
  } = {},
): Tool {
  const { handoff = false } = options;
  const id = typeof agent === "string" ? agent : agent.id;
  const about = options.description ?? (typeof agent === "string" ? id : agent.summary);
  const operation = agents.operations.run;
  return checked({
    name: options.name ?? `${handoff ? "handoff_to" : "ask"}_${id}`.slice(0, 64),
    description: handoff ? `Hands the conversation over to another agent. ${about}` : `Asks another agent. ${about}`,
    inputSchema: jsonSchema(handoff ? handoffReason : delegatedTask, "input"),
    risk: options.risk ?? "read",
    permission: operation.permission,
    contract: agents,
    operation: "run",
    toInput: (args) => args,
    toResult: (output) => output ?? null,
    delegate: { agent: id, handoff },
  });
}
