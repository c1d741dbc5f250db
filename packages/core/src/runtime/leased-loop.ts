import { AWAKE } from "../kernel/clock.ts";
import type { HeldLease } from "../kernel/ports.ts";
import { errorText } from "./error-text.ts";
import type { Found } from "./relay.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

const LEASE_MS = 15_000;
const FIRST_WAIT_MS = 10;

/** What one look came to. */
export interface Looked {
  /** `not-ours`: there is something that cannot be done yet, or that another process has to do. */
  readonly found: Found;
  /** When there will be something to do that waits for its time. Milliseconds since 1970. */
  readonly nextAt?: number;
}

export interface LeasedWork {
  /** What the lease is for: in all processes one at a time does the work. */
  readonly key: string;
  /** Longest wait between looks when nobody nudges. */
  readonly pollMs: number;
  /** Wait before the first look. Default 0. */
  readonly firstWaitMs?: number;
  /** Wait after the first look that finds nothing, doubled with each up to `pollMs`. Default 10. */
  readonly shortestWaitMs?: number;
  /** Does some of what there is to do. It may throw: then it is tried again. */
  look(stop: AbortSignal): Promise<Looked>;
  /** Whether there is something to do, when somebody wants to know while another process has the lease. */
  waiting(): Promise<boolean>;
}

/** Looks for work again and again while it has the lease: at once after a nudge or progress, else less and less often. */
export class LeasedLoop {
  readonly #work: LeasedWork;
  readonly #ports: Pick<RuntimePorts, "clock" | "lease" | "logger">;
  readonly #stop = new AbortController();
  #lease: HeldLease | undefined;
  #leaseUntil = 0;
  #nudged = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #waiters: ((found: Found) => void)[] = [];
  #progress = 0;

  constructor(work: LeasedWork, ports: Pick<RuntimePorts, "clock" | "lease" | "logger">) {
    this.#work = work;
    this.#ports = ports;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Waits for the look under way, gives the lease back and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
    for (const resolve of this.#waiters.splice(0)) resolve("nothing");
    // One that cannot be given back lapses.
    await this.#lease?.release().catch(() => undefined);
    this.#lease = undefined;
  }

  /** There may be something to do: look now. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Grows with every look that has done something. */
  get progress(): number {
    return this.#progress;
  }

  /** Looks now, and says what came of it. */
  look(): Promise<Found> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve("nothing");
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.nudge();
    });
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stop;
    const { pollMs, firstWaitMs = 0, shortestWaitMs = FIRST_WAIT_MS } = this.#work;
    let wait = shortestWaitMs;
    if (firstWaitMs > 0 && !this.#nudged) await this.#sleep(firstWaitMs);
    while (!signal.aborted) {
      this.#nudged = false;
      const waiters = this.#waiters.splice(0);
      let found: Found = "nothing";
      try {
        const looked = await this.#once(waiters.length > 0);
        found = looked.found;
        if (found === "progress") this.#progress += 1;
        wait = found === "progress" ? 0 : Math.min(pollMs, Math.max(wait * 2, shortestWaitMs));
        if (looked.nextAt !== undefined) wait = Math.max(0, Math.min(wait, looked.nextAt - this.#ports.clock.now()));
      } catch (error) {
        found = "not-ours";
        wait = pollMs;
        if (!signal.aborted)
          this.#ports.logger.warn("Work could not be done and is tried again", {
            work: this.#work.key,
            error: errorText(error),
          });
      } finally {
        for (const resolve of waiters) resolve(found);
      }
      if (!this.#nudged && wait > 0 && !signal.aborted) await this.#sleep(wait);
      if (this.#nudged) wait = shortestWaitMs;
    }
  }

  async #once(asked: boolean): Promise<Looked> {
    if (await this.#holdLease()) return this.#work.look(this.#stop.signal);
    return { found: asked && (await this.#work.waiting()) ? "not-ours" : "nothing" };
  }

  async #holdLease(): Promise<boolean> {
    const { clock, lease } = this.#ports;
    const now = clock.now();
    if (this.#lease !== undefined && now < this.#leaseUntil - LEASE_MS / 2) return true;
    const held = this.#lease !== undefined && (await this.#lease.renew(LEASE_MS));
    if (!held) this.#lease = await lease.acquire(this.#work.key, LEASE_MS);
    this.#leaseUntil = now + LEASE_MS;
    return this.#lease !== undefined;
  }

  async #sleep(ms: number): Promise<void> {
    const awake = new AbortController();
    this.#wake = () => awake.abort(AWAKE);
    await this.#ports.clock.sleep(ms, awake.signal).catch(() => undefined);
    this.#wake = undefined;
  }
}
