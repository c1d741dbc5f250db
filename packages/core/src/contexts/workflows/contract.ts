import { z } from "zod";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent } from "../../kernel/event.ts";
import { json } from "../../kernel/json.ts";
import { pageOf, paging } from "../../kernel/paging.ts";

const executionId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:~-]{0,199}$/,
    "must be 1 to 200 letters, digits and . _ : ~ -, and start with a letter or digit",
  );
const workflowName = z.string().min(1).max(63);
const signalName = z.string().min(1).max(100);
const instant = z.iso.datetime();
const status = z.enum(["running", "completed", "failed", "canceled"]);
const party = z.strictObject({ type: z.enum(["user", "service", "agent", "system"]), id: z.string() });
const cause = z.strictObject({ code: z.string(), message: z.string() });

const named = { executionId, workflow: z.string(), workflowVersion: z.int(), at: instant };

/** A workflow has begun. */
export const WorkflowStarted = defineEvent("workflow.started", {
  version: 1,
  data: z.strictObject({ ...named, startedBy: party, parent: executionId.optional() }),
});
/** A workflow has come to its end. Its result is read with `get`. */
export const WorkflowCompleted = defineEvent("workflow.completed", { version: 1, data: z.strictObject(named) });
/** A workflow has failed, and what it had done was undone as far as it says how. */
export const WorkflowFailed = defineEvent("workflow.failed", {
  version: 1,
  data: z.strictObject({ ...named, code: z.string() }),
});
/** A workflow was canceled, and what it had done was undone. */
export const WorkflowCanceled = defineEvent("workflow.canceled", { version: 1, data: z.strictObject(named) });
/** A workflow that had failed goes on. */
export const WorkflowRetried = defineEvent("workflow.retried", { version: 1, data: z.strictObject(named) });

/** An execution with this id was started before, of another workflow or with another input. */
export class WorkflowAlreadyStarted extends defineError("workflow.already_started", {
  kind: "conflict",
  details: z.object({ executionId: z.string() }),
  message: ({ executionId: id }) =>
    `The execution "${id}" was started before, of another workflow or with another input.`,
}) {}

/** The execution has ended. */
export class WorkflowNotRunning extends defineError("workflow.not_running", {
  kind: "precondition",
  details: z.object({ executionId: z.string(), status: z.string() }),
  message: ({ executionId: id, status: now }) => `The execution "${id}" is not under way: it is ${now}.`,
}) {}

/** Only what has failed and was not undone can be gone on with. */
export class WorkflowNotFailed extends defineError("workflow.not_failed", {
  kind: "precondition",
  details: z.object({ executionId: z.string(), status: z.string() }),
  message: ({ executionId: id, status: now }) =>
    now === "failed"
      ? `The execution "${id}" cannot be gone on with: what it had done was undone.`
      : `The execution "${id}" has not failed: it is ${now}.`,
}) {}

/** A workflow that another one waits for has failed or was canceled. */
export class ChildFailed extends defineError("workflow.child_failed", {
  kind: "precondition",
  details: z.object({ executionId: z.string(), code: z.string(), message: z.string() }),
  message: ({ executionId: id, message }) => `The execution "${id}" did not complete: ${message}`,
}) {}

const executionView = z.object({
  executionId,
  workflow: z.string(),
  workflowVersion: z.int(),
  status,
  startedAt: instant,
  startedBy: party,
  endedAt: instant.optional(),
  /** The execution that waits for this one. */
  parent: executionId.optional(),
  /** What it came to, once it has completed. */
  result: json.optional(),
  /** Why it has failed, or was canceled. */
  error: cause.optional(),
  /** It runs, and this application has no code of its version: until it has, nothing happens to it, a cancel neither. */
  unserved: z.literal(true).optional(),
});
export type WorkflowExecutionView = z.infer<typeof executionView>;

const running = z.object({
  /** The activity, by its name. */
  activity: z.string(),
  /** How often it has failed so far. */
  attempts: z.int(),
  nextAttemptAt: instant.optional(),
  error: cause.optional(),
});

const entry = z.object({
  /** Which of the workflow's requests it answers; -1 when it was canceled. */
  position: z.int(),
  kind: z.enum(["activity", "compensation", "sleep", "signal", "cancel"]),
  name: z.string(),
  at: instant,
  attempts: z.int().optional(),
  /** Set when it failed. */
  error: cause.optional(),
});

const start = z.strictObject({
  workflow: workflowName,
  /** The workflow's input, as it declares it. */
  input: json,
  /** Its name in the tenant: starting it twice with the same input starts it once. Made when absent. */
  executionId: executionId.optional(),
  /** Of the definition. Default: the highest. */
  version: z.int().min(1).optional(),
});

