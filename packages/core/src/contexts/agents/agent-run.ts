import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { ModelUsage } from "../../kernel/model-turn.ts";
import { type AgentRunState, agentRunState, highest, sumOf, UNUSED } from "./agent-run-state.ts";
import {
  AgentDelegationEnded,
  AgentExecuted,
  AgentProgressed,
  AgentRunCanceled,
  AgentRunDelegated,
  AgentRunFailed,
  AgentRunNotUnderWay,
  AgentRunResumed,
  AgentRunStarted,
  AgentRunSuspended,
  AgentStepTaken,
  AgentToolsRun,
  type RemoteUsage,
} from "./contract.ts";

type Started = Withholding<
  EventOf<typeof AgentRunStarted>,
  Pick<AgentRunState, "inputHash" | "limits" | "connections" | "lineage" | "order" | "messages" | "remoteCursor">
>;
type StepTaken = Withholding<EventOf<typeof AgentStepTaken>, { readonly openCalls: AgentRunState["openCalls"] }>;
type Progressed = Withholding<EventOf<typeof AgentProgressed>, { readonly remoteCursor: number }>;
type Executed = Withholding<EventOf<typeof AgentExecuted>, Pick<AgentRunState, "text" | "output">>;
type Failed = Withholding<EventOf<typeof AgentRunFailed>, { readonly message: string }>;
type Event =
  | Started
  | StepTaken
  | Progressed
  | EventOf<typeof AgentToolsRun>
  | EventOf<typeof AgentRunSuspended>
  | EventOf<typeof AgentRunResumed>
  | EventOf<typeof AgentRunDelegated>
  | EventOf<typeof AgentDelegationEnded>
  | Executed
  | Failed
  | EventOf<typeof AgentRunCanceled>;

/**
 * Where a message of a run stands in the conversation, from where the run does: a run's messages stand together, however
 * long it waits.
 */
export function placeOf(order: string, number: number): string {
  return `${order} ${String(number).padStart(6, "0")}`;
}

/** One piece of work of an agent for somebody, as people ask after it. What carries it is a durable execution. */
export class AgentRun extends AggregateRoot<AgentRunState, Event> {
  static readonly definition = defineAggregate("agent_run", {
    state: agentRunState,
    events: [
      AgentRunStarted,
      AgentStepTaken,
      AgentToolsRun,
      AgentProgressed,
      AgentRunSuspended,
      AgentRunResumed,
      AgentRunDelegated,
      AgentDelegationEnded,
      AgentExecuted,
      AgentRunFailed,
      AgentRunCanceled,
    ],
    index: ["agent", "status", "conversationId", "parent", "startedAt"],
  });

  static start(
    id: `run_${string}`,
    started: Pick<
      AgentRunState,
      "agent" | "agentVersion" | "onBehalfOf" | "inputHash" | "limits" | "connections" | "remoteCursor"
    > & {
      readonly conversationId: `cnv_${string}`;
      readonly parent?: AgentRun | undefined;
      /** Whether it goes on in its parent's conversation. */
      readonly handoff?: boolean;
    },
    at: Instant,
  ): AgentRun {
    const run = new AgentRun(id);
    const { inputHash, limits: allowed, connections, remoteCursor, parent, handoff = false, ...data } = started;
    const before = parent?.state;
    const lineage = before === undefined ? [] : [...before.lineage, { runId: parent!.id, agent: before.agent }];
    // Behind all that its parent has said there, whatever else is said in between.
    const order = handoff ? placeOf(before!.order, before!.messages) : `${at} ${id}`;
    run.raise(
      AgentRunStarted,
      { runId: id, ...data, parent: parent?.id as `run_${string}` | undefined, at },
      { inputHash, limits: allowed, connections, lineage, order, remoteCursor, messages: handoff ? 0 : 1 },
    );
    return run;
  }

  /** Itself, and those before it that have handed the conversation over: who follows them follows it. */
  get sharedWith(): readonly string[] {
    const { order, lineage } = this.state;
    return order.endsWith(` ${this.id}`) ? [this.id] : [this.id, ...lineage.map(({ runId }) => runId)];
  }

