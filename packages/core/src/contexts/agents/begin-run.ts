import type { CommandContext } from "../../kernel/context.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { asParty, type Party, type Principal } from "../../kernel/principal.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { AgentRun } from "./agent-run.ts";
import type { AgentRunState } from "./agent-run-state.ts";
import { reserve, type Wanted } from "./budgets.ts";
import type { Agents, RunInput } from "./contract.ts";
import { Conversation, Message, type MessageState } from "./conversation.ts";
import type { KeptConversations } from "./kept-conversations.ts";
import { estimateInputTokens } from "./model-size.ts";
import { requestOf, transcriptOf } from "./transcript.ts";

/** The execution that every run is. Runs of version 1 have each result written down by itself. */
export const AGENT_RUN = { name: "agent-run", version: 2 } as const;

/** The execution that a run of an agent is that runs elsewhere. */
export const REMOTE_RUN = { name: "remote-agent-run", version: 1 } as const;

/** The execution of a run for which a router is to say which agent answers. */
export const AGENT_ROUTING = { name: "agent-routing", version: 1 } as const;

export type Ctx = CommandContext<Agents, never>;

/** What a run is begun with, all of it judged before. */
export interface Beginning {
  readonly runId: `run_${string}`;
  readonly agent: AgentDefinition;
  readonly onBehalfOf: Party;
  readonly inputHash: string;
  /** Absent where it goes on with what stands in the conversation. */
  readonly input?: RunInput;
  /** A new one when absent. */
  readonly conversation?: Conversation | undefined;
  readonly connections: AgentRunState["connections"];
  readonly parent?: AgentRun;
  /** The agent is a router, and one of these is to answer. */
  readonly candidates?: readonly AgentDefinition[] | undefined;
  /** Whether its models stream although nobody follows it yet. */
  readonly streamed?: boolean | undefined;
}

/**
 * Begins a run with its first message and its execution, as far as budgets allow.
 *
 * @returns the run, or which budget does not have what its first step may take; nothing is begun then
 */
export async function beginRun(
  ctx: Ctx,
  given: Beginning,
  wanted: (agent: AgentDefinition, inputTokens: number) => Wanted,
  conversations: KeptConversations,
): Promise<
  { readonly run: AgentRun; readonly stop?: undefined } | { readonly run?: undefined; readonly stop: string }
> {
  const { runId, agent, onBehalfOf, inputHash, input, connections, parent, candidates } = given;
  const content = input === undefined ? undefined : contentOf(input);
  const before =
    given.conversation === undefined ? [] : transcriptOf(await messagesOf(ctx, given.conversation.id), runId);
  const request = requestOf(agent, [...before, ...(content === undefined ? [] : [{ role: "user", content } as const])]);
  const agents = [...new Set([...(parent?.agents ?? []), agent.id])];
  const limits = candidates === undefined ? limitsOf(agent, parent) : UNLIMITED;
  // What happens elsewhere cannot be kept within bounds step by step.
  const most =
    agent.remote === undefined ? wanted(agent, estimateInputTokens(request)) : { nanos: undefined, ...limits };
  const stop = await reserve(ctx, agents, runId, most);
  if (stop !== undefined) return { stop };
  const conversation =
    given.conversation ??
    ctx.add(
      Conversation.start(ctx.newId("cnv") as `cnv_${string}`, { agent: agent.id, startedBy: onBehalfOf, at: ctx.now }),
    );
  const run = ctx.add(
    AgentRun.start(
      runId,
      {
        ...{ agent: agent.id, agentVersion: agent.version, onBehalfOf, inputHash, connections, parent },
        ...{ conversationId: conversation.id as `cnv_${string}`, handoff: content === undefined },
        limits,
        remoteCursor: agent.remote === undefined ? undefined : 0,
      },
      ctx.now,
    ),
  );
  if (content !== undefined) ctx.add(Message.of(run, 0, "user", content, ctx.now));
  const { id, version } = agent;
  if (candidates === undefined) {
    const args = { runId, agent: id, version, parallelTools: agent.limits.parallelTools, connections };
    const streamed = given.streamed === true ? { streamed: true } : {};
    const begun = agent.remote === undefined && given.conversation === undefined ? conversation.id : undefined;
    if (begun !== undefined)
      conversations.keep(ctx.tenant, runId, 0, {
        ...{ agent: id, version, messages: request.messages.slice(1), tools: [], begun },
        ...{ order: run.state.order, said: 1, shownTo: run.sharedWith },
      });
    const execution = agent.remote === undefined ? AGENT_RUN : REMOTE_RUN;
    const asked = { ...args, ...streamed, ...(begun === undefined ? {} : { begun }) };
    ctx.executions.start(execution, runId, asked, { agent: id, onBehalfOf });
  } else {
    const args = { runId, router: id, version, candidates: candidates.map((each) => each.id) };
    ctx.executions.start(AGENT_ROUTING, runId, args, { agent: id, onBehalfOf });
  }
  return { run };
}

/** A router answers once. Who answers after it has limits of its own. */
const UNLIMITED = { steps: 1, tokens: Number.MAX_SAFE_INTEGER, depth: 100 };

/** Its own, and no more than what is left to who delegates. */
function limitsOf({ limits }: AgentDefinition, parent: AgentRun | undefined): AgentRunState["limits"] {
  const { steps, tokens, nanos, depth } = limits;
  const left = parent?.left;
  const bounds = [nanos, left?.nanos].filter((each) => each !== undefined);
  return {
    steps,
    tokens: Math.min(tokens, left?.tokens ?? tokens),
    ...(bounds.length === 0 ? {} : { nanos: Math.min(...bounds) }),
    depth: Math.min(depth, left === undefined ? depth : left.depth - 1),
  };
}

/**
 * Whom a run works for: who calls, or whom that one acts for. Only the system, when it acts for nobody, may say.
 *
 * @throws {InvalidInput} somebody else says
 */
export function servedBy({ actor, onBehalfOf }: Principal, said: Party | undefined): Party | undefined {
  const party = onBehalfOf ?? asParty(actor);
  if (said === undefined) return party;
  if (actor.type === "system" && party === undefined) return said;
  const message = "can be said only by the system, where it acts for nobody";
  throw new InvalidInput({ subject: "The run", issues: [{ path: "onBehalfOf", message }] });
}

/** A conversation in its order. */
export async function messagesOf(ctx: Pick<Ctx, "findAll">, conversationId: string): Promise<readonly MessageState[]> {
  const messages: MessageState[] = [];
  for await (const { state } of ctx.findAll(Message, { where: { conversationId }, orderBy: "order" }))
    messages.push(state);
  return messages;
}

function contentOf(input: RunInput): Exclude<RunInput, string> {
  return typeof input === "string" ? [{ type: "text", text: input }] : input;
}
