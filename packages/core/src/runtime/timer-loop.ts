import { AWAKE, toInstant } from "../kernel/clock.ts";
import type { Firing, Timer } from "../kernel/timers.ts";
import { occurrence } from "./recurrence.ts";
import type { Found } from "./relay.ts";
import type { RuntimePorts } from "./runtime-ports.ts";
import { continueTrace } from "./trace.ts";

interface TimerLoopOptions {
  readonly contexts: readonly string[];
  /** Longest wait between looks when nobody nudges: other processes may have set timers. */
  readonly pollMs: number;
  /** A context's outbox has got something. */
  readonly fired: (context: string) => void;
}

/** What is moved in one transaction. */
const BATCH = 200;

/**
 * Moves delayed and recurring commands to the outboxes when they are due. Every process may run one: the store sees to
 * it that each time comes once. What was missed while none was running comes as its recurrence says.
 */
export class TimerLoop {
  readonly #ports: Pick<RuntimePorts, "store" | "clock" | "ids" | "logger">;
  readonly #options: TimerLoopOptions;
  readonly #stop = new AbortController();
  /** Something that was committed since the last look is due then. */
  #nudgedAt = Number.POSITIVE_INFINITY;
  #wakeAt = 0;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #waiters: ((found: Found) => void)[] = [];
  #progress = 0;

  constructor(ports: Pick<RuntimePorts, "store" | "clock" | "ids" | "logger">, options: TimerLoopOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Waits for the look under way, and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
    for (const resolve of this.#waiters.splice(0)) resolve("nothing");
  }

  /** A timer was committed that is due at this time. */
  nudge(dueAt: number): void {
    this.#nudgedAt = Math.min(this.#nudgedAt, dueAt);
    if (dueAt < this.#wakeAt) this.#wake?.();
  }

  /** How many timers it has fired. */
  get progress(): number {
    return this.#progress;
  }

  /** Fires now what is due, and says what came of it. */
  look(): Promise<Found> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve("nothing");
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#wake?.();
    });
  }

  async #loop(): Promise<void> {
    const { clock, logger } = this.#ports;
    while (!this.#stop.signal.aborted) {
      const waiters = this.#waiters.splice(0);
      this.#nudgedAt = Number.POSITIVE_INFINITY;
      let found: Found = "nothing";
      let nextAt = Number.POSITIVE_INFINITY;
      try {
        const before = this.#progress;
        for (const context of this.#options.contexts) nextAt = Math.min(nextAt, await this.#fireDue(context));
        if (this.#progress > before) found = "progress";
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        logger.warn("Timers could not be looked at; they wait", { error: String(error) });
        found = "not-ours";
      } finally {
        for (const resolve of waiters) resolve(found);
      }
      await this.#sleepUntil(Math.min(nextAt, clock.now() + this.#options.pollMs));
    }
  }

  async #sleepUntil(time: number): Promise<void> {
    const { clock } = this.#ports;
    for (;;) {
      this.#wakeAt = Math.min(time, this.#nudgedAt);
      const ms = this.#wakeAt - clock.now();
      if (ms <= 0 || this.#waiters.length > 0 || this.#stop.signal.aborted) return;
      const awake = new AbortController();
      this.#wake = () => awake.abort(AWAKE);
      await clock.sleep(ms, awake.signal).catch(() => undefined);
      this.#wake = undefined;
    }
  }

  /** When the next one is due. */
  async #fireDue(context: string): Promise<number> {
    const { clock, store } = this.#ports;
    for (;;) {
      const now = clock.now();
      const { timers, nextAt } = await store.timers.due(context, { now, limit: BATCH });
      const firings = timers.flatMap((timer) => this.#firingOf(context, timer, now) ?? []);
      const fired = firings.length === 0 ? 0 : await store.timers.fire(context, firings);
      if (fired > 0) {
        this.#progress += fired;
        this.#options.fired(context);
      }
      const recurring = firings.map((firing) => firing.nextAt ?? Number.POSITIVE_INFINITY);
      if (timers.length < BATCH || fired === 0 || this.#stop.signal.aborted)
        return Math.min(nextAt ?? Number.POSITIVE_INFINITY, ...recurring);
    }
  }

  #firingOf(context: string, timer: Timer, now: number): Firing | undefined {
    const { command, dueAt, recurrence } = timer;
    if (recurrence === undefined) return { timer, message: command };
    try {
      const { comes, nextAt } = occurrence(recurrence, dueAt, now);
      if (!comes) return { timer, nextAt };
      // Each time is a call of its own: its trace is not that of who has scheduled it, which would never end.
      const id = `${command.id}@${dueAt}`;
      const { traceparent } = continueTrace(this.#ports.ids, undefined);
      const message = {
        ...command,
        ...{ id, time: toInstant(now), correlationId: id, causationId: command.id, traceparent },
      };
      return { timer, message, nextAt };
    } catch (error) {
      const fields = { context, key: timer.key, tenant: command.tenant, error: String(error) };
      this.#ports.logger.error("A recurring command stands still: its recurrence cannot be read", fields);
      return undefined;
    }
  }
}
