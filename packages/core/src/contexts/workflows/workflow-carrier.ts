import { createHash } from "node:crypto";
import { toInstant } from "../../kernel/clock.ts";
import type { Activity, ExecutionContext, ExecutionDefinition } from "../../kernel/execution.ts";
import { parse } from "../../kernel/parse.ts";
import type { Json } from "../../kernel/schema.ts";
import { ChildFailed } from "./contract.ts";
import type { ChildEnd, Workflow, WorkflowContext } from "./workflow-definition.ts";

const START_CHILD = "$child";
const CANCEL_CHILD = "$cancel-child";
const LONGEST_ID = 200;

/** The activities that every workflow has beside its own. */
const own: Readonly<Record<string, Activity>> = {
  [START_CHILD]: { operation: "workflows.startChild" },
  [CANCEL_CHILD]: { operation: "workflows.cancelChild" },
};

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
    now: () => toInstant(ctx.now()),
    uuid: () => ctx.uuid(),
  };
}

// Children of children of children: the name stays within what an id may be.
function idOfChild(parent: string, number: number): string {
  const id = `${parent}.${number}`;
  if (id.length <= LONGEST_ID) return id;
  return `wfx_${createHash("sha256").update(id).digest("hex").slice(0, 40)}`;
}