  get #about() {
    const { agent, agentVersion, conversationId } = this.state;
    return {
      ...{ runId: this.id as `run_${string}`, agent, agentVersion },
      conversationId: conversationId as `cnv_${string}`,
    };
  }

  /** A model has answered. */
  step(
    answer: {
      readonly step: number;
      readonly model: string;
      readonly usage: ModelUsage;
      readonly cost: { readonly nanos: number; readonly currency: string } | undefined;
      readonly calls: AgentRunState["openCalls"];
    },
    at: Instant,
  ): void {
    this.mustBeUnderWay();
    const { step, model, usage, cost, calls } = answer;
    this.raise(
      AgentStepTaken,
      {
        ...this.#about,
        ...{ step, model, at, nanos: cost?.nanos, currency: cost?.currency },
        inputTokens: usage.inputTokens ?? 0,
        outputTokens: usage.outputTokens ?? 0,
        tools: calls.map(({ name }) => name),
      },
      { openCalls: calls },
    );
  }

  suspend(approvals: readonly string[], at: Instant): void {
    this.raise(AgentRunSuspended, { ...this.#about, approvals: approvals as `apr_${string}`[], at });
  }

  /** A run that it has delegated to waits, or one that this one has delegated to. */
  suspendFor(waitingRun: string, approvals: readonly string[], at: Instant): void {
    if (this.#isUnderWay)
      this.raise(AgentRunSuspended, {
        ...this.#about,
        ...{ waitingRun: waitingRun as `run_${string}`, approvals: approvals as `apr_${string}`[], at },
      });
  }

  /** That one waits no longer. */
  resumeFor(waitingRun: string, at: Instant): void {
    if (this.#isUnderWay && this.state.nested.some(({ runId }) => runId === waitingRun))
      this.raise(AgentRunResumed, { ...this.#about, waitingRun: waitingRun as `run_${string}`, at });
  }

  delegate(run: AgentRun, handoff: boolean, at: Instant): void {
    this.raise(AgentRunDelegated, {
      ...this.#about,
      ...{ delegatedRun: run.id as `run_${string}`, delegatedAgent: run.state.agent, handoff, at },
    });
  }

  delegationEnded({ id, state: { status, usage, delegatedUsage } }: AgentRun, at: Instant): void {
    if (!this.#isUnderWay) return;
    const delegatedRun = id as `run_${string}`;
    this.raise(AgentDelegationEnded, {
      ...this.#about,
      ...{ delegatedRun, status, usage: sumOf(usage, delegatedUsage), at },
    });
  }

  toolsRun(
    step: number,
    tools: readonly { readonly name: string; readonly outcome: "ok" | "error" }[],
    at: Instant,
  ): void {
    this.raise(AgentToolsRun, { ...this.#about, step, tools: [...tools], at });
  }

  /** A remote agent has told something: what it has used in all, or so many messages. */
  progress(
    told: { readonly cursor: number; readonly usage: RemoteUsage | undefined; readonly messages: number },
    at: Instant,
  ): void {
    const usage = told.usage === undefined ? this.state.usage : highest(this.state.usage, told.usage);
    const { messages, cursor } = told;
    this.raise(AgentProgressed, { ...this.#about, usage, messages, at }, { remoteCursor: cursor });
  }

  complete(result: Pick<AgentRunState, "text" | "output">, at: Instant): void {
    this.raise(AgentExecuted, { ...this.#about, usage: this.state.usage, at }, result);
  }

  fail({ code, message }: NonNullable<AgentRunState["error"]>, at: Instant): void {
    this.raise(AgentRunFailed, { ...this.#about, usage: this.state.usage, code, at }, { message });
  }

  cancel(at: Instant): void {
    this.raise(AgentRunCanceled, { ...this.#about, usage: this.state.usage, at });
  }

  mustBeUnderWay(): void {
    if (!this.#isUnderWay) throw new AgentRunNotUnderWay({ runId: this.id, status: this.state.status });
  }

  get #isUnderWay(): boolean {
    return this.state.status === "running" || this.state.status === "suspended";
  }

  /** Whose budgets it counts against: its own agent's, and those of agents that have delegated to it. */
  get agents(): readonly string[] {
    return [...new Set([...this.state.lineage.map(({ agent }) => agent), this.state.agent])];
  }

  /** What is left of its limits for what it delegates. */
  get left(): Pick<AgentRunState["limits"], "tokens" | "nanos" | "depth"> {
    const { usage, delegatedUsage, limits: allowed } = this.state;
    const used = sumOf(usage, delegatedUsage);
    return {
      tokens: allowed.tokens - used.inputTokens - used.outputTokens,
      ...(allowed.nanos === undefined ? {} : { nanos: allowed.nanos - used.nanos }),
      depth: allowed.depth,
    };
  }

  /** Which of its own limits the next step would go beyond. */
  get limitReached(): string | undefined {
    const { tokens, nanos = 1 } = this.left;
    if (this.state.usage.steps >= this.state.limits.steps) return "steps";
    if (tokens <= 0) return "tokens";
    return nanos <= 0 ? "cost" : undefined;
  }

  protected override evolve(state: AgentRunState | undefined, event: Event): AgentRunState {
    switch (event.type) {
      case "agent.run_started": {
        const { agent, agentVersion, conversationId, onBehalfOf, at } = event.data;
        return {
          ...{ agent, agentVersion, conversationId, onBehalfOf, startedAt: at, status: "running" },
          ...{ usage: UNUSED, delegatedUsage: UNUSED, parent: event.data.parent, nested: [], delegated: [] },
          ...{ openCalls: [], approvals: [], contextTokens: 0, ...event.withheld },
        };
      }
      case "agent.step_taken": {
        const { usage, messages } = state!;
        const { inputTokens, outputTokens, nanos, currency } = event.data;
        return {
          ...state!,
          messages: messages + 1,
          openCalls: event.withheld.openCalls,
          contextTokens: inputTokens + outputTokens,
          usage: {
            steps: usage.steps + 1,
            toolCalls: usage.toolCalls + event.withheld.openCalls.length,
            inputTokens: usage.inputTokens + inputTokens,
            outputTokens: usage.outputTokens + outputTokens,
            nanos: usage.nanos + (nanos ?? 0),
            currency: currency ?? usage.currency,
            stepsWithoutCost: usage.stepsWithoutCost + (nanos === undefined ? 1 : 0),
          },
        };
      }
      case "agent.progressed": {
        const { usage, messages } = event.data;
        return { ...state!, usage, messages: state!.messages + messages, ...event.withheld };
      }
      case "agent.run_suspended": {
        const { approvals, waitingRun } = event.data;
        if (waitingRun === undefined) return { ...state!, status: "suspended", approvals: [...approvals] };
        const nested = [...state!.nested, ...approvals.map((approvalId) => ({ approvalId, runId: waitingRun }))];
        return { ...state!, status: "suspended", nested };
      }
      case "agent.run_resumed": {
        const nested = state!.nested.filter(({ runId }) => runId !== event.data.waitingRun);
        const waits = nested.length > 0 || state!.approvals.length > 0;
        return { ...state!, status: waits ? "suspended" : "running", nested };
      }
      case "agent.run_delegated":
        return { ...state!, delegated: [...state!.delegated, event.data.delegatedRun] };
      case "agent.delegation_ended": {
        const { delegatedRun, usage } = event.data;
        const delegated = state!.delegated.filter((each) => each !== delegatedRun);
        return { ...state!, delegated, delegatedUsage: sumOf(state!.delegatedUsage, usage) };
      }
      case "agent.tools_run":
        return { ...state!, status: "running", approvals: [], openCalls: [], messages: state!.messages + 1 };
      case "agent.executed":
        return { ...state!, status: "completed", endedAt: event.data.at, ...event.withheld };
      case "agent.run_failed": {
        const error = { code: event.data.code, message: event.withheld.message };
        return { ...state!, status: "failed", endedAt: event.data.at, error, approvals: [], nested: [] };
      }
      case "agent.run_canceled":
        return { ...state!, status: "canceled", endedAt: event.data.at, approvals: [], nested: [] };
    }
  }
}
