import { callHash } from "../../kernel/call-hash.ts";
import { atomic, defineContext } from "../../kernel/context.ts";
import { parse } from "../../kernel/parse.ts";
import type { Json, JsonObject } from "../../kernel/schema.ts";
import {
  ApprovalApproved,
  ApprovalEdited,
  ApprovalExpired,
  ApprovalRejected,
  approvals,
} from "../approvals/contract.ts";
import { connectors } from "../connectors/contract.ts";
import { Agent } from "./agent.ts";
import { AgentCatalog } from "./agent-catalog.ts";
import { type AgentDefinition, needsApproval } from "./agent-definition.ts";
import { agentRunDefinitions } from "./agent-loop.ts";
import { toolOf } from "./agent-registry.ts";
import { agentRoutingDefinition, asRouter } from "./agent-router.ts";
import { AgentRun } from "./agent-run.ts";
import { delegatedTask } from "./agent-tool.ts";
import { beginRun, type Ctx, servedBy } from "./begin-run.ts";
import { type Amount, Budget, NOTHING } from "./budget.ts";
import { budgetsOf, reserve, settle, used, type Wanted } from "./budgets.ts";
import { ConversationSummary, transcriptFor } from "./compaction.ts";
import {
  AgentLimitReached,
  AgentRunRequestedOtherwise,
  agents,
  NobodyToActFor,
  runResult,
  type ToolDecision,
} from "./contract.ts";
import { Conversation, Message } from "./conversation.ts";
import { Delegation } from "./delegation.ts";
import { followRun } from "./follow-run.ts";
import { KeptConversations } from "./kept-conversations.ts";
import type { ModelClient } from "./model-client.ts";
import { estimateInputTokens } from "./model-size.ts";
import { AgentVersion, type TenantAgents } from "./own-agent.ts";
import { agentHandlers } from "./own-agent-handlers.ts";
import { recordAnswer, toolsRun } from "./record-answer.ts";
import type { RemoteClient } from "./remote-client.ts";
import { remoteDefinitions } from "./remote-loop.ts";
import { endRemote, remoteHandlers } from "./remote-runs.ts";
import type { RunFeed } from "./run-feed.ts";
import { mannerOf } from "./tool.ts";
import { messageView, runView } from "./views.ts";

/** What the context needs from outside. */
export interface AgentsOptions {
  readonly definitions: readonly AgentDefinition[];
  /** Decides between several that fit. */
  readonly router?: AgentDefinition | undefined;
  /** What tenants can make agents of; without it they make none. */
  readonly tenantAgents?: TenantAgents | undefined;
  readonly model: ModelClient;
  readonly feed: RunFeed;
  /** What a call costs at most, in billionths; undefined where no price is known. */
  readonly priceOf: (
    models: readonly string[],
    tokens: { readonly inputTokens: number; readonly maxOutputTokens: number },
  ) => number | undefined;
  /** Speaks to agents that run elsewhere, where there are any. */
  readonly remote?: RemoteClient | undefined;
}

const SUBJECT = "agents.run";

