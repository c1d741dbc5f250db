import type { CommandContext } from "../../kernel/context.ts";
import type { AgentRun } from "./agent-run.ts";
import { type Amount, Budget, NOTHING } from "./budget.ts";
import type { Agents } from "./contract.ts";

type Ctx = Pick<CommandContext<Agents, never>, "tryLoad" | "now">;

/** What the next step may take at most. `nanos` is undefined where it is not known what a model costs. */
export interface Wanted {
  readonly tokens: number;
  readonly nanos: number | undefined;
  /** 1 when absent. */
  readonly steps?: number;
}

/** The budgets that a run counts against: its tenant's and its agents', as far as they are set. */
export async function budgetsOf(ctx: Ctx, agents: readonly string[]): Promise<readonly Budget[]> {
  const ids = ["tenant", ...agents.map((agent) => `agent.${agent}`)];
  const found = await Promise.all(ids.map((id) => ctx.tryLoad(Budget, id)));
  return found.filter((budget) => budget !== undefined);
}

/**
 * Keeps what a step may take at most, in every budget of the run.
 *
 * @returns which of them does not have that much; nothing is kept then
 */
export async function reserve(
  ctx: Ctx,
  agents: readonly string[],
  runId: `run_${string}`,
  wanted: Wanted,
): Promise<string | undefined> {
  const budgets = await budgetsOf(ctx, agents);
  for (const budget of budgets) {
    // What cannot be reckoned cannot be kept within a bound.
    if (wanted.nanos === undefined && budget.state.limits.nanos !== undefined)
      return `the price of a model, which "${budget.id}" bounds`;
    if (budget.reserve(runId, { tokens: wanted.tokens, nanos: wanted.nanos ?? 0, steps: wanted.steps ?? 1 })) continue;
    for (const other of budgets) other.settle(runId, NOTHING);
    budget.exhausted(runId, ctx.now);
    return `the budget "${budget.id}"`;
  }
  return undefined;
}

/** A run has used so much, and keeps nothing any more. */
export async function settle(
  ctx: Ctx,
  agents: readonly string[],
  runId: `run_${string}`,
  used: Omit<Amount, "tokens"> & { readonly tokens: number | undefined },
): Promise<void> {
  for (const budget of await budgetsOf(ctx, agents)) budget.settle(runId, used);
}

/** A model has answered a run: that is written down, and settled. */
export async function used(
  ctx: Ctx,
  run: AgentRun,
  answer: Omit<Parameters<AgentRun["step"]>[0], "cost"> & {
    readonly nanos?: number | undefined;
    readonly currency?: string | undefined;
    /** Whether another call was needed before it. */
    readonly summarised?: boolean;
  },
): Promise<void> {
  const { nanos, currency, usage, summarised = false } = answer;
  const cost = nanos === undefined || currency === undefined ? undefined : { nanos, currency };
  run.step({ ...answer, cost }, ctx.now);
  const { inputTokens, outputTokens } = usage;
  const tokens = inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens;
  await settle(ctx, run.agents, run.id as `run_${string}`, { tokens, nanos: nanos ?? 0, steps: summarised ? 2 : 1 });
}
