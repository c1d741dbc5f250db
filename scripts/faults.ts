// `pnpm faults --seeds 2000`: runs our own contexts in the fault simulator of `@armature/core/testing`, a seed after the other.
// Ends with 1 and the line that repeats it as soon as something does not hold that must.
import process from "node:process";
import { parseArgs } from "node:util";
import { brokenRules } from "@armature/core/testing";
import { type CampaignResult, runCampaign, STORES } from "../tests/faults/campaign.ts";

const LAST_LINES = 80;
const { values } = parseArgs({
  // pnpm 12 hands over the `--` that separates its own options.
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    store: { type: "string" },
    scenario: { type: "string" },
    break: { type: "string" },
    processes: { type: "string" },
  },
});

const one = values.seed !== undefined;
const from = whole(values.seed ?? values.from, one ? "seed" : "from");
const seeds = one ? 1 : whole(values.seeds, "seeds");
const rule = values.break === undefined ? undefined : chosen(values.break, brokenRules, "break");
const stores = values.store === undefined ? STORES : [chosen(values.store, STORES, "store")];
const processes = values.processes === undefined ? undefined : whole(values.processes, "processes");

for (const store of stores) {
  const started = performance.now();
  let last = started;
  const result = await runCampaign({
    store,
    from,
    seeds,
    scenario: values.scenario,
    breakRule: rule,
    processes,
    done: (run, seed) => {
      if (one) console.log(run.trace.join("\n"));
      if (performance.now() - last < 10_000) return;
      last = performance.now();
      console.log(`${store}: ${seed - from + 1} of ${seeds}`);
    },
  });
  report(store, result, (performance.now() - started) / 1000);
  if (result.failed !== undefined) process.exit(1);
}

function report(store: string, { failed, figures, runs }: CampaignResult, seconds: number): void {
  if (failed !== undefined && !one) console.log(failed.trace.slice(-LAST_LINES).join("\n"));
  const { faults, simulatedMs, ...counts } = figures;
  const wrong = Object.values(faults).reduce((sum, times) => sum + times, 0);
  const hours = (simulatedMs / 3_600_000).toFixed(1);
  console.log(`${store}: ${runs} seeds in ${seconds.toFixed(1)} s, ${hours} simulated hours, ${wrong} faults`);
  console.log(
    Object.entries(counts)
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
  );
  console.log(
    Object.entries(faults)
      .map(([kind, times]) => `${kind} ${times}`)
      .join(", "),
  );
  if (failed === undefined) {
    console.log(`${store}: nothing was violated`);
    return;
  }
  for (const { rule: broken, detail } of failed.violations.slice(0, 5)) console.log(`VIOLATED: ${broken}: ${detail}`);
  console.log(`Again with: ${failed.repeat}`);
}

function whole(text: string, name: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new TypeError(`--${name} is a whole number.`);
  return Number(text);
}

function chosen<T extends string>(text: string, choices: readonly T[], name: string): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new TypeError(`--${name} is one of ${choices.join(", ")}.`);
  return found;
}
