import { toCloudEvent } from "./cloud-event.ts";
import { errorText } from "./error-text.ts";
import type { RelaySettings } from "./relay-settings.ts";
import type { Item } from "./relay-window.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** Gives a context's events to the bus, page by page in their order. While the bus is down, it waits. */
export class RelayPublisher {
  readonly #context: string;
  readonly #ports: RuntimePorts;
  readonly #settings: RelaySettings;
  #failures = 0;
  #retryAt = 0;

  constructor(context: string, ports: RuntimePorts, settings: RelaySettings) {
    this.#context = context;
    this.#ports = ports;
    this.#settings = settings;
  }

  /** When a bus that did not take the last page may be tried again. */
  get retryAt(): number {
    return this.#retryAt;
  }

  /** Whether the bus has taken all of them. */
  async publish(items: readonly Item[]): Promise<boolean> {
    const { bus, clock, logger, telemetry } = this.#ports;
    if (items.length === 0) return true;
    if (clock.now() < this.#retryAt) return false;
    try {
      const events = items.flatMap(({ entry }) => (entry.message.kind === "event" ? [entry.message.event] : []));
      await telemetry.publish(this.#context, events, () => bus.publish(events.map(toCloudEvent)));
      this.#failures = 0;
      return true;
    } catch (error) {
      this.#failures += 1;
      this.#retryAt = clock.now() + this.#settings.backoff(this.#failures);
      logger.warn("The bus did not take the events; they wait", { context: this.#context, error: errorText(error) });
      return false;
    }
  }
}
