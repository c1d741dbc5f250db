import type { Logger } from "@armature/core";
import type { RedisClient, RedisSubscriber } from "./redis-client.ts";

/**
 * Hears from Redis that something was published, on one connection of its own. What it does not hear costs time only:
 * members look by themselves whenever they say that they are alive.
 */
export class StreamChannels {
  readonly #client: RedisClient;
  readonly #logger: Logger;
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  #subscriber: RedisSubscriber | undefined;

  constructor(client: RedisClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /** Gives back what ends it. An empty message means that something may have been missed. */
  listen(channel: string, listener: (message: string) => void): () => void {
    const subscriber = this.#connected();
    let listeners = this.#listeners.get(channel);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(channel, listeners);
      const all = listeners;
      subscriber
        .subscribe(channel, (message) => {
          for (const each of all) each(message);
        })
        .then(
          () => {
            for (const each of all) each("");
          },
          (error: unknown) => this.#logger.debug("A channel cannot be listened to", { error: String(error) }),
        );
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      subscriber.unsubscribe(channel).catch(() => undefined);
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#subscriber?.destroy();
    this.#subscriber = undefined;
  }

  // Connects again by itself, and subscribes again to what it was subscribed to.
  #connected(): RedisSubscriber {
    if (this.#subscriber !== undefined) return this.#subscriber;
    const subscriber = this.#client.duplicate();
    this.#subscriber = subscriber;
    subscriber.on("error", () => undefined);
    subscriber.on("ready", () => {
      for (const listeners of this.#listeners.values()) for (const each of listeners) each("");
    });
    subscriber.connect().catch(() => undefined);
    return subscriber;
  }
}
