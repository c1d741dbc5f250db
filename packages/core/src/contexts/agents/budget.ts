import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import { BudgetExhausted, BudgetReserved, BudgetSet, BudgetSettled } from "./contract.ts";

const amount = z.strictObject({ tokens: z.int(), nanos: z.int(), steps: z.int() });
export type Amount = z.infer<typeof amount>;
const state = z.strictObject({
  limits: amount.partial(),
  spent: amount,
  /** What runs keep for their next step, by run. */
  reserved: z.record(z.string(), amount),
});
export type BudgetState = z.infer<typeof state>;

type Event =
  | EventOf<typeof BudgetSet>
  | EventOf<typeof BudgetReserved>
  | EventOf<typeof BudgetSettled>
  | EventOf<typeof BudgetExhausted>;

export const NOTHING: Amount = { tokens: 0, nanos: 0, steps: 0 };
const PARTS = ["tokens", "nanos", "steps"] as const;

/** What all runs of a tenant, or of one agent, may use up: kept before a step and settled after it. */
export class Budget extends AggregateRoot<BudgetState, Event> {
  static readonly definition = defineAggregate("budget", {
    state,
    events: [BudgetSet, BudgetReserved, BudgetSettled, BudgetExhausted],
  });

  set(limits: Partial<Amount>, at: Instant): void {
    this.raise(BudgetSet, { budget: this.id, ...limits, at });
  }

  /** Keeps so much for a run, instead of what it kept before; whether there is that much. */
  reserve(runId: `run_${string}`, wanted: Amount): boolean {
    const { limits, spent } = this.state;
    const others = this.reservedBy((other) => other !== runId);
    for (const part of PARTS) {
      const limit = limits[part];
      if (limit !== undefined && spent[part] + others[part] + wanted[part] > limit) return false;
    }
    this.raise(BudgetReserved, { budget: this.id, runId, ...wanted });
    return true;
  }

  /** A run has used so much, and keeps nothing any more. What it does not know is as much as it kept. */
  settle(
    runId: `run_${string}`,
    { tokens, ...known }: Omit<Amount, "tokens"> & { readonly tokens: number | undefined },
  ): void {
    const used = { ...known, tokens: tokens ?? this.state.reserved[runId]?.tokens ?? 0 };
    if (this.state.reserved[runId] === undefined && PARTS.every((part) => used[part] === 0)) return;
    this.raise(BudgetSettled, { budget: this.id, runId, ...used });
  }

  exhausted(runId: `run_${string}`, at: Instant): void {
    this.raise(BudgetExhausted, { budget: this.id, runId, at });
  }

  reservedBy(which: (runId: string) => boolean): Amount {
    const sum = { ...NOTHING };
    for (const [runId, kept] of Object.entries(this.state.reserved))
      if (which(runId)) for (const part of PARTS) sum[part] += kept[part];
    return sum;
  }

  protected override evolve(state: BudgetState | undefined, event: Event): BudgetState {
    switch (event.type) {
      case "agent.budget_set": {
        const { tokens, nanos, steps } = event.data;
        return { spent: NOTHING, reserved: {}, ...state, limits: { tokens, nanos, steps } };
      }
      case "agent.budget_reserved": {
        const { runId, tokens, nanos, steps } = event.data;
        return { ...state!, reserved: { ...state!.reserved, [runId]: { tokens, nanos, steps } } };
      }
      case "agent.budget_settled": {
        const { runId, tokens, nanos, steps } = event.data;
        const { [runId]: _, ...reserved } = state!.reserved;
        const { spent } = state!;
        return {
          ...state!,
          reserved,
          spent: {
            tokens: counted(spent.tokens + tokens),
            nanos: counted(spent.nanos + nanos),
            steps: counted(spent.steps + steps),
          },
        };
      }
      case "agent.budget_exhausted":
        return state!;
    }
  }
}

// What is beyond cannot be stored, and a budget that cannot be settled would let no run end.
function counted(sum: number): number {
  return Math.min(sum, Number.MAX_SAFE_INTEGER);
}
