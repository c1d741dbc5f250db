import { CircuitOpen } from "../../kernel/port-errors.ts";
import type { Logger } from "../../kernel/ports.ts";

/** When requests to a provider that is down are no longer sent. */
export interface CircuitOptions {
  /** Outages in a row, without a sign of life in between, after which nothing more is sent. */
  readonly failures: number;
  /** How long, in milliseconds, until one request is let through to see. */
  readonly openMs: number;
}

/** Whose circuit it is. */
export interface CircuitUser {
  readonly provider: string;
  /** The tenant's connection. */
  readonly connection: string;
  readonly options: CircuitOptions | false;
}

/** A request that was let through; what became of it has to be said, once. */
export interface Passage {
  /** `alive`: an answer, be it a refusal. `outage`: none, or a failure of the provider's own. `unknown`: given up. */
  end(seen: "alive" | "outage" | "unknown", now: number): void;
}

/** While a probe is under way, others are told to ask again after this time. */
const PROBE_WAIT_MS = 1_000;

/**
 * Circuit breakers of one process. A connection has one of its own: what is broken for one tenant alone is closed off
 * for it alone. The provider has one too; it opens only when several connections have seen nothing but outages.
 */
export class Circuits {
  /** Only those that have seen an outage since the last sign of life. */
  readonly #troubled = new Map<string, Circuit>();

  /** @throws {CircuitOpen} nothing may be sent now */
  check(user: CircuitUser, now: number): void {
    for (const key of keysOf(user)) {
      const wait = this.#troubled.get(key)?.wait(now) ?? 0;
      if (wait > 0) throw new CircuitOpen({ provider: user.provider, retryAfterMs: wait });
    }
  }

  /**
   * Lets one request through.
   *
   * @throws {CircuitOpen} nothing may be sent now
   */
  enter(user: CircuitUser, now: number, log: Logger): Passage {
    const { options } = user;
    if (options === false) return { end() {} };
    this.check(user, now);
    const probed = keysOf(user).flatMap((key) => {
      const circuit = this.#troubled.get(key);
      return circuit?.probe() === true ? [circuit] : [];
    });
    return {
      end: (seen, at) => {
        for (const circuit of probed) circuit.probing = false;
        if (seen === "alive") this.#alive(user, log);
        else if (seen === "outage") this.#outage(user, options, at, log);
      },
    };
  }

  #alive(user: CircuitUser, log: Logger): void {
    for (const key of keysOf(user)) {
      if (this.#troubled.get(key)?.opened === true) log.info("A provider works again", fields(user, key));
      this.#troubled.delete(key);
    }
  }

  #outage(user: CircuitUser, options: CircuitOptions, now: number, log: Logger): void {
    for (const key of keysOf(user)) {
      let circuit = this.#troubled.get(key);
      if (circuit === undefined) {
        circuit = new Circuit(key === user.provider ? 2 : 1);
        this.#troubled.set(key, circuit);
      }
      if (circuit.outage(user.connection, options, now))
        log.warn("A provider is down: nothing is sent to it for a while", {
          ...fields(user, key),
          retryAfterMs: options.openMs,
        });
    }
  }
}

class Circuit {
  probing = false;
  #outages = 0;
  readonly #seenBy = new Set<string>();
  /** How many connections must have seen an outage. */
  readonly #witnesses: number;
  #openUntil: number | undefined;

  constructor(witnesses: number) {
    this.#witnesses = witnesses;
  }

  get opened(): boolean {
    return this.#openUntil !== undefined;
  }

  wait(now: number): number {
    if (this.#openUntil === undefined) return 0;
    if (now < this.#openUntil) return this.#openUntil - now;
    return this.probing ? PROBE_WAIT_MS : 0;
  }

  /** Whether the next request is the one that has to find out. */
  probe(): boolean {
    if (!this.opened) return false;
    this.probing = true;
    return true;
  }

  /** Whether it opens by this, anew. */
  outage(connection: string, { failures, openMs }: CircuitOptions, now: number): boolean {
    this.#outages += 1;
    // More names than are asked for are not worth remembering.
    if (this.#seenBy.size < this.#witnesses) this.#seenBy.add(connection);
    if (this.#outages < failures || this.#seenBy.size < this.#witnesses) return false;
    // What was sent before it opened says nothing new.
    if (this.#openUntil !== undefined && now < this.#openUntil) return false;
    this.#openUntil = now + openMs;
    return true;
  }
}

function keysOf({ provider, connection, options }: CircuitUser): readonly string[] {
  return options === false ? [] : [provider, `${provider} ${connection}`];
}

function fields({ provider, connection }: CircuitUser, key: string) {
  return key === provider ? { provider } : { provider, connection };
}
