import { z } from "zod";
import { parse } from "../kernel/parse.ts";
import type { LeasedWork, Looked } from "./leased-loop.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

export interface RetentionOptions {
  /**
   * For how many milliseconds it is remembered what calls with an idempotency key came to, and what durable executions
   * did that have ended: one day at least. Default 30 days.
   */
  readonly keepMs?: number;
  /**
   * Whether it is also forgotten after that time which events consumers have handled. `delivery.redeliver` then goes no
   * further back: it could not tell any more what a consumer has had. Say so in every process. Default false.
   */
  readonly inbox?: boolean;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const options = z.strictObject({
  keepMs: z
    .int()
    .min(DAY_MS)
    .max(36_500 * DAY_MS)
    .default(30 * DAY_MS),
  inbox: z.boolean().default(false),
});

/**
 * The options with their defaults.
 *
 * @throws {InvalidInput} one is not valid
 */
export function retentionSettings(given: RetentionOptions): Required<RetentionOptions> {
  return parse(options, given, "The option retention");
}

// Clocks differ, and the store's says what is old.
const CLOCKS_DIFFER_MS = HOUR_MS;

/** From when on it is known which events consumers have handled. Milliseconds since 1970. */
export function knownSince(given: RetentionOptions | false | undefined, now: number): number {
  if (given === undefined || given === false || given.inbox !== true) return 0;
  return now - retentionSettings(given).keepMs + CLOCKS_DIFFER_MS;
}

/** Rows that go in one transaction. */
const BATCH = 1_000;
/** What calls and relays have the store to themselves for between two of them. */
const PAUSE_MS = 250;

/**
 * Forgets once an hour, batch by batch, what was recorded and is old. One process at a time does so:
 * more of them would do no harm, and nothing useful.
 */
export class RetentionLoop implements LeasedWork {
  readonly key = "retention";
  readonly pollMs = HOUR_MS;
  // Not at once: a process that starts has better things to do.
  readonly firstWaitMs = 60_000;
  readonly shortestWaitMs = HOUR_MS;
  readonly #ports: Pick<RuntimePorts, "store" | "engine" | "clock" | "logger">;
  readonly #contexts: readonly string[];
  readonly #settings: Required<RetentionOptions>;
  #removed = 0;

  constructor(
    ports: Pick<RuntimePorts, "store" | "engine" | "clock" | "logger">,
    contexts: readonly string[],
    settings: Required<RetentionOptions>,
  ) {
    this.#ports = ports;
    this.#contexts = contexts;
    this.#settings = settings;
  }

  async look(stop: AbortSignal): Promise<Looked> {
    const { clock, engine, logger, store } = this.#ports;
    const { keepMs, inbox } = this.#settings;
    let full = false;
    for (const context of this.#contexts) {
      if (stop.aborted) break;
      const rows = await store.prune(context, { olderThanMs: keepMs, limit: BATCH, inbox });
      const old = { now: clock.now(), olderThanMs: keepMs, limit: BATCH };
      const ended =
        engine === undefined ? await store.executions.prune(context, old) : ((await engine.prune?.(context, old)) ?? 0);
      if (rows + ended === 0) continue;
      this.#removed += rows + ended;
      full ||= rows === BATCH || ended === BATCH;
      await clock.sleep(PAUSE_MS, stop);
    }
    if (full) return { found: "progress" };
    if (this.#removed > 0)
      logger.info("Old executions, and old rows of inboxes and idempotency records, were removed", {
        rows: this.#removed,
      });
    this.#removed = 0;
    return { found: "nothing" };
  }

  waiting(): Promise<boolean> {
    return Promise.resolve(false);
  }
}
