import type { ActionContext, QueryContext } from "../../kernel/context.ts";
import { Agent } from "./agent.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import { AgentRun } from "./agent-run.ts";
import { type Ctx, messagesOf } from "./begin-run.ts";
import { type Amount, NOTHING } from "./budget.ts";
import type { Agents, RemoteUsage } from "./contract.ts";
import { Message } from "./conversation.ts";
import type { RemoteAgent, RemoteClient } from "./remote-client.ts";
import { RemoteAgentFailed, RemoteAgentRefused } from "./remote-errors.ts";
import { REMOTE_CANCEL } from "./remote-loop.ts";
import { MOST_MESSAGES } from "./remote-protocol.ts";
import { transcriptOf } from "./transcript.ts";

type RunInput = { readonly runId: `run_${string}` };
interface Told {
  readonly cursor?: number | undefined;
  readonly message?: string | undefined;
  readonly usage?: RemoteUsage | undefined;
}

/** The operations of agents that run elsewhere. */
export function remoteHandlers(registry: AgentRegistry, client: RemoteClient | undefined) {
  return {
    checkHealth: async ({ agent }: { readonly agent: string }, ctx: Pick<ActionContext<Agents, never>, "signal">) => {
      const found = registry.find(agent);
      if (found.remote === undefined || client === undefined) return { agent, status: "up" as const };
      return { agent, ...(await client.health(found as RemoteAgent, ctx.signal)) };
    },
    remoteRun: async ({ runId }: RunInput, ctx: QueryContext<Agents, never>) => {
      const run = await ctx.load(AgentRun, runId);
      const { agent, agentVersion: version, conversationId, startedAt, remoteCursor: cursor = 0 } = run.state;
      const { steps, tokens, nanos } = run.state.limits;
      const messages = await messagesOf(ctx, conversationId);
      // What it has said itself it knows.
      const asked = messages.filter((each) => each.runId !== runId || each.role === "user");
      return {
        ...{ agent, version, startedAt, cursor, limits: { steps, tokens, nanos } },
        messages: [...transcriptOf(asked, runId)] as never[],
      };
    },
    recordRemote: async ({ runId, ...told }: RunInput & Told, ctx: Ctx) => ({
      stop: await recordRemote(ctx, await ctx.load(AgentRun, runId), told),
    }),
  };
}

/** What a remote agent has told of its run is written down; says why the run may not go on. */
async function recordRemote(ctx: Ctx, run: AgentRun, told: Told): Promise<string | undefined> {
  run.mustBeUnderWay();
  const { remoteCursor = 0 } = run.state;
  const { cursor, message, usage } = told;
  // It was told before, over a connection that broke.
  if (cursor !== undefined && cursor <= remoteCursor) return undefined;
  if (run.state.messages > MOST_MESSAGES) return "messages";
  if (message !== undefined) ctx.add(messageOf(run, message, ctx));
  run.progress({ cursor: cursor ?? remoteCursor, usage, messages: message === undefined ? 0 : 1 }, ctx.now);
  const status = (await ctx.tryLoad(Agent, run.state.agent))?.state.status ?? "active";
  return status === "active" ? limitExceeded(run) : `an agent that is ${status}`;
}

/** Which of its limits it has gone beyond, by its agent's own account. */
function limitExceeded({ state, left: { tokens, nanos = 0 } }: AgentRun): string | undefined {
  if (state.usage.steps > state.limits.steps) return "steps";
  if (tokens < 0) return "tokens";
  return nanos < 0 ? "cost" : undefined;
}

/**
 * A run has ended. Where its agent is a remote one, its answer belongs to the conversation, and an agent that may still be
 * at work is told to stop.
 *
 * @returns what is to be settled
 */
export function endRemote(
  ctx: Ctx,
  run: AgentRun,
  end: { readonly status: "completed" | "failed" | "canceled"; readonly result?: unknown; readonly code: string },
): Omit<Amount, "tokens"> & { readonly tokens: number | undefined } {
  const { agent, agentVersion, usage, remoteCursor } = run.state;
  if (remoteCursor === undefined) return NOTHING;
  const { steps, nanos, inputTokens, outputTokens } = usage;
  const completed = end.status === "completed";
  const { text } = completed ? (end.result as { readonly text: string }) : { text: "" };
  if (text !== "") ctx.add(messageOf(run, text, ctx));
  const args = { runId: run.id, agent, version: agentVersion, reason: end.code };
  if (!completed && !OVER.has(end.code)) ctx.executions.start(REMOTE_CANCEL, `${run.id}.cancel`, args, { agent });
  // One that has worked and does not say what it used has used all that was kept for it.
  const silent = completed && steps === 0;
  return { steps: silent ? 1 : steps, nanos, tokens: silent ? undefined : inputTokens + outputTokens };
}

/** By these the agent itself says that it does nothing any more. */
const OVER: ReadonlySet<string> = new Set([RemoteAgentFailed.code, RemoteAgentRefused.code]);

function messageOf(run: AgentRun, text: string, { now }: Pick<Ctx, "now">): Message {
  return Message.of(run, run.state.messages, "assistant", [{ type: "text", text }], now);
}
