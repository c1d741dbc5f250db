import type { z } from "zod";
import type { ToolResultPart } from "../../kernel/model-messages.ts";
import type { AgentRun } from "./agent-run.ts";
import type { Ctx } from "./begin-run.ts";
import { used } from "./budgets.ts";
import { ConversationSummary } from "./compaction.ts";
import type { stepAnswer } from "./contract.ts";
import { Message } from "./conversation.ts";

type StepAnswer = z.infer<typeof stepAnswer>;

/**
 * A run's model has answered: that is written down, and before it what tools came to.
 *
 * @returns the calls that it makes
 */
export async function recordAnswer(ctx: Ctx, run: AgentRun, given: StepAnswer) {
  const { step, content, summary, results, ...answer } = given;
  if (results !== undefined) toolsRun(run, step - 1, results, ctx);
  const calls = content.flatMap((part) =>
    part.type === "tool-call" || part.type === "invalid-tool-call" ? [part] : [],
  );
  ctx.add(Message.of(run, run.state.messages, "assistant", content, ctx.now));
  const asks = calls.map(({ id, name }) => ({ id, name }));
  await used(ctx, run, { ...answer, step, calls: asks, summarised: summary?.byModel === true });
  if (summary !== undefined) ctx.add(ConversationSummary.of(run, step, summary, ctx.now));
  return calls;
}

/** Tools have come to something: that is written down. */
export function toolsRun(run: AgentRun, step: number, results: readonly ToolResultPart[], ctx: Ctx): void {
  ctx.add(Message.of(run, run.state.messages, "tool", [...results], ctx.now));
  run.toolsRun(
    step,
    results.map(({ name, outcome }) => ({ name, outcome })),
    ctx.now,
  );
}
