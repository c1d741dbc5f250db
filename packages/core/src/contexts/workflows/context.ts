import { createHash } from "node:crypto";
import { toInstant } from "../../kernel/clock.ts";
import { type CommandContext, defineContext } from "../../kernel/context.ts";
import { NotFound } from "../../kernel/errors.ts";
import type { JournalEntry, StoredExecution } from "../../kernel/executions.ts";
import { parse } from "../../kernel/parse.ts";
import { canonicalJson, type Json } from "../../kernel/schema.ts";
import {
  ApprovalApproved,
  ApprovalEdited,
  ApprovalExpired,
  ApprovalRejected,
  approvals,
} from "../approvals/contract.ts";
import {
  WorkflowAlreadyStarted,
  type WorkflowExecutionView,
  WorkflowNotFailed,
  type Workflows,
  workflows,
} from "./contract.ts";
import { approvalSignal, childSignal, SUBJECT, toExecutionDefinition } from "./workflow-carrier.ts";
import type { Workflow } from "./workflow-definition.ts";
import { WorkflowExecution } from "./workflow-execution.ts";

type Ctx = CommandContext<Workflows, never>;

interface Start {
  readonly workflow: string;
  readonly input: Json;
  readonly executionId?: string | undefined;
  readonly version?: number | undefined;
  readonly parent?: string | undefined;
}

/** The context that carries the host's workflows. */
export function workflowsContext(definitions: readonly Workflow[]) {
  const registry = new Registry(definitions);

  const start = async ({ workflow, input: given, version, parent, executionId }: Start, ctx: Ctx) => {
    const definition = registry.find(workflow, version);
    parse(definition.input, given, `The input of the workflow "${workflow}"`);
    const id = executionId ?? ctx.newId("wfx");
    const inputHash = hash(definition.name, version ?? null, given);
    const known = executionId === undefined ? undefined : await ctx.tryLoad(WorkflowExecution, id);
    if (known !== undefined) {
      if (known.state.inputHash !== inputHash || known.state.parent !== parent)
        throw new WorkflowAlreadyStarted({ executionId: id });
      return { executionId: id };
    }
    ctx.add(
      WorkflowExecution.start(id, {
        workflow: definition.name,
        workflowVersion: definition.version,
        startedBy: ctx.principal.actor,
        parent,
        inputHash,
        at: ctx.now,
      }),
    );
    // As it was given: the definition parses it again, and a default may be another one by then.
    ctx.executions.start({ name: definition.name, version: definition.version }, id, given);
    return { executionId: id };
  };

  return defineContext(workflows, {
    dependsOn: [approvals],
    subscriptions: (on) =>
      [ApprovalApproved, ApprovalEdited, ApprovalRejected, ApprovalExpired].map((event) =>
        on(event, { consumer: `workflows.${event.type.replace(".", "-")}` }, async ({ data }, ctx) => {
          if (data.subject.type !== SUBJECT) return;
          const { approvalId, subject } = data;
          // Others may ask for approvals under this name too.
          if ((await ctx.tryLoad(WorkflowExecution, subject.id)) === undefined) return;
          const { status, editedArguments, reason } = await ctx.use(approvals).get({ approvalId });
          ctx.executions.signal(subject.id, approvalSignal(approvalId), {
            status,
            ...(editedArguments === undefined ? {} : { arguments: editedArguments }),
            ...(reason === undefined ? {} : { reason }),
          });
        }),
      ),
    aggregates: [WorkflowExecution],
    executions: definitions.map(toExecutionDefinition),
    handlers: {
      definitions: () => registry.list(),
      start: (input, ctx) => start(input as Start, ctx),
      startChild: (input, ctx) => start(input as Start, ctx),
      startScheduled: async (input, ctx) => {
        // Whoever has set it up may be allowed less by now.
        await ctx.require("workflows:start");
        // The same time of a schedule is the same call, however often it is delivered.
        await start({ ...(input as Start), executionId: `sch-${ctx.callId}` }, ctx);
      },
      get: async ({ executionId }, ctx) => {
        const [execution, running] = await Promise.all([
          ctx.load(WorkflowExecution, executionId),
          ctx.executions.get(executionId),
        ]);
        return { ...registry.viewOf(execution), version: execution.version, ...progressOf(running) };
      },
      list: async ({ workflow, status, limit, after }, ctx) => {
        const { items, next } = await ctx.find(WorkflowExecution, {
          where: { workflow, status },
          orderBy: "startedAt",
          direction: "desc",
          ...{ limit, after },
        });
        return { items: items.map((execution) => registry.viewOf(execution)), next };
      },
      history: async ({ executionId, limit = 50, after }, ctx) => {
        await ctx.load(WorkflowExecution, executionId);
        const { items, next } = await ctx.executions.history(executionId, { limit, after });
        return { items: items.map(entryOf), next };
      },
      signal: async ({ executionId, signal, payload }, ctx) => {
        const execution = await ctx.load(WorkflowExecution, executionId);
        execution.mustRun();
        const { workflow, workflowVersion } = execution.state;
        const { signals } = registry.find(workflow, workflowVersion);
        const schema = Object.hasOwn(signals, signal) ? signals[signal] : undefined;
        if (schema === undefined) throw new NotFound({ type: `signal of the workflow "${workflow}"`, id: signal });
        const value = parse(schema, payload, `The payload of the signal "${signal}"`) as Json | undefined;
        ctx.executions.signal(executionId, signal, value);
      },
      cancel: async ({ executionId, reason }, ctx) => {
        (await ctx.load(WorkflowExecution, executionId)).mustRun();
        ctx.executions.cancel(executionId, reason);
      },
      cancelChild: async ({ executionId }, ctx) => {
        const child = await ctx.tryLoad(WorkflowExecution, executionId);
        if (child?.state.status === "running") ctx.executions.cancel(executionId, "what it was for has ended");
      },
      retry: async ({ executionId }, ctx) => {
        const execution = await ctx.load(WorkflowExecution, executionId);
        // What has ended long ago is known by name only.
        if ((await ctx.executions.get(executionId))?.status !== "failed")
          throw new WorkflowNotFailed({ executionId, status: execution.state.status });
        execution.retry(ctx.now);
        ctx.executions.retry(executionId);
      },
      schedule: ({ key, workflow, input, recurrence }, ctx) => {
        const definition = registry.find(workflow, undefined);
        parse(definition.input, input, `The input of the workflow "${workflow}"`);
        ctx.schedule(key, workflows, "startScheduled", { workflow, input }, recurrence);
      },
      unschedule: ({ key }, ctx) => ctx.unschedule(key),
      ended: async ({ executionId, status, result, error, retryable = false }, ctx) => {
        const execution = await ctx.load(WorkflowExecution, executionId);
        const cause = { code: error?.code ?? "internal", message: error?.message ?? "" };
        if (status === "completed") execution.complete(result, ctx.now);
        else if (status === "failed") execution.fail(cause, retryable, ctx.now);
        else execution.cancel(cause, ctx.now);
        const { parent } = execution.state;
        if (parent === undefined) return;
        const told = status === "completed" ? { status, result: result ?? null } : { status, error: cause };
        ctx.executions.signal(parent, childSignal(executionId), told);
      },
    },
  });
}

