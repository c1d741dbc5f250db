import { pglite } from "@armature/adapter-postgres";
import type { StoreAdapter } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { type BrokenRule, type FaultFigures, type FaultRun, runFaults } from "@armature/core/testing";
import { scenarios } from "./scenarios.ts";

export const STORES = ["in-memory", "pglite"] as const;
export type StoreName = (typeof STORES)[number];

export interface Campaign {
  readonly store: StoreName;
  /** The first seed. */
  readonly from: number;
  readonly seeds: number;
  /** One scenario; without it each seed has the next one. */
  readonly scenario?: string | undefined;
  readonly breakRule?: BrokenRule | undefined;
  readonly processes?: number | undefined;
  /** Hears of every run. */
  readonly done?: (run: FaultRun, seed: number) => void;
}

export interface CampaignResult {
  readonly runs: number;
  readonly figures: FaultFigures;
  /** The first run in which something did not hold. Nothing was run after it. */
  readonly failed:
    | (FaultRun & { readonly seed: number; readonly scenario: string; readonly repeat: string })
    | undefined;
}

/** Runs seeds one after the other until one fails. One PGlite serves them all: each seed has tenants of its own. */
export async function runCampaign(campaign: Campaign): Promise<CampaignResult> {
  const { from, seeds, store, breakRule } = campaign;
  const shared = store === "pglite" ? pglite() : undefined;
  const open = (): StoreAdapter => shared ?? inMemory();
  let figures: FaultFigures | undefined;
  let runs = 0;
  try {
    for (let seed = from; seed < from + seeds; seed += 1) {
      const scenario = scenarioOf(campaign.scenario, seed);
      const { processes = 2 + (seed % 2) } = campaign;
      const run = await runFaults({
        seed,
        scenario,
        store: open,
        processes,
        ...(breakRule === undefined ? {} : { breakRule }),
      });
      runs += 1;
      figures = sum(figures, run.figures);
      campaign.done?.(run, seed);
      if (run.violations.length === 0) continue;
      const repeat = [
        `pnpm faults --seed ${seed} --store ${store} --scenario ${scenario.name}`,
        ...(breakRule === undefined ? [] : [`--break ${breakRule}`]),
      ].join(" ");
      return { runs, figures, failed: { ...run, seed, scenario: scenario.name, repeat } };
    }
  } finally {
    await shared?.close();
  }
  if (figures === undefined) throw new RangeError("There are no seeds to run.");
  return { runs, figures, failed: undefined };
}

function scenarioOf(name: string | undefined, seed: number) {
  if (name === undefined) return scenarios[seed % scenarios.length]!;
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  throw new RangeError(`There is no scenario "${name}": ${scenarios.map((each) => each.name).join(", ")}.`);
}

function sum(before: FaultFigures | undefined, figures: FaultFigures): FaultFigures {
  if (before === undefined) return figures;
  const faults = { ...before.faults };
  for (const [kind, times] of Object.entries(figures.faults)) faults[kind] = (faults[kind] ?? 0) + times;
  return {
    acknowledged: before.acknowledged + figures.acknowledged,
    refused: before.refused + figures.refused,
    unknown: before.unknown + figures.unknown,
    events: before.events + figures.events,
    deliveries: before.deliveries + figures.deliveries,
    repeated: before.repeated + figures.repeated,
    published: before.published + figures.published,
    crashes: before.crashes + figures.crashes,
    faults,
    simulatedMs: before.simulatedMs + figures.simulatedMs,
  };
}
