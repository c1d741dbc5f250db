import { z } from "zod";
import type { Withholding } from "../../kernel/aggregate.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import { json } from "../../kernel/json.ts";
import {
  WorkflowCanceled,
  WorkflowCompleted,
  WorkflowFailed,
  WorkflowNotFailed,
  WorkflowNotRunning,
  WorkflowRetried,
  WorkflowStarted,
} from "./contract.ts";

const party = z.strictObject({ type: z.enum(["user", "service", "agent", "system"]), id: z.string() });
const outcome = z.strictObject({
  result: json.optional(),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
});
type Outcome = z.infer<typeof outcome>;

const state = z.strictObject({
  workflow: z.string(),
  workflowVersion: z.int(),
  status: z.enum(["running", "completed", "failed", "canceled"]),
  /** Tells a repeated start from another one with the same id. */
  inputHash: z.string(),
  startedAt: z.string(),
  startedBy: party,
  endedAt: z.string().optional(),
  /** The execution that waits for this one. */
  parent: z.string().optional(),
  retryable: z.boolean().optional(),
  ...outcome.shape,
});
export type WorkflowExecutionState = z.infer<typeof state>;

type Event =
  | Withholding<EventOf<typeof WorkflowStarted>, { readonly inputHash: string }>
  | Withholding<EventOf<typeof WorkflowCompleted>, Outcome>
  | Withholding<EventOf<typeof WorkflowFailed>, Outcome & { readonly retryable: boolean }>
  | Withholding<EventOf<typeof WorkflowCanceled>, Outcome>
  | EventOf<typeof WorkflowRetried>;

/** One execution of a workflow, as people ask after it. What it does in detail is in the engine's journal. */
export class WorkflowExecution extends AggregateRoot<WorkflowExecutionState, Event> {
  static readonly definition = defineAggregate("workflow_execution", {
    state,
    events: [WorkflowStarted, WorkflowCompleted, WorkflowFailed, WorkflowCanceled, WorkflowRetried],
    index: ["workflow", "status", "startedAt"],
  });

  static start(
    id: string,
    started: {
      readonly workflow: string;
      readonly workflowVersion: number;
      readonly startedBy: z.infer<typeof party>;
      readonly parent?: string | undefined;
      readonly inputHash: string;
      readonly at: Instant;
    },
  ): WorkflowExecution {
    const execution = new WorkflowExecution(id);
    const { inputHash, ...data } = started;
    execution.raise(WorkflowStarted, { executionId: id, ...data }, { inputHash });
    return execution;
  }

  complete(result: Outcome["result"], at: Instant): void {
    this.raise(WorkflowCompleted, this.#named(at), { result });
  }

  fail(error: NonNullable<Outcome["error"]>, retryable: boolean, at: Instant): void {
    this.raise(WorkflowFailed, { ...this.#named(at), code: error.code }, { error, retryable });
  }

  cancel(error: NonNullable<Outcome["error"]>, at: Instant): void {
    this.raise(WorkflowCanceled, this.#named(at), { error });
  }

  retry(at: Instant): void {
    if (this.state.status !== "failed" || this.state.retryable !== true)
      throw new WorkflowNotFailed({ executionId: this.id, status: this.state.status });
    this.raise(WorkflowRetried, this.#named(at));
  }

  /** Throws unless it is under way. */
  mustRun(): void {
    if (this.state.status !== "running")
      throw new WorkflowNotRunning({ executionId: this.id, status: this.state.status });
  }

  #named(at: Instant) {
    const { workflow, workflowVersion } = this.state;
    return { executionId: this.id, workflow, workflowVersion, at };
  }

  protected override evolve(state: WorkflowExecutionState | undefined, event: Event): WorkflowExecutionState {
    switch (event.type) {
      case "workflow.started": {
        const { workflow, workflowVersion, startedBy, parent, at } = event.data;
        const { inputHash } = event.withheld;
        return { workflow, workflowVersion, startedBy, parent, startedAt: at, inputHash, status: "running" };
      }
      case "workflow.completed":
        return { ...state!, status: "completed", endedAt: event.data.at, result: event.withheld.result };
      case "workflow.failed":
        return { ...state!, status: "failed", endedAt: event.data.at, ...event.withheld };
      case "workflow.canceled":
        return { ...state!, status: "canceled", endedAt: event.data.at, error: event.withheld.error };
      case "workflow.retried":
        return { ...state!, status: "running", endedAt: undefined, error: undefined, retryable: undefined };
    }
  }
}
