import type { CircuitOptions } from "../../kernel/circuit.ts";
import type { Schema } from "../../kernel/schema.ts";
import type { Guardrail } from "./guardrail.ts";
import type { Tool, ToolRisk } from "./tool.ts";

/** What a run may use up before it is stopped. */
export interface AgentLimits {
  /** Calls of a model. Default 20. */
  readonly steps?: number;
  /** Tokens, in and out, over all steps. Default 200,000. */
  readonly tokens?: number;
  /** What it may cost, in billionths of the prices' currency. Default: no bound. */
  readonly nanos?: number;
  /** Tokens that a model may write in one step. Default 4,096. */
  readonly outputTokens?: number;
  /**
   * How long what a model reads may be, about, in tokens: beyond it older messages are summarised by the model, and
   * the summary stands in their place. Well below what the models take; above what instructions and tools take alone.
   * Default: no bound.
   */
  readonly contextTokens?: number;
  /** Tools that are run at the same time. Default 4. */
  readonly parallelTools?: number;
  /** For how long one call of a tool is waited for, in milliseconds. Default 60,000; other agents take the time they need. */
  readonly toolTimeoutMs?: number;
  /** How deep it may delegate: 1 has other agents work for it, which delegate no further. Default 3. */
  readonly depth?: number;
}

/** Where a remote agent is, and what it may do there. */
export interface RemoteEndpoint {
  /** Without a slash at the end. */
  readonly url: string;
  readonly permissions: readonly string[];
  readonly timeoutMs: number;
  readonly circuit: CircuitOptions | false;
}

/** What an agent is, said once in code. Made by `defineAgent`. */
export interface AgentDefinition {
  readonly id: string;
  readonly version: number;
  readonly summary: string;
  readonly instructions: string;
  readonly tools: readonly Tool[];
  /** Names of the host's models: the first is asked, the next when it is not available. */
  readonly models: readonly string[];
  /** What it can be asked for by, beside its id. */
  readonly capabilities: readonly string[];
  /** `classification`, `extraction`: what it is asked for by what is to be done. */
  readonly taskTypes: readonly string[];
  readonly limits: Required<Omit<AgentLimits, "nanos" | "contextTokens">> &
    Pick<AgentLimits, "nanos" | "contextTokens">;
  /** From which risk on a person has to approve a tool call. `never`: none. */
  readonly approvalFrom: Exclude<ToolRisk, "read"> | "never";
  /** The shape of its answer; without it the answer is text. */
  readonly output: Schema | undefined;
  /** What stands between it and its model. */
  readonly guardrails: readonly Guardrail[];
  /** Where it runs, when that is elsewhere: `defineRemoteAgent` says so. It then has no tools and models here. */
  readonly remote?: RemoteEndpoint | undefined;
}

const ID = /^[a-z][a-z0-9-]{0,62}$/;

/**
 * Says what an agent is: what it is told, what it can do, which models it asks, how far it may go. Every tool call
 * passes the pipeline with the agent acting on behalf of who has started the run.
 *
 * @throws {TypeError} a name or number cannot be, or two tools have one name
 */
export function defineAgent(options: {
  /** `sales-assistant`: lower-case letters, digits and hyphens. */
  readonly id: string;
  /** 1 or more; 1 when absent. A run keeps to the version that it was started with. */
  readonly version?: number;
  /** One sentence, for who looks at the list. */
  readonly summary: string;
  readonly instructions: string;
  readonly tools?: readonly (Tool | readonly Tool[])[];
  /** Names of the host's models, in the order in which they are asked. `["default"]` when absent. */
  readonly models?: readonly string[];
  readonly capabilities?: readonly string[];
  readonly taskTypes?: readonly string[];
  readonly limits?: AgentLimits;
  /** From which risk on a person has to approve a tool call: `write` when absent. */
  readonly approvalFrom?: AgentDefinition["approvalFrom"];
  readonly output?: Schema;
  /** What stands between it and its model, in this order before a call and in reverse after it. */
  readonly guardrails?: readonly Guardrail[];
}): AgentDefinition {
  const { id, version = 1, models = ["default"], limits = {} } = options;
  const tools = (options.tools ?? []).flat() as readonly Tool[];
  if (!ID.test(id)) throw new TypeError(`The agent id "${id}" must be lower-case letters, digits and hyphens.`);
  if (models.length === 0) throw new TypeError(`The agent "${id}" names no model.`);
  for (const [what, number] of Object.entries({ version, ...limits }))
    if (!Number.isSafeInteger(number) || number < 1)
      throw new TypeError(`The agent "${id}" has ${number} as its ${what}: it must be 1 or more.`);
  for (const [at, { name }] of tools.entries())
    if (tools.findIndex((other) => other.name === name) !== at)
      throw new TypeError(`The agent "${id}" has two tools "${name}".`);
  return Object.freeze({
    ...{ id, version, models, tools },
    summary: options.summary,
    instructions: options.instructions,
    capabilities: options.capabilities ?? [],
    taskTypes: options.taskTypes ?? [],
    limits: {
      steps: 20,
      tokens: 200_000,
      outputTokens: 4_096,
      parallelTools: 4,
      toolTimeoutMs: 60_000,
      depth: 3,
      ...limits,
    },
    approvalFrom: options.approvalFrom ?? "write",
    output: options.output,
    guardrails: options.guardrails ?? [],
  });
}

const RISKS: readonly ToolRisk[] = ["read", "write", "irreversible"];

/** Whether a person has to approve calls of this tool. */
export function needsApproval(
  { approvalFrom }: Pick<AgentDefinition, "approvalFrom">,
  { risk }: Pick<Tool, "risk">,
): boolean {
  return approvalFrom !== "never" && RISKS.indexOf(risk) >= RISKS.indexOf(approvalFrom);
}
