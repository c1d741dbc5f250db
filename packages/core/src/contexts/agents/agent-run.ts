import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { ModelUsage } from "../../kernel/model-turn.ts";
import {
  AgentExecuted,
  AgentRunCanceled,
  AgentRunFailed,
  AgentRunNotUnderWay,
  AgentRunStarted,
  AgentRunSuspended,
  AgentStepTaken,
  AgentToolsRun,
  connectionsOfRun,
  party,
  runStatus,
  runUsage,
} from "./contract.ts";

const openCall = z.strictObject({ id: z.string(), name: z.string() });
const limits = z.strictObject({
  steps: z.int(),
  tokens: z.int(),
  nanos: z.int().optional(),
});
const state = z.strictObject({
  agent: z.string(),
  agentVersion: z.int(),
  conversationId: z.string(),
  status: runStatus,
  onBehalfOf: party,
  inputHash: z.string(),
  startedAt: z.string(),
  endedAt: z.string().optional(),
  usage: runUsage,
  limits,
  connections: connectionsOfRun,
  /** Messages that it has added to its conversation. */
  messages: z.int(),
  /** Tool calls of its last step that have no result yet. */
  openCalls: z.array(openCall),
  approvals: z.array(z.string()),
  /** Tokens of its last model call: about as many as the next one reads. */
  contextTokens: z.int(),
  text: z.string().optional(),
  output: z.json().optional(),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
});
export type AgentRunState = z.infer<typeof state>;

type Started = Withholding<
  EventOf<typeof AgentRunStarted>,
  Pick<AgentRunState, "inputHash" | "limits" | "connections"> & { readonly messages: number }
>;
type StepTaken = Withholding<EventOf<typeof AgentStepTaken>, { readonly openCalls: AgentRunState["openCalls"] }>;
type Executed = Withholding<EventOf<typeof AgentExecuted>, Pick<AgentRunState, "text" | "output">>;
type Failed = Withholding<EventOf<typeof AgentRunFailed>, { readonly message: string }>;
type Event =
  | Started
  | StepTaken
  | EventOf<typeof AgentToolsRun>
  | EventOf<typeof AgentRunSuspended>
  | Executed
  | Failed
  | EventOf<typeof AgentRunCanceled>;

const NOTHING = {
  ...{ steps: 0, toolCalls: 0, inputTokens: 0, outputTokens: 0, nanos: 0, stepsWithoutCost: 0 },
} satisfies AgentRunState["usage"];

/** One piece of work of an agent for somebody, as people ask after it. What carries it is a durable execution. */
export class AgentRun extends AggregateRoot<AgentRunState, Event> {
  static readonly definition = defineAggregate("agent_run", {
    state,
    events: [
      AgentRunStarted,
      AgentStepTaken,
      AgentToolsRun,
      AgentRunSuspended,
      AgentExecuted,
      AgentRunFailed,
      AgentRunCanceled,
    ],
    index: ["agent", "status", "conversationId", "startedAt"],
  });

  static start(
    id: `run_${string}`,
    started: Pick<AgentRunState, "agent" | "agentVersion" | "onBehalfOf" | "inputHash" | "limits" | "connections"> & {
      readonly conversationId: `cnv_${string}`;
    },
    at: Instant,
  ): AgentRun {
    const run = new AgentRun(id);
    const { inputHash, limits: allowed, connections, ...data } = started;
    run.raise(AgentRunStarted, { runId: id, ...data, at }, { inputHash, limits: allowed, connections, messages: 1 });
    return run;
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

  toolsRun(
    step: number,
    tools: readonly { readonly name: string; readonly outcome: "ok" | "error" }[],
    at: Instant,
  ): void {
    this.raise(AgentToolsRun, { ...this.#about, step, tools: [...tools], at });
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
    const { status } = this.state;
    if (status !== "running" && status !== "suspended") throw new AgentRunNotUnderWay({ runId: this.id, status });
  }

  /** Which of its own limits the next step would go beyond. */
  get limitReached(): string | undefined {
    const { usage, limits: allowed } = this.state;
    if (usage.steps >= allowed.steps) return "steps";
    if (usage.inputTokens + usage.outputTokens >= allowed.tokens) return "tokens";
    if (allowed.nanos !== undefined && usage.nanos >= allowed.nanos) return "cost";
    return undefined;
  }

  protected override evolve(state: AgentRunState | undefined, event: Event): AgentRunState {
    switch (event.type) {
      case "agent.run_started": {
        const { agent, agentVersion, conversationId, onBehalfOf, at } = event.data;
        return {
          ...{ agent, agentVersion, conversationId, onBehalfOf, startedAt: at, status: "running" },
          ...{ usage: NOTHING, openCalls: [], approvals: [], contextTokens: 0, ...event.withheld },
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
      case "agent.run_suspended":
        return { ...state!, status: "suspended", approvals: [...event.data.approvals] };
      case "agent.tools_run":
        return { ...state!, status: "running", approvals: [], openCalls: [], messages: state!.messages + 1 };
      case "agent.executed":
        return { ...state!, status: "completed", endedAt: event.data.at, ...event.withheld };
      case "agent.run_failed": {
        const error = { code: event.data.code, message: event.withheld.message };
        return { ...state!, status: "failed", endedAt: event.data.at, error, approvals: [] };
      }
      case "agent.run_canceled":
        return { ...state!, status: "canceled", endedAt: event.data.at, approvals: [] };
    }
  }
}
