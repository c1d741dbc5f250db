import { CircuitOpen } from "./port-errors.ts";
import type { Logger } from "./ports.ts";

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
  readonly tenant: string;
  readonly connectorId: string;
  readonly options: CircuitOptions | false;
}

/** A request that was let through; what became of it has to be said, once. */
export interface Passage {
  /** `alive`: an answer, be it a refusal. `outage`: none, or a failure of the provider's own. `unknown`: given up. */
  end(seen: "alive" | "outage" | "unknown", now: number): void;
}

/** While a probe is under way, others are told to ask again after this time. */
const PROBE_WAIT_MS = 1_000;
/** More connections in trouble than are worth remembering; who tries to connect in vain has a new one each time. */
const MOST_TROUBLED = 10_000;

/**
 * Circuit breakers of one process. A connection has one of its own: what is broken for one tenant alone is closed off
 * for it alone. The provider has one too; it opens only when several tenants have seen nothing but outages, and stays
 * open only while they do: a tenant may have as many connections as it likes, and requests that make a provider fail.
 */
export class Circuits {
  /** Only those that have seen an outage since the last sign of life, in the order of their last one. */
  readonly #troubled = new Map<string, Circuit>();

  /** How many are remembered. */
  get size(): number {
    return this.#troubled.size;
  }

  /** @throws {CircuitOpen} nothing may be sent now */
  check(user: CircuitUser, now: number): void {
    for (const key of keysOf(user)) {
      const wait = this.#troubled.get(key)?.wait(user.tenant, now) ?? 0;
      if (wait > 0) throw new CircuitOpen({ provider: user.provider, retryAfterMs: wait });
    }
  }

  /**
   * Lets one request through.
   *
   * @throws {CircuitOpen} nothing may be sent now
   */
  enter(user: CircuitUser, now: number, log: Logger): Passage {
    const { options, tenant } = user;
    if (options === false) return { end() {} };
    this.check(user, now);
    const probed = keysOf(user).flatMap((key) => {
      const circuit = this.#troubled.get(key);
      return circuit?.probe(tenant) === true ? [circuit] : [];
    });
    return {
      end: (seen, at) => {
        for (const circuit of probed) circuit.probing.delete(tenant);
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
      const circuit = this.#troubled.get(key) ?? new Circuit(key === user.provider ? 2 : 1);
      this.#troubled.delete(key);
      this.#troubled.set(key, circuit);
      if (circuit.outage(user.tenant, options, now))
        log.warn("A provider is down: nothing is sent to it for a while", {
          ...fields(user, key),
          retryAfterMs: options.openMs,
        });
    }
    for (const oldest of this.#troubled.keys()) {
      if (this.#troubled.size <= MOST_TROUBLED) break;
      this.#troubled.delete(oldest);
    }
  }
}

class Circuit {
  /** Tenants whose request is under way to find out. Each has one, so that none holds up the others. */
  readonly probing = new Set<string>();
  #outages = 0;
  /** Tenants that have seen an outage since it opened last. */
  readonly #seenBy = new Set<string>();
  /** How many tenants must have seen an outage. */
  readonly #witnesses: number;
  #openUntil: number | undefined;

  constructor(witnesses: number) {
    this.#witnesses = witnesses;
  }

  get opened(): boolean {
    return this.#openUntil !== undefined;
  }

  wait(tenant: string, now: number): number {
    if (this.#openUntil === undefined) return 0;
    if (now < this.#openUntil) return this.#openUntil - now;
    return this.probing.has(tenant) ? PROBE_WAIT_MS : 0;
  }

  /** Whether the next request is the one that has to find out. */
  probe(tenant: string): boolean {
    if (!this.opened) return false;
    this.probing.add(tenant);
    return true;
  }

  /** Whether it opens by this, anew. */
  outage(tenant: string, { failures, openMs }: CircuitOptions, now: number): boolean {
    // What was sent before it opened says nothing new.
    if (this.#openUntil !== undefined && now < this.#openUntil) return false;
    this.#outages += 1;
    // More names than are asked for are not worth remembering.
    if (this.#seenBy.size < this.#witnesses) this.#seenBy.add(tenant);
    if (this.#outages < failures || this.#seenBy.size < this.#witnesses) return false;
    this.#seenBy.clear();
    this.#openUntil = now + openMs;
    return true;
  }
}

function keysOf({ provider, tenant, connectorId, options }: CircuitUser): readonly string[] {
  return options === false ? [] : [provider, `${provider} ${tenant}/${connectorId}`];
}

function fields({ provider, tenant, connectorId }: CircuitUser, key: string) {
  return key === provider ? { provider } : { provider, tenant, connectorId };
}
