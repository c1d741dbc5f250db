import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { VictimError } from "../crash/victims.ts";
import type { Fleet } from "./fleet.ts";

/** One write that somebody wants done once, whatever happens. */
export interface Order {
  readonly key: string;
  readonly tenant: string;
  readonly tally: string;
  /** `acme/t1@5`, once it is acknowledged. */
  event?: string;
  /** Redis was flushed before the bus had handed it on: nobody can ask that it does. */
  forgotten?: boolean;
}

export const TENANTS = ["acme", "globex"] as const;
const TALLIES = 12;
const LANES = 8;
/** So far may consumers be behind before writers wait. */
const MOST_BEHIND = 200;
const RETRY_MS = 25;
const answer = z.object({ version: z.int() });
const begun = z.object({ consumer: z.enum(["store", "bus"]), event: z.string() });

// What a process may be told when a server or a neighbour dies. It is asked again, with the same key.
const PASSING = new Set(["unavailable", "timeout", "unknown-outcome", "conflict"]);

/** Writes without pause, each order until it is acknowledged, and remembers what was acknowledged and handed on. */
export class Workload {
  readonly orders: Order[] = [];
  /** How often each consumer has begun to handle each event. */
  readonly begun = { store: new Map<string, number>(), bus: new Map<string, number>() };
  acknowledged = 0;
  #fleet: Fleet | undefined;
  #stopped = false;
  #lanes: Promise<void> | undefined;

  /** What the processes say. */
  readonly hear = (note: unknown): void => {
    const { consumer, event } = begun.parse(note);
    const times = this.begun[consumer];
    times.set(event, (times.get(event) ?? 0) + 1);
  };

  start(fleet: Fleet): void {
    this.#fleet = fleet;
    this.#lanes = Promise.all(Array.from({ length: LANES }, () => this.#lane())).then(() => undefined);
    this.#lanes.catch(() => undefined); // heard of at the next look
  }

  /** Throws what a write was refused with, when it may not have been refused. */
  async check(): Promise<void> {
    await Promise.race([this.#lanes, Promise.resolve()]);
  }

  /** Resolves when everything that was begun is acknowledged. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#lanes;
  }

  /** Orders that the bus has not begun to hand on, acknowledged or not. */
  waiting(): readonly Order[] {
    return this.orders.filter(({ event }) => event === undefined || !this.begun.bus.has(event));
  }

  async #lane(): Promise<void> {
    while (!this.#stopped) {
      if (this.acknowledged - this.begun.store.size > MOST_BEHIND) await pause(RETRY_MS);
      else await this.#write();
    }
  }

  async #write(): Promise<void> {
    const number = this.orders.length;
    const tenant = TENANTS[number % TENANTS.length]!;
    const order: Order = { key: `write-${number}`, tenant, tally: `t${Math.floor(number / 2) % TALLIES}` };
    this.orders.push(order);
    while (order.event === undefined) {
      try {
        const { tally, key } = order;
        const writer = this.#fleet?.any("writers");
        if (writer === undefined) throw new Error("There is no writer just now.");
        const { version } = answer.parse(await writer.order({ do: "count", tenant, tally, key }));
        order.event = `${tenant}/${tally}@${version}`;
        this.acknowledged += 1;
      } catch (error) {
        if (error instanceof VictimError && !PASSING.has(error.kind)) throw error;
        await pause(RETRY_MS);
      }
    }
  }
}