/** The context of agents: who they are, what they do for whom, and what they may use up. */
export function agentsContext({ definitions, router, tenantAgents, model, feed, priceOf, remote }: AgentsOptions) {
  const catalog = new AgentCatalog(definitions, router, tenantAgents);
  const conversations = new KeptConversations();
  const wanted = (agent: AgentDefinition, inputTokens: number): Wanted => {
    const { outputTokens, contextTokens } = agent.limits;
    const nanos = priceOf(agent.models, { inputTokens, maxOutputTokens: outputTokens });
    // What is too long is summarised first.
    const calls = inputTokens > (contextTokens ?? inputTokens) ? 2 : 1;
    return { tokens: calls * (inputTokens + outputTokens), nanos: nanos && calls * nanos, steps: calls };
  };
  /** Why the run may not go on; it keeps what its next step may take otherwise. */
  const mayGoOn = async (ctx: Ctx, run: AgentRun, inputTokens: number): Promise<string | undefined> => {
    const { agent, agentVersion } = run.state;
    if (run.limitReached !== undefined) return run.limitReached;
    // What is reserved from is looked for with it, so that both are one question to the store.
    const [status] = await Promise.all([catalog.status(ctx, agent), budgetsOf(ctx, run.agents)]);
    if (status !== "active") return `an agent that is ${status}`;
    const definition = await catalog.find(ctx, agent, agentVersion);
    return reserve(ctx, run.agents, run.id as `run_${string}`, wanted(definition, inputTokens));
  };
  /** Whether nothing bounds the next step: it may be taken without being asked for. */
  const goesOnFreely = async (ctx: Ctx, run: AgentRun): Promise<boolean> => {
    const [status, budgets] = await Promise.all([catalog.status(ctx, run.state.agent), budgetsOf(ctx, run.agents)]);
    return run.limitReached === undefined && status === "active" && budgets.length === 0;
  };
  const delegation = new Delegation(catalog, wanted, conversations);

  return defineContext(agents, {
    dependsOn: [atomic(approvals), connectors],
    aggregates: [Agent, AgentVersion, AgentRun, Budget, Conversation, ConversationSummary, Message],
    executions: [
      ...(catalog.isEmpty ? [] : agentRunDefinitions(catalog, model, feed, conversations)),
      ...remoteDefinitions(catalog.host, remote),
      ...(router === undefined ? [] : [agentRoutingDefinition(catalog, model)]),
    ],
    handlers: {
      ...agentHandlers(catalog),
      run: async ({ input, conversationId, runId, connections = {}, onBehalfOf: party, streamed, ...asked }, ctx) => {
        // Of what was asked for: which agent that means may be another one by now.
        const inputHash = callHash("agents.run", { ...asked, input, conversationId, connections, party } as JsonObject);
        const id = (runId ?? ctx.newId("run")) as `run_${string}`;
        const [known] = await Promise.all([
          runId === undefined ? undefined : ctx.tryLoad(AgentRun, id),
          // Needed soon, and all of it is one question to the store.
          asked.agent === undefined ? undefined : ctx.tryLoad(Agent, asked.agent),
          asked.agent === undefined ? undefined : budgetsOf(ctx, [asked.agent]),
        ]);
        if (known !== undefined) {
          if (known.state.inputHash !== inputHash) throw new AgentRunRequestedOtherwise({ runId: id });
          return { runId: id, conversationId: known.state.conversationId as `cnv_${string}`, agent: known.state.agent };
        }
        const conversation = conversationId === undefined ? undefined : await ctx.load(Conversation, conversationId);
        const named = asked.agent ?? asked.capability ?? asked.taskType;
        const answering = conversation?.state.agent === router?.id ? undefined : conversation?.state.agent;
        const candidates = await catalog.route(ctx, named === undefined ? { agent: answering } : asked);
        const routes = candidates.length > 1;
        const agent = routes ? asRouter(router!, candidates) : candidates[0];
        const onBehalfOf = servedBy(ctx.principal, party);
        if (onBehalfOf === undefined) throw new NobodyToActFor({ agent: agent.id });
        Agent.mustBeActive(agent.id, await ctx.tryLoad(Agent, agent.id));
        const begun = { runId: id, agent, onBehalfOf, inputHash, input, conversation, connections, streamed };
        const { run, stop } = await beginRun(
          ctx,
          { ...begun, ...(routes ? { candidates } : {}) },
          wanted,
          conversations,
        );
        if (stop !== undefined) throw new AgentLimitReached({ runId: id, limit: stop });
        return { runId: id, conversationId: run.state.conversationId as `cnv_${string}`, agent: agent.id };
      },
      get: async ({ runId }, ctx) => runView(await ctx.load(AgentRun, runId)),
      listRuns: async ({ agent, status, conversationId, parent, limit, after }, ctx) => {
        const { items, next } = await ctx.find(AgentRun, {
          where: { agent, status, conversationId, parent },
          orderBy: "startedAt",
          direction: "desc",
          ...{ limit, after },
        });
        return { items: items.map(runView), next };
      },
      messages: async ({ conversationId, limit, after }, ctx) => {
        await ctx.load(Conversation, conversationId);
        const page = await ctx.find(Message, { where: { conversationId }, orderBy: "order", limit, after });
        return { items: page.items.map(messageView), next: page.next };
      },
      follow: ({ runId }, ctx) => followRun(ctx, feed, runId),
      cancel: async ({ runId, reason }, ctx) => {
        (await ctx.load(AgentRun, runId)).mustBeUnderWay();
        ctx.executions.cancel(runId, reason);
      },
      setBudget: async ({ budget, ...limits }, ctx) => {
        if (budget !== "tenant") await catalog.shown(ctx, budget.slice("agent.".length));
        ((await ctx.tryLoad(Budget, budget)) ?? ctx.add(new Budget(budget))).set(limits as Partial<Amount>, ctx.now);
      },
      budget: async ({ budget }, ctx) => {
        const found = await ctx.tryLoad(Budget, budget);
        if (found === undefined) return { limits: {}, spent: NOTHING, reserved: NOTHING };
        return { limits: found.state.limits, spent: found.state.spent, reserved: found.reservedBy(() => true) };
      },
      transcript: async ({ runId, results }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        return transcriptFor(ctx, run, await catalog.find(ctx, run.state.agent, run.state.agentVersion), results);
      },
      ...remoteHandlers(catalog.host, remote),
      recordStep: async ({ runId, together = false, ...answer }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        const agent = await catalog.find(ctx, run.state.agent, run.state.agentVersion);
        const { step, offered } = answer;
        const calls = await recordAnswer(ctx, run, answer);
        const decisions: ToolDecision[] = [];
        let handsOver = false;
        for (const call of calls) {
          // What its guardrails did not offer it does not have.
          const tool = offered.includes(call.name) ? toolOf(agent, call.name) : undefined;
          if (call.type === "invalid-tool-call" || tool === undefined) {
            const reason = call.type === "invalid-tool-call" ? call.reason : `There is no tool "${call.name}".`;
            decisions.push({ type: "refused", callId: call.id, reason });
          } else if (handsOver && tool.delegate?.handoff === true) {
            const reason = "The conversation is handed over by another call already.";
            decisions.push({ type: "refused", callId: call.id, reason });
          } else if (!needsApproval(agent, tool))
            decisions.push({ type: "run", callId: call.id, ...mannerOf(tool, together) });
          else {
            const approvalId = approvalIdOf(runId, step, call.id);
            await ctx.use(approvals).request({
              approvalId,
              subject: { type: SUBJECT, id: runId },
              action: tool.name,
              title: `${agent.id}: ${tool.description}`.slice(0, 500),
              arguments: call.arguments as JsonObject,
              inputSchema: tool.inputSchema,
              permission: tool.permission,
              risk: tool.risk,
            });
            decisions.push({ type: "approval", callId: call.id, approvalId, ...mannerOf(tool, together) });
          }
          handsOver ||= tool?.delegate?.handoff === true;
        }
        const waits = decisions.flatMap((decision) => (decision.type === "approval" ? [decision.approvalId] : []));
        if (waits.length > 0) {
          run.suspend(waits, ctx.now);
          await delegation.suspended(ctx, run, waits);
        }
        const repeatable = decisions.every((each) => each.type === "refused" || each.repeatable === true);
        const later = together && waits.length === 0 && repeatable;
        return { decisions, resultsLater: later && (await goesOnFreely(ctx, run)) };
      },
      delegate: async ({ runId, arguments: args, ...call }, ctx) => {
        const { task } = parse(delegatedTask, args, `The arguments for "${call.agent}"`);
        return { runId: await delegation.delegate(ctx, await ctx.load(AgentRun, runId), { ...call, task }) };
      },
      recordRoute: async ({ runId, candidates, answer }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        if (answer !== undefined) await used(ctx, run, { ...answer, step: 1, calls: [] });
        return delegation.route(
          ctx,
          run,
          [answer?.agent ?? "", ...candidates].filter((id) => candidates.includes(id)),
        );
      },
      recordResults: async ({ runId, step, results: given, handoff }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        const handed = handoff === undefined ? undefined : await delegation.handOver(ctx, run, { ...handoff, step });
        const results = given.map((result) =>
          handed !== undefined && "error" in handed && result.callId === handoff?.callId
            ? {
                ...result,
                outcome: "error" as const,
                value: { code: handed.error.code, message: handed.error.message },
              }
            : result,
        );
        toolsRun(run, step, results, ctx);
        await delegation.resumed(ctx, run);
        if (handed !== undefined && "runId" in handed) return { handedTo: handed.runId };
        const added = estimateInputTokens({ messages: [{ role: "tool", content: results }] });
        return { stop: await mayGoOn(ctx, run, run.state.contextTokens + added) };
      },
      resume: async ({ runId }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        return { stop: await mayGoOn(ctx, run, run.state.contextTokens) };
      },
      ended: async ({ executionId: runId, status, result, error }, ctx) => {
        const run = await ctx.load(AgentRun, runId);
        const { text = "", output, last } = runResult.parse(status === "completed" ? result : {});
        if (last !== undefined) await recordAnswer(ctx, run, last);
        conversations.drop(ctx.tenant, runId);
        const { openCalls, approvals: waiting } = run.state;
        const cause = { code: error?.code ?? "internal", message: error?.message ?? "" };
        if (openCalls.length > 0) {
          // Whoever goes on with the conversation finds a result for each call.
          const results = openCalls.map(({ id, name }) => ({
            ...({ type: "tool-result", callId: id, name, outcome: "error" } as const),
            value: "It is not known whether this call was run: the run has ended before.",
          }));
          ctx.add(Message.of(run, run.state.messages, "tool", results, ctx.now));
        }
        for (const approvalId of waiting) ctx.send(approvals, "expire", { approvalId: approvalId as `apr_${string}` });
        await settle(ctx, run.agents, runId, endRemote(ctx, run, { status, result, code: cause.code }));
        if (status === "completed") run.complete({ text, output }, ctx.now);
        else if (status === "failed") run.fail(cause, ctx.now);
        else run.cancel(ctx.now);
        await delegation.ended(ctx, run, cause);
      },
    },
    subscriptions: (on) =>
      [ApprovalApproved, ApprovalEdited, ApprovalRejected, ApprovalExpired].map((event) =>
        on(event, { consumer: `agents.${event.type.replace(".", "-")}` }, async ({ data }, ctx) => {
          if (data.subject.type !== SUBJECT) return;
          const { approvalId, subject } = data;
          // Others may ask for approvals under this name too.
          if ((await ctx.tryLoad(AgentRun, subject.id)) === undefined) return;
          const decided = await ctx.use(approvals).get({ approvalId });
          const { status, editedArguments, reason } = decided;
          ctx.executions.signal(subject.id, `approval.${approvalId}`, {
            status,
            ...(editedArguments === undefined ? {} : { arguments: editedArguments }),
            ...(reason === undefined ? {} : { reason }),
          } as Json);
        }),
      ),
  });
}

/** The same whenever the step is written down: it is asked once. */
function approvalIdOf(runId: string, step: number, callId: string): `apr_${string}` {
  return `apr_${callHash(runId, { step, callId }).slice(0, 40)}`;
}
