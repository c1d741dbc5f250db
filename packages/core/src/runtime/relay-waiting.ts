import type { Claim } from "../kernel/outbox.ts";
import { type Item, sequenceKey } from "./relay-window.ts";

interface Waiting {
  readonly claim: Claim;
  readonly position: number;
  readonly nextAt: number;
}

/** Sequences that wait for a retry at the same time, before nothing further is begun: they are kept in memory. */
const MOST_WAITING = 10_000;

/** By consumer and sequence, the entry that failed: everything of the sequence behind it waits for that one. */
export class RelayWaiting {
  readonly #entries = new Map<string, Waiting>();

  get size(): number {
    return this.#entries.size;
  }

  /** So much waits that nothing further should be read before. */
  get full(): boolean {
    return this.#entries.size >= MOST_WAITING;
  }

  /** When the first of those that wait may be tried again. */
  get nextAt(): number {
    let nextAt = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) nextAt = Math.min(nextAt, entry.nextAt);
    return nextAt;
  }

  /** Whether the entry itself is one that waits for this consumer. */
  has(item: Item, consumer: string): boolean {
    return this.#entries.get(keyOf(item, consumer))?.position === Number(item.position);
  }

  /** Whether it is the entry's turn: nothing of its sequence waits before it, and it is not too early. */
  isTurn(item: Item, consumer: string, now: number): boolean {
    const before = this.#entries.get(keyOf(item, consumer));
    const position = Number(item.position);
    if (before !== undefined && before.position < position) return false;
    const failure = item.entry.failures.find((each) => each.consumer === consumer);
    const nextAt = Math.max(failure?.nextAt ?? 0, before?.position === position ? before.nextAt : 0);
    if (nextAt <= now) return true;
    this.add(item, consumer, nextAt);
    return false;
  }

  /** From now on nothing of the sequence is tried for the consumer before this entry is. */
  add(item: Item, consumer: string, nextAt: number): void {
    const { claim, position } = item;
    this.#entries.set(keyOf(item, consumer), { claim, position: Number(position), nextAt });
  }

  /** It is being tried, or was given up. */
  remove(item: Item, consumer: string): void {
    this.#entries.delete(keyOf(item, consumer));
  }

  /** Forgets what was learned under claims that do not hold any more: others have been at work since. */
  forget(holds: (claim: Claim) => boolean): void {
    for (const [key, { claim }] of this.#entries) if (!holds(claim)) this.#entries.delete(key);
  }
}

function keyOf(item: Item, consumer: string): string {
  return `${consumer} ${sequenceKey(item)}`;
}
