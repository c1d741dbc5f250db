import {
  AgentLimitReached,
  agentTool,
  BudgetReserved,
  BudgetSettled,
  defineAgent,
  VersionConflict,
} from "@armature/core";
import type { ScriptedCall } from "@armature/core/testing";
import { ScriptedModel } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { usage } from "./agents.ts";
import { benchOn } from "./bench.ts";
import type { PlaceKind } from "./place.ts";

const RUNS = 200;
const STEPS = 120;
const limits = { outputTokens: 100 };
const helper = defineAgent({ id: "helper", summary: "Helps.", instructions: "You help.", limits });
const clerk = defineAgent({
  id: "clerk",
  summary: "Answers.",
  instructions: "You answer.",
  tools: [agentTool(helper)],
  limits,
});
/** Every other one asks another agent first. */
const turn = ({ prompt, text }: ScriptedCall) => {
  const asked = prompt.some(({ role }) => role === "tool");
  if (text.includes("You help.") || asked || !text.includes("Ask")) return { text: "Done.", usage };
  return { toolCalls: [{ name: "ask_helper", arguments: { task: "Help." } }], usage };
};

interface Kept {
  readonly tokens: number;
  readonly steps: number;
}

/** Many runs at once on one budget. */
export function agentBudgets(kind: PlaceKind): void {
  describe(`one budget for many runs, ${kind.name}`, () => {
    const bench = benchOn(kind);

    test(`${RUNS} runs at once in two processes never keep or use one unit more than there is`, async () => {
      const tenant = bench.tenant();
      const start = () =>
        bench.start({
          agents: [clerk, helper],
          models: { default: new ScriptedModel(Array.from({ length: 2 * RUNS }, () => turn)) },
          executions: { pollMs: 100 },
          relay: { pollMs: 50 },
        });
      const apps = [await start(), await start()] as const;
      const { agents, audit } = apps[0].as({ tenant, user: "ann" });
      await agents.setBudget({ budget: "tenant", steps: STEPS, tokens: STEPS * 1_000 });
      const refusals = await Promise.all(
        Array.from({ length: RUNS }, async (_, n) => {
          const { agents: own } = apps[n % 2]!.as({ tenant, user: "ann" });
          const begin = () => own.run({ agent: "clerk", input: n % 4 < 2 ? "Ask." : "Say it yourself." });
          for (;;) {
            const lost = await begin().then(
              () => undefined,
              (error: unknown) => error,
            );
            // So many callers of one budget may lose their race a few times too often.
            if (!(lost instanceof VersionConflict)) return lost;
          }
        }),
      );
      for (const each of refusals) if (each !== undefined) expect(each).toBeInstanceOf(AgentLimitReached);
      const underWay = async () => (await agents.listRuns({ status: "running", limit: 1 })).items.length;
      await expect.poll(underWay, { timeout: 90_000, interval: 200 }).toBe(0);

      // What the budget was at each moment, by what it says itself.
      const kept = new Map<string, Kept>();
      let spent: Kept = { tokens: 0, steps: 0 };
      let after: string | undefined;
      do {
        const page = await audit.events({
          aggregateType: "budget",
          aggregateId: "tenant",
          direction: "asc",
          limit: 200,
          after,
        });
        for (const { type, data } of page.items) {
          const { runId, tokens, steps } = data as unknown as Kept & { readonly runId: string };
          if (type === BudgetReserved.type) kept.set(runId, { tokens, steps });
          if (type === BudgetSettled.type) {
            kept.delete(runId);
            spent = { tokens: spent.tokens + tokens, steps: spent.steps + steps };
          }
          const sum = (of: keyof Kept) => [spent, ...kept.values()].reduce((total, each) => total + each[of], 0);
          expect(sum("steps")).toBeLessThanOrEqual(STEPS);
          expect(sum("tokens")).toBeLessThanOrEqual(STEPS * 1_000);
        }
        after = page.next;
      } while (after !== undefined);
      expect(spent.steps).toBe(STEPS);
      expect(await agents.budget({ budget: "tenant" })).toMatchObject({
        spent: { steps: STEPS, tokens: STEPS * 110 },
        reserved: { steps: 0, tokens: 0 },
      });
    }, 120_000);
  });
}
