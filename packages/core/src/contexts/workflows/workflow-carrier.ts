import { createHash } from "node:crypto";
import { z } from "zod";
import { callHash } from "../../kernel/call-hash.ts";
import { toInstant } from "../../kernel/clock.ts";
import type { Activity, ActivityContext, ExecutionContext, ExecutionDefinition } from "../../kernel/execution.ts";
import { json } from "../../kernel/json.ts";
import { parse } from "../../kernel/parse.ts";
import { type Json, type JsonObject, jsonSchema } from "../../kernel/schema.ts";
import { ApprovalAlreadyDecided, approvals } from "../approvals/contract.ts";
import { ChildFailed } from "./contract.ts";
import type { CallToApprove, ChildEnd, Workflow, WorkflowContext } from "./workflow-definition.ts";

const START_CHILD = "$child";
const CANCEL_CHILD = "$cancel-child";
const REQUEST_APPROVAL = "$approval";
const EXPIRE_APPROVAL = "$expire-approval";
const LONGEST_ID = 200;
/** What waits is an execution of a workflow. */
export const SUBJECT = "workflows.execution";

/** The activities that every workflow has beside its own. */
const own: Readonly<Record<string, Activity>> = {
  [START_CHILD]: { operation: "workflows.startChild" },
  [CANCEL_CHILD]: { operation: "workflows.cancelChild" },
  [REQUEST_APPROVAL]: { operation: "approvals.request", system: true },
  [EXPIRE_APPROVAL]: { system: true, run: expireApproval },
};

// One that was decided on needs no end.
async function expireApproval({ approvalId }: { readonly approvalId: `apr_${string}` }, ctx: ActivityContext) {
  try {
    await ctx.use(approvals).expire({ approvalId });
  } catch (error) {
    if (!(error instanceof ApprovalAlreadyDecided)) throw error;
  }
}

/** The signal that tells an execution what was decided. */
export function approvalSignal(approvalId: string): string {
  return `$approval.${approvalId}`;
}

/** The signal that tells a parent of its child's end. */
export function childSignal(childId: string): string {
  return `$child.${createHash("sha256").update(childId).digest("hex").slice(0, 32)}`;
}

/** A workflow as the engine runs it. */
export function toExecutionDefinition(workflow: Workflow): ExecutionDefinition {
  const { name, version, input, output, activities, concurrency, concurrencyPerTenant } = workflow;
  return {
    ...{ name, version, concurrency, concurrencyPerTenant },
    activities: { ...activities, ...own },
    ended: "ended",
    run: async (ctx, given) => {
      const args = parse(input, given, `The input of the workflow "${name}"`);
      const result = await workflow.run(contextOf(ctx), args);
      return (output === undefined ? result : parse(output, result, `The result of the workflow "${name}"`)) as Json;
    },
  };
}

function contextOf(ctx: ExecutionContext): WorkflowContext {
  const { executionId, tenant, principal } = ctx;
  let children = 0;
  let approved = 0;
  return {
    ...{ executionId, tenant, principal },
    activity: ((name: string, args: Json, options?: object) => ctx.activity(name, args, options)) as never,
    sleep: (duration) =>
      ctx.sleep("ms" in duration ? duration.ms : Math.max(0, Date.parse(duration.until) - ctx.now())),
    waitForSignal: ((name: string, options?: { readonly timeoutMs?: number }) =>
      ctx.waitForSignal(name, options)) as never,
    child: async (workflow, input, { id } = {}) => {
      children += 1;
      const childId = id ?? idOfChild(executionId, children);
      const { name, version } = workflow;
      const asked = { workflow: name, version, input: input as Json, executionId: childId, parent: executionId };
      await ctx.activity(START_CHILD, asked, {
        compensate: () => ({ activity: CANCEL_CHILD, args: { executionId: childId } }),
      });
      const end = (await ctx.waitForSignal(childSignal(childId))) as unknown as ChildEnd;
      if (end.status === "completed") return end.result as never;
      const { code, message } = end.error ?? { code: "internal", message: "" };
      throw new ChildFailed({ executionId: childId, code, message });
    },
    approval: async (call) => {
      approved += 1;
      const approvalId = `apr_${callHash(executionId, { number: approved }).slice(0, 40)}` as const;
      await ctx.activity(REQUEST_APPROVAL, toRequest(call, approvalId, executionId, ctx.now()), {
        compensate: () => ({ activity: EXPIRE_APPROVAL, args: { approvalId } }),
      });
      const { status, reason, ...told } = verdict.parse(await ctx.waitForSignal(approvalSignal(approvalId)));
      if (status === "rejected") return { status, reason };
      if (status === "expired") return { status };
      return { status, arguments: (told.arguments ?? call.arguments) as JsonObject };
    },
    now: () => toInstant(ctx.now()),
    uuid: () => ctx.uuid(),
  };
}

const WEEK_MS = 604_800_000;

function toRequest(call: CallToApprove, approvalId: string, executionId: string, now: number): JsonObject {
  const { input, title, permission, risk = "write", fourEyes = false, expiresInMs = WEEK_MS } = call;
  return {
    ...{ approvalId, subject: { type: SUBJECT, id: executionId }, action: call.action, arguments: call.arguments },
    ...{ risk, fourEyes, expiresAt: toInstant(now + expiresInMs) },
    ...(input === undefined ? {} : { inputSchema: jsonSchema(input, "input") }),
    ...(title === undefined ? {} : { title }),
    ...(permission === undefined ? {} : { permission }),
  };
}

const verdict = z.object({
  status: z.enum(["approved", "edited", "rejected", "expired"]),
  arguments: z.record(z.string(), json).optional(),
  reason: z.string().optional(),
});

// Children of children of children: the name stays within what an id may be.
function idOfChild(parent: string, number: number): string {
  const id = `${parent}.${number}`;
  if (id.length <= LONGEST_ID) return id;
  return `wfx_${createHash("sha256").update(id).digest("hex").slice(0, 40)}`;
}
