import type { z } from "zod";
import { callHash } from "../../kernel/call-hash.ts";
import type { ArmatureError } from "../../kernel/errors.ts";
import { Forbidden, NotFound } from "../../kernel/errors.ts";
import type { Json } from "../../kernel/schema.ts";
import type { AgentCatalog } from "./agent-catalog.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { AgentRun } from "./agent-run.ts";
import { beginRun, type Ctx } from "./begin-run.ts";
import type { Wanted } from "./budgets.ts";
import {
  AgentLimitReached,
  AgentNotActive,
  AgentRunRequestedOtherwise,
  agents,
  DelegationTooDeep,
  type RunInput,
  type routed,
} from "./contract.ts";
import { Conversation } from "./conversation.ts";
import type { KeptConversations } from "./kept-conversations.ts";

/** How runs have other runs work for them: begun once, waited for by signal, ended with them. */
export class Delegation {
  readonly #catalog: AgentCatalog;
  readonly #wanted: (agent: AgentDefinition, inputTokens: number) => Wanted;
  readonly #conversations: KeptConversations;

  constructor(
    catalog: AgentCatalog,
    wanted: (agent: AgentDefinition, inputTokens: number) => Wanted,
    conversations: KeptConversations,
  ) {
    this.#catalog = catalog;
    this.#wanted = wanted;
    this.#conversations = conversations;
  }

  /**
   * Has another agent work on a tool call, in a run and a conversation of its own.
   *
   * @throws {AgentRunNotUnderWay | Forbidden | AgentNotActive | DelegationTooDeep | AgentLimitReached}
   */
  async delegate(
    ctx: Ctx,
    parent: AgentRun,
    call: { readonly step: number; readonly callId: string; readonly agent: string; readonly task: string },
  ): Promise<`run_${string}`> {
    parent.mustBeUnderWay();
    const runId = delegatedRunId(parent.id, call.step, call.callId);
    const inputHash = callHash(parent.id, { callId: call.callId, task: call.task });
    const known = await ctx.tryLoad(AgentRun, runId);
    if (known !== undefined) {
      // Anybody may begin a run under an id of their choice.
      if (known.state.inputHash !== inputHash) throw new AgentRunRequestedOtherwise({ runId });
      return runId;
    }
    const refused = await this.#refusal(ctx, parent, call.agent);
    if (refused !== undefined) throw refused;
    const { run, stop } = await this.#begin(ctx, parent, { runId, agent: call.agent, inputHash, input: call.task });
    if (stop !== undefined) throw new AgentLimitReached({ runId, limit: stop });
    parent.delegate(run, false, ctx.now);
    return runId;
  }

  /**
   * Has another agent go on in the run's conversation.
   *
   * @returns its run, or why it cannot
   */
  async handOver(
    ctx: Ctx,
    parent: AgentRun,
    { callId, step, agent }: { readonly step: number; readonly callId: string; readonly agent: string },
  ): Promise<{ readonly runId: `run_${string}` } | { readonly error: ArmatureError }> {
    const runId = delegatedRunId(parent.id, step, callId);
    if ((await ctx.tryLoad(AgentRun, runId)) !== undefined) return { error: new AgentRunRequestedOtherwise({ runId }) };
    const refused = await this.#refusal(ctx, parent, agent);
    if (refused !== undefined) return { error: refused };
    const conversation = await ctx.load(Conversation, parent.state.conversationId);
    const inputHash = callHash(parent.id, { callId });
    const { run, stop } = await this.#begin(ctx, parent, { runId, agent, inputHash, conversation });
    if (stop !== undefined) return { error: new AgentLimitReached({ runId, limit: stop }) };
    parent.delegate(run, true, ctx.now);
    conversation.handOver(run, ctx.now);
    return { runId };
  }

  /** Has the first agent that can go on in a router's conversation. */
  async route(ctx: Ctx, run: AgentRun, candidates: readonly string[]): Promise<z.infer<typeof routed>> {
    let refused: ArmatureError | undefined;
    for (const agent of candidates) {
      const handed = await this.handOver(ctx, run, { step: 1, callId: "route", agent });
      if ("runId" in handed) return { handedTo: handed.runId };
      if (handed.error instanceof AgentLimitReached) return { stop: handed.error.details.limit };
      refused ??= handed.error;
      if (!(handed.error instanceof AgentNotActive)) break;
    }
    return { refused: { code: refused!.code, message: refused!.message } };
  }

  /** A run waits for people: so do those that wait for it. */
  async suspended(ctx: Ctx, run: AgentRun, approvals: readonly string[]): Promise<void> {
    for (const above of await this.#above(ctx, run)) above.suspendFor(run.id, approvals, ctx.now);
  }

  /** What it has waited for is decided. */
  async resumed(ctx: Ctx, run: AgentRun): Promise<void> {
    for (const above of await this.#above(ctx, run)) above.resumeFor(run.id, ctx.now);
  }

  /** Tells who waits for it, and ends what it has waited for itself. */
  async ended(ctx: Ctx, run: AgentRun, error: { readonly code: string; readonly message: string }): Promise<void> {
    const { delegated, parent: parentId, status, text, output } = run.state;
    for (const runId of delegated) ctx.executions.cancel(runId, "the run that it worked for has ended");
    if (parentId === undefined) return;
    const above = await this.#above(ctx, run);
    for (const each of above) each.resumeFor(run.id, ctx.now);
    above.at(-1)!.delegationEnded(run, ctx.now);
    const end = status === "completed" ? { status, text, output } : { status, error };
    ctx.executions.signal(parentId, delegationSignal(run.id), JSON.parse(JSON.stringify(end)) as Json);
  }

  async #above(ctx: Ctx, { state: { lineage } }: AgentRun): Promise<readonly AgentRun[]> {
    return Promise.all(lineage.map(({ runId }) => ctx.load(AgentRun, runId)));
  }

  /** Why the run may not have the agent work, as far as that does not depend on budgets. */
  async #refusal(ctx: Ctx, parent: AgentRun, id: string): Promise<ArmatureError | undefined> {
    const { permission } = agents.operations.run;
    if (!(await ctx.can(permission))) return new Forbidden({ permission });
    const agent = await this.#catalog.find(ctx, id).catch((error: unknown) => {
      if (error instanceof NotFound) return error;
      throw error;
    });
    if (agent instanceof NotFound) return agent;
    const status = await this.#catalog.status(ctx, id);
    if (status !== "active") return new AgentNotActive({ agent: id, status });
    return parent.left.depth < 1 ? new DelegationTooDeep({ runId: parent.id, agent: id }) : undefined;
  }

  async #begin(
    ctx: Ctx,
    parent: AgentRun,
    given: {
      readonly runId: `run_${string}`;
      readonly agent: string;
      readonly inputHash: string;
      readonly input?: RunInput;
      readonly conversation?: Conversation;
    },
  ) {
    const { onBehalfOf, connections } = parent.state;
    return beginRun(
      ctx,
      { ...given, agent: await this.#catalog.find(ctx, given.agent), parent, onBehalfOf, connections },
      this.#wanted,
      this.#conversations,
    );
  }
}

/** The signal that tells a run of the end of one that it has delegated to. */
export function delegationSignal(runId: string): string {
  return `delegation.${runId}`;
}

/** The same whenever the call is repeated: it is begun once. */
function delegatedRunId(parent: string, step: number, callId: string): `run_${string}` {
  return `run_${callHash(parent, { step, callId, delegated: true }).slice(0, 40)}`;
}
