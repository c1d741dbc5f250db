import { z } from "zod";
import type { ActivityContext, ExecutionDefinition, RetryPolicy } from "../../kernel/execution.ts";
import { json } from "../../kernel/json.ts";
import type { Schema } from "../../kernel/schema.ts";
import { jsonSchema, tryParse } from "../../kernel/schema.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import { REMOTE_RUN } from "./begin-run.ts";
import { AgentLimitReached, runId } from "./contract.ts";
import { ownCalls } from "./own-calls.ts";
import type { RemoteAgent, RemoteClient } from "./remote-client.ts";
import {
  RemoteAgentFailed,
  RemoteAgentProtocolBroken,
  RemoteAgentTimedOut,
  RemoteAgentUnreachable,
} from "./remote-errors.ts";
import type { RemoteEvent, RemoteRun } from "./remote-protocol.ts";

/** Tells a remote agent that nobody waits for a run any more, until it has heard. */
export const REMOTE_CANCEL = { name: "remote-agent-cancel", version: 1 } as const;

const runArguments = z.object({ runId });
const cancelArguments = z.strictObject({ runId, agent: z.string(), version: z.int(), reason: z.string() });
const answer = z.strictObject({ text: z.string(), output: json.optional() });

const retry: RetryPolicy = {
  attempts: 12,
  longestWaitMs: 60_000,
  neverOn: [RemoteAgentProtocolBroken.code, RemoteAgentTimedOut.code, AgentLimitReached.code],
};
/** An agent that says nothing for this long, not even a comment, is asked again. */
const SILENCE_MS = 60_000;
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 10_000;

/** @param client absent where the host has no remote agents (any more) */
export function remoteDefinitions(
  registry: AgentRegistry,
  client: RemoteClient | undefined,
): readonly ExecutionDefinition[] {
  if (registry.all.length === 0) return [];
  const longest = registry.all.reduce((most, { remote }) => Math.max(most, remote?.timeoutMs ?? 0), 0);
  return [
    {
      ...REMOTE_RUN,
      ended: "ended",
      activities: {
        remote: {
          output: answer as unknown as Schema,
          retry,
          // The agent's own deadline comes before.
          timeoutMs: longest + SILENCE_MS,
          heartbeatTimeoutMs: SILENCE_MS,
          system: true,
          run: (given: { readonly runId: `run_${string}` }, ctx: ActivityContext) =>
            follow(registry, client!, given.runId, ctx),
        },
      },
      run: async (ctx, given) => ctx.activity("remote", { runId: runArguments.parse(given).runId }),
    },
    {
      ...REMOTE_CANCEL,
      activities: {
        cancel: {
          retry: { attempts: 8, longestWaitMs: 60_000 },
          run: async (given: z.infer<typeof cancelArguments>, ctx: ActivityContext) => {
            const { agent, version, reason } = cancelArguments.parse(given);
            const { principal, signal } = ctx;
            const id = remoteIdOf(principal.tenant, given.runId);
            await client!.cancel(remoteAgent(registry.find(agent, version)), { principal, id, reason, signal });
            return null;
          },
        },
      },
      run: (ctx, given) => ctx.activity("cancel", given),
    },
  ];
}

/** A run's id is unique in its tenant, and the agent works for many. */
export function remoteIdOf(tenant: string, id: string): string {
  return `${tenant}.${id}`;
}

function remoteAgent(definition: AgentDefinition): RemoteAgent {
  if (definition.remote === undefined) throw new TypeError(`The agent "${definition.id}" is no remote one any more.`);
  return definition as RemoteAgent;
}

async function follow(
  registry: AgentRegistry,
  client: RemoteClient,
  id: `run_${string}`,
  ctx: ActivityContext,
): Promise<z.infer<typeof answer>> {
  const own = ownCalls(ctx);
  const found = await own.remoteRun({ runId: id });
  const agent = remoteAgent(registry.find(found.agent, found.version));
  const { timeoutMs } = agent.remote;
  const deadline = Date.parse(found.startedAt) + timeoutMs;
  const run = requestOf(agent, client, { ...found, id, tenant: ctx.tenant, deadline });
  const { clock } = client;
  let after = found.cursor;
  let inVain = 0;
  for (;;) {
    const left = deadline - clock.now();
    if (left <= 0) throw new RemoteAgentTimedOut({ agent: agent.id, timeoutMs });
    let heard = false;
    const alive = async () => {
      heard = true;
      await ctx.heartbeat();
    };
    const { principal, signal } = ctx;
    try {
      for await (const event of client.follow(agent, { principal, run, after, timeoutMs: left, signal, alive })) {
        inVain = 0;
        const { stop } = await own.recordRemote(recordOf(id, event), { idempotencyKey: undefined });
        if (stop !== undefined) throw new AgentLimitReached({ runId: id, limit: stop });
        if (event.type === "completed") return completed(agent, event.data);
        if (event.type === "failed")
          throw new RemoteAgentFailed({ agent: agent.id, code: event.data.code, message: event.data.message });
        after = Math.max(after, event.id ?? 0);
      }
    } catch (error) {
      // A connection that has broken is made anew. Whoever was never reached is tried again later.
      if (!(error instanceof RemoteAgentUnreachable) || !heard) throw error;
    }
    await clock.sleep(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** inVain), ctx.signal);
    inVain += 1;
  }
}

function requestOf(
  agent: RemoteAgent,
  client: RemoteClient,
  {
    id,
    tenant,
    deadline,
    limits,
    messages,
  }: {
    readonly id: string;
    readonly tenant: string;
    readonly deadline: number;
    readonly limits: RemoteRun["limits"];
    readonly messages: readonly unknown[];
  },
): RemoteRun {
  const { permissions } = agent.remote;
  return {
    ...{ id: remoteIdOf(tenant, id), tenant, runId: id, agent: agent.id, version: agent.version },
    deadline: new Date(deadline).toISOString(),
    limits,
    messages: messages as RemoteRun["messages"],
    ...(agent.output === undefined ? {} : { outputSchema: jsonSchema(agent.output, "output") as never }),
    ...(permissions.length === 0 ? {} : { api: { url: client.apiUrl, permissions: [...permissions] } }),
  };
}

/** What an event changes. One that ends the run is not passed: it is asked for again until its end is written down. */
function recordOf(id: `run_${string}`, event: RemoteEvent) {
  switch (event.type) {
    case "message":
      return { runId: id, cursor: event.id, message: event.data.text };
    case "usage":
      return { runId: id, cursor: event.id, usage: event.data };
    default:
      return { runId: id, usage: event.data.usage };
  }
}

function completed(agent: RemoteAgent, { text, output }: { readonly text: string; readonly output?: unknown }) {
  if (agent.output === undefined) return { text };
  const parsed = tryParse(agent.output, output);
  if (parsed.ok) return { text, output: parsed.value as never };
  const [{ path, message } = { path: "", message: "" }] = parsed.issues;
  throw new RemoteAgentProtocolBroken({ agent: agent.id, reason: `its output does not fit: ${path} ${message}` });
}
