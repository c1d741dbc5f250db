import { concurrently } from "./rounds.ts";
import { quantile } from "./rows.ts";
import type { Contender } from "./work.ts";

/** A contender that runs things of several steps, and knows more of its rounds. */
export interface RunsContender extends Contender {
  /** Steps in a second. */
  readonly rates: readonly number[];
  /** From the start of each run to its end, in milliseconds. */
  readonly latencies: readonly number[];
  /** Of each round, what 99 of 100 kept to. */
  readonly slowest: readonly number[];
}

/**
 * Starts runs, each of so many callers the next one when its last has ended; runs in a second. A run is given a number
 * and each of its steps adds 1, so what it comes to shows that each was done.
 */
export function runsContender(
  { steps, concurrent }: { readonly steps: number; readonly concurrent: number },
  options: Pick<Contender, "subject" | "note" | "close"> & {
    /** Runs that are waited for at a time, where they are not as many as are to be under way. */
    readonly waiting?: number;
    /** Starts one and waits until it has ended. What it came to, where its end tells. */
    readonly run: (value: number) => Promise<number | undefined>;
    /** Counts what was done: runs that have ended (where `run` does not tell: as they should), and results of steps. */
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
        if (came !== undefined && came !== value + steps) throw new Error(`${subject} came to ${came} from ${value}.`);
      });
      // The first round warms up.
      if (round.length !== runs) {
        rates.push(rate * steps);
        for (const latency of round) latencies.push(latency);
        slowest.push(quantile(round, 0.99));
      }
      return rate;
    },
    check: async () => {
      const [ended, results] = (await written?.()) ?? [runs, runs * steps];
      if (ended !== runs || results !== runs * steps)
        throw new Error(`${subject} began ${runs} runs; ${ended} have ended, with ${results} results.`);
    },
  };
}