/** The definitions by name and version. */
class Registry {
  readonly #byName = new Map<string, Workflow[]>();

  constructor(definitions: readonly Workflow[]) {
    for (const definition of definitions) {
      const versions = this.#byName.get(definition.name) ?? [];
      versions.push(definition);
      this.#byName.set(
        definition.name,
        versions.sort((a, b) => b.version - a.version),
      );
    }
  }

  /** The newest, or the given one. Throws `NotFound`. */
  find(name: string, version: number | undefined): Workflow {
    const versions = this.#byName.get(name) ?? [];
    const found = version === undefined ? versions[0] : versions.find((each) => each.version === version);
    if (found === undefined)
      throw new NotFound({ type: "workflow", id: version === undefined ? name : `${name}@${version}` });
    return found;
  }

  viewOf({ id, state }: WorkflowExecution): WorkflowExecutionView {
    const { workflow, workflowVersion, status, startedAt, startedBy, endedAt, parent, result, error } = state;
    const isServed = this.#byName.get(workflow)?.some(({ version }) => version === workflowVersion) === true;
    return {
      ...{ executionId: id, workflow, workflowVersion, status, startedAt, startedBy, endedAt, parent, result, error },
      ...(status === "running" && !isServed ? { unserved: true } : {}),
    };
  }

  list() {
    return [...this.#byName].map(([workflow, versions]) => ({
      workflow,
      versions: versions.map(({ version }) => version),
      summary: versions[0]!.summary,
      signals: Object.keys(versions[0]!.signals),
    }));
  }
}

function hash(...parts: readonly Json[]): string {
  return createHash("sha256").update(canonicalJson(parts)).digest("base64url");
}

function progressOf(running: StoredExecution | undefined) {
  const pending = Object.values(running?.attempts ?? {}).map(({ name, attempts, nextAt, error }) => ({
    activity: name,
    attempts,
    nextAttemptAt: nextAt > 0 ? toInstant(nextAt) : undefined,
    error: error === undefined ? undefined : { code: error.code, message: error.message },
  }));
  return { pending, dueAt: running?.dueAt === undefined || running.dueAt <= 0 ? undefined : toInstant(running.dueAt) };
}

function entryOf({ position, kind, name, at, attempts, outcome }: JournalEntry) {
  const error = outcome.type === "error" ? { code: outcome.error.code, message: outcome.error.message } : undefined;
  return { position, kind, name: name.replace(/^\$/, ""), at: toInstant(at), attempts, error };
}
