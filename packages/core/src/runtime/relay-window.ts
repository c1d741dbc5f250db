import { type Claim, type EntryRef, headOf, type OutboxEntry, sequenceOf } from "../kernel/outbox.ts";

/** An entry that is being worked on. */
export interface Item extends EntryRef {
  readonly entry: OutboxEntry;
  readonly claim: Claim;
  /** The bus has it. */
  published: boolean;
}

/** Entries of one sequence that are worked on one after the other. */
export interface Chain {
  readonly key: string;
  readonly queue: Item[];
  /** Consumers that get nothing more from this chain: an earlier entry has to come first. */
  readonly blocked: Set<string>;
  /** Consumers for which an entry of this chain was parked: later ones go behind it. */
  readonly parked: Set<string>;
}

/** What one relay has read and not done with yet, with its order; and what is done but not yet settled in the store. */
export class RelayWindow {
  readonly #items = new Map<string, Item>();
  readonly #chains = new Map<string, Chain>();
  readonly #finished = new Map<string, Item>();
  readonly #unmarked = new Map<string, Item>();

  /** Entries that are worked on. */
  get size(): number {
    return this.#items.size;
  }

  /** Entries that wait to be settled. */
  get unsettled(): number {
    return this.#finished.size + this.#unmarked.size;
  }

  /** Partitions with entries that are worked on. */
  get busy(): ReadonlySet<number> {
    return new Set([...this.#items.values()].map(({ partition }) => partition));
  }

  /** The entry, when it is worked on or done already. */
  known(position: string): Item | undefined {
    return this.#items.get(position) ?? this.#finished.get(position);
  }

  /** Adds an entry behind others of its sequence; the chain, when it is a new one that has to be run. */
  add(item: Item, key: string, parked: Iterable<string>): Chain | undefined {
    this.#items.set(item.position, item);
    const present = this.#chains.get(key);
    if (present !== undefined) {
      present.queue.push(item);
      return undefined;
    }
    const chain: Chain = { key, queue: [item], blocked: new Set(), parked: new Set(parked) };
    this.#chains.set(key, chain);
    return chain;
  }

  /** The chain's first entry was worked on; `done` when nothing of it is left to do. */
  next(chain: Chain, done: boolean): void {
    const item = chain.queue.shift()!;
    this.#items.delete(item.position);
    if (done) this.finish(item);
    if (chain.queue.length === 0) this.#chains.delete(chain.key);
  }

  /** What is left of the chain is left to others. */
  drop(chain: Chain): void {
    for (const { position } of chain.queue.splice(0)) this.#items.delete(position);
    this.#chains.delete(chain.key);
  }

  finish(item: Item): void {
    this.#unmarked.delete(item.position);
    this.#finished.set(item.position, item);
  }

  /** The bus has it, which the store does not know yet; what is done already the store need not know. */
  mark(item: Item): void {
    if (!this.#finished.has(item.position)) this.#unmarked.set(item.position, item);
  }

  /** Takes what is to be settled. Until `settled`, the entries stay known. */
  takeUnsettled(): { readonly finished: readonly Item[]; readonly published: readonly Item[] } {
    const taken = { finished: [...this.#finished.values()], published: [...this.#unmarked.values()] };
    this.#unmarked.clear();
    return taken;
  }

  settled(finished: readonly Item[]): void {
    for (const { position } of finished) this.#finished.delete(position);
  }
}

/** What is delivered in order has the same key. */
export function sequenceKey({ entry: { message } }: Item): string {
  const { tenant } = headOf(message);
  const { type, id } = sequenceOf(message);
  return `${tenant} ${type}/${id}`;
}
