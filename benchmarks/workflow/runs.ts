import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { concurrently } from "../rounds.ts";
import { quantile } from "../rows.ts";
import type { Contender } from "../work.ts";

/** What takes part in a race of workflows is given. */
export interface WorkflowSetting {
  readonly database: FreshDatabase;
  /** Of one workflow, one after the other. */
  readonly activities: number;
  /** Workflows that are under way at a time. */
  readonly concurrent: number;
  /** To PostgreSQL. */
  readonly connections: number;
}

/** A contender that runs workflows, and knows more of its rounds: how long each took from start to end, in milliseconds. */
export interface RunsContender extends Contender {
  /** Activities in a second. */
  readonly rates: readonly number[];
  readonly latencies: readonly number[];
  /** Of each round, what 99 of 100 kept to. */
  readonly slowest: readonly number[];
}

/**
 * Starts workflows, each of so many callers the next one when its last has ended; workflows in a second. A workflow is
 * given a number and each of its activities adds 1, so what it comes to shows that each was done.
 */
export function runsContender(
  { activities, concurrent }: Pick<WorkflowSetting, "activities" | "concurrent">,
  options: Pick<Contender, "subject" | "note" | "close"> & {
    /** Workflows that are waited for at a time, where it is not one for each that is to be under way. */
    readonly waiting?: number;
    /** Starts one and waits until it has ended. What it came to, where its end tells. */
    readonly run: (value: number) => Promise<number | undefined>;
    /** Counts what is written down: workflows that have ended (where `run` does not tell: as they should), and results of activities. */
    readonly written?: () => Promise<readonly number[]>;
  },
): RunsContender {
  const { subject, run, written, waiting = concurrent, note, close } = options;
  const rates: number[] = [];
  const latencies: number[] = [];
  const slowest: number[] = [];
  let runs = 0;
  return {
    subject,
    ...(note === undefined ? {} : { note }),
    ...(close === undefined ? {} : { close }),
    ...{ rates, latencies, slowest },
    measure: async (ms) => {
      const round: number[] = [];
      const rate = await concurrently(ms, waiting, async () => {
        const value = runs;
        runs += 1;
        const start = performance.now();
        const came = await run(value);
        round.push(performance.now() - start);
        if (came !== undefined && came !== value + activities)
          throw new Error(`${subject} came to ${came} from ${value}.`);
      });
      // The first round warms up.
      if (round.length !== runs) {
        rates.push(rate * activities);
        latencies.push(...round);
        slowest.push(quantile(round, 0.99));
      }
      return rate;
    },
    check: async () => {
      const [workflows, results] = (await written?.()) ?? [runs, runs * activities];
      if (workflows !== runs || results !== runs * activities)
        throw new Error(`${subject} ran ${runs} workflows and wrote down ${workflows}, with ${results} results.`);
    },
  };
}
