import type { ChildProcess } from "node:child_process";
import { ended, forked, messageOf } from "../forked.ts";
import type { Served } from "./serving.ts";

/** What the load is asked to do. */
export type LoadAsk = {
  readonly ms: number;
  readonly connections: number;
  /** Requests begin at this rate whatever the answers take; without it each connection asks again when it is answered. */
  readonly perSecond?: number;
};

/** What came of it. */
export interface LoadResult {
  /** Milliseconds of each request that was answered well: with a rate from when its time had come. */
  readonly latencies: Float64Array;
  /** Requests that were answered otherwise, or not at all. */
  readonly errors: number;
  /** From the first request to the last answer. */
  readonly ms: number;
}

/** Requests from a process of their own, so that asking does not take the time of whoever answers. */
export class Load {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(served: Served): Promise<Load> {
    const { port, key } = served;
    const load = new Load(forked(new URL("load-process.ts", import.meta.url), { port, key }));
    await messageOf(load.#child);
    return load;
  }

  async run(ask: LoadAsk): Promise<LoadResult> {
    const result = messageOf<LoadResult>(this.#child);
    this.#child.send(ask);
    return result;
  }

  close(): Promise<void> {
    return ended(this.#child);
  }
}