/** What becomes of times that are missed: one start for all, one for each of the last day, or none. */
const catchUp = z.enum(["once", "all", "none"]).optional();
const recurrence = z.union([
  z.strictObject({ cron: z.string().min(1).max(200), timeZone: z.string().min(1).max(100).optional(), catchUp }),
  z.strictObject({ everyMs: z.int().min(1_000), catchUp }),
]);
const scheduleKey = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:~-]{0,149}$/,
    "must be 1 to 150 letters, digits and . _ : ~ -, and start with a letter or digit",
  );

const contract = defineContract(
  "workflows",
  {
    definitions: query({
      input: z.strictObject({}),
      output: z.array(
        z.object({
          workflow: z.string(),
          versions: z.array(z.int()),
          summary: z.string().optional(),
          signals: z.array(z.string()),
        }),
      ),
      permission: "workflows:read",
      http: "GET /workflow-definitions",
      summary: "Lists the workflows that can be started.",
    }),
    start: command({
      input: start,
      output: z.object({ executionId }),
      permission: "workflows:start",
      http: "POST /workflows/{workflow}/executions",
      errors: [WorkflowAlreadyStarted],
      summary: "Starts a workflow as the caller. With an id, once.",
    }),
    get: query({
      input: z.strictObject({ executionId }),
      output: executionView.extend({ version: z.int(), pending: z.array(running), dueAt: instant.optional() }),
      permission: "workflows:read",
      http: "GET /workflow-executions/{executionId}",
      summary: "Shows an execution: how far it is, or how it ended.",
    }),
    list: query({
      input: z.strictObject({ ...paging, workflow: workflowName.optional(), status: status.optional() }),
      output: pageOf(executionView),
      permission: "workflows:read",
      http: "GET /workflow-executions",
      summary: "Lists executions, the newest first.",
    }),
    history: query({
      input: z.strictObject({ ...paging, executionId }),
      output: pageOf(entry),
      permission: "workflows:read",
      http: "GET /workflow-executions/{executionId}/history",
      summary: "Shows what has happened to an execution, in its order, without arguments and results.",
    }),
    signal: command({
      input: z.strictObject({ executionId, signal: signalName, payload: json.optional() }),
      permission: "workflows:signal",
      http: "POST /workflow-executions/{executionId}/signals/{signal}",
      errors: [WorkflowNotRunning],
      summary: "Tells an execution something that it waits for, or will. The first signal of a name counts.",
    }),
    cancel: command({
      input: z.strictObject({ executionId, reason: z.string().min(1).max(1_000) }),
      permission: "workflows:cancel",
      http: "POST /workflow-executions/{executionId}/cancel",
      errors: [WorkflowNotRunning],
      summary: "Asks an execution to end. What it has done is undone as far as its workflow says how.",
    }),
    retry: command({
      input: z.strictObject({ executionId }),
      permission: "workflows:start",
      http: "POST /workflow-executions/{executionId}/retry",
      errors: [WorkflowNotFailed],
      summary: "Has an execution that failed go on from before what made it fail.",
    }),
    schedule: command({
      input: z.strictObject({ key: scheduleKey, workflow: workflowName, input: json, recurrence }),
      permission: "workflows:schedule",
      http: "PUT /workflow-schedules/{key}",
      summary:
        "Starts a workflow again and again, as the caller. Times that pass while nothing runs come once, unless `catchUp` says otherwise.",
    }),
    unschedule: command({
      input: z.strictObject({ key: scheduleKey }),
      permission: "workflows:schedule",
      http: "DELETE /workflow-schedules/{key}",
      summary: "Calls a schedule off. What it has started goes on.",
    }),
    startScheduled: command({
      input: z.strictObject({ workflow: workflowName, input: json }),
      permission: "internal",
      summary: "One time of a schedule.",
    }),
    startChild: command({
      input: start.extend({ executionId, parent: executionId }),
      output: z.object({ executionId }),
      permission: "internal",
      errors: [WorkflowAlreadyStarted],
      summary: "Starts a workflow for another one.",
    }),
    cancelChild: command({
      input: z.strictObject({ executionId }),
      permission: "internal",
      summary: "Cancels a workflow whose parent has failed or was canceled.",
    }),
    ended: command({
      input: z.strictObject({
        executionId,
        status: z.enum(["completed", "failed", "canceled"]),
        result: json.optional(),
        error: z.object({ code: z.string(), message: z.string() }).optional(),
        retryable: z.boolean().optional(),
      }),
      permission: "internal",
      summary: "Hears how an execution ended.",
    }),
  },
  { events: [WorkflowStarted, WorkflowCompleted, WorkflowFailed, WorkflowCanceled, WorkflowRetried] },
);

/** Starts, steers and shows durable executions of the host's workflows. */
export interface Workflows extends Readonly<typeof contract> {}
export const workflows: Workflows = contract;
