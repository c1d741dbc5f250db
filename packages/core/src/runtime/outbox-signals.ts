import type { Clock } from "../kernel/clock.ts";
import type { Outbox } from "../kernel/outbox.ts";
import type { Logger } from "../kernel/ports.ts";

/** After one message nothing is told for so long: a busy process sends no more than fifty in a second. */
const PAUSE_MS = 20;

/** Tells other processes of what was committed here, all commits of a moment at once, and hears of theirs. */
export class OutboxSignals {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #closed = new AbortController();
  #watch: { close(): Promise<void> } | undefined;
  readonly #untold = new Set<string>();
  #telling: Promise<void> | undefined;

  constructor({ outbox, clock, logger }: { readonly outbox: Outbox; readonly clock: Clock; readonly logger: Logger }) {
    this.#outbox = outbox;
    this.#clock = clock;
    this.#logger = logger;
  }

  hear(hear: (context: string) => void): void {
    this.#watch = this.#outbox.watch((contexts) => {
      for (const context of contexts) hear(context);
    });
  }

  tell(context: string): void {
    this.#untold.add(context);
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#telling;
    await this.#watch?.close();
  }

  async #tellAll(): Promise<void> {
    while (this.#untold.size > 0 && !this.#closed.signal.aborted) {
      const contexts = [...this.#untold];
      this.#untold.clear();
      // One that gets lost costs time and nothing else: the others look by themselves now and then.
      await this.#outbox.announce(contexts).catch((error: unknown) => {
        this.#logger.debug("Other processes could not be told of a commit", { error: String(error) });
      });
      await this.#clock.sleep(PAUSE_MS, this.#closed.signal).catch(() => undefined);
    }
  }
}
