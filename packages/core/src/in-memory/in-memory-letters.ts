import { type DeadLetter, type DeadLetterQuery, headOf, type LetterChange } from "../kernel/outbox.ts";
import type { AggregateRef, Page, Scope } from "../kernel/store.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { takePage } from "./sorted-rows.ts";
import { type ContextTables, keyOf, type OutboxRow, partitionOf, type Tables, upsert } from "./tables.ts";

/** What a consumer is to have again stands before everything that waits. */
const BEFORE_ALL = 2 ** 52;

/** What consumers could not handle, and what is decided about it. */
export class InMemoryLetters {
  readonly #tables: Tables;
  readonly #now: () => number;

  constructor(tables: Tables, now: () => number) {
    this.#tables = tables;
    this.#now = now;
  }

  deadLetters(scope: Scope, { consumer, messageId, limit, after }: DeadLetterQuery): Page<DeadLetter> {
    const behind = after === undefined ? 0 : Number(decodeCursor("dead-letters", 1, after)[0]);
    const rows = [...this.#tables.context(scope.context).parked.values()]
      .flatMap((sequence) => (sequence.replaying ? [] : [...sequence.letters.values()]))
      .sort((a, b) => a.number - b.number);
    const page = takePage(
      rows,
      limit,
      ({ number, letter }) =>
        number > behind &&
        headOf(letter.message).tenant === scope.tenant &&
        (consumer === undefined || letter.consumer === consumer) &&
        (messageId === undefined || headOf(letter.message).id === messageId),
    );
    const last = page.items.at(-1);
    return {
      items: page.items.map((row) => row.letter),
      next: page.more && last !== undefined ? encodeCursor("dead-letters", [String(last.number)]) : undefined,
    };
  }

  /** Whether the decision can be carried out. */
  has({ tenant, context }: Scope, change: LetterChange): boolean {
    if (change.step === "redeliver") return true;
    const { parked } = this.#tables.context(context);
    if (change.step === "retry")
      return parked.get(sequenceKey(tenant, change.consumer, change.sequence))?.replaying === false;
    return this.#letterOf({ tenant, context }, change.consumer, change.messageId) !== undefined;
  }

  change(scope: Scope, change: LetterChange): void {
    const { tenant, context } = scope;
    const tables = this.#tables.context(context);
    if (change.step === "retry") {
      tables.parked.get(sequenceKey(tenant, change.consumer, change.sequence))!.replaying = true;
    } else if (change.step === "skip") {
      const { key, row } = this.#letterOf(scope, change.consumer, change.messageId)!;
      const sequence = tables.parked.get(key)!;
      sequence.letters.delete(row.position);
      if (sequence.letters.size === 0) tables.parked.delete(key);
      forgetParked(tables, row.position, change.consumer);
      upsert(this.#tables.inbox, keyOf(tenant, change.messageId), () => new Map()).set(change.consumer, {
        context,
        handledAt: this.#now(),
      });
    } else this.#redeliver(scope, change.consumer, new Set(change.events));
  }

  #redeliver({ tenant, context }: Scope, consumer: string, ids: ReadonlySet<string>): void {
    const tables = this.#tables.context(context);
    for (const [at, event] of tables.log.entries()) {
      if (event.tenant !== tenant || !ids.has(event.id)) continue;
      const partition = partitionOf(tenant, event.aggregateId);
      const position = at + 1 - BEFORE_ALL;
      const rows = tables.outbox[partition]!;
      const row = rows.get(position);
      if (row !== undefined) row.only?.add(consumer);
      else {
        const message = { kind: "event", event } as const;
        rows.set(position, {
          partition,
          position,
          message,
          published: true,
          only: new Set([consumer]),
          failures: new Map(),
        });
        inOrder(rows);
      }
    }
  }

  #letterOf({ tenant, context }: Scope, consumer: string, messageId: string) {
    for (const [key, { letters, replaying }] of this.#tables.context(context).parked)
      for (const row of replaying ? [] : letters.values()) {
        const head = headOf(row.letter.message);
        if (head.tenant === tenant && head.id === messageId && row.letter.consumer === consumer) return { key, row };
      }
    return undefined;
  }
}

export function sequenceKey(tenant: string, consumer: string, { type, id }: AggregateRef): string {
  return keyOf(tenant, consumer, type, id);
}

/** Carries out the replays in these partitions that were asked for since the last pass over them. */
export function putBack(tables: ContextTables, partitions: ReadonlySet<number>): void {
  const changed = new Set<number>();
  for (const [key, { letters, replaying }] of tables.parked) {
    if (!replaying) continue;
    const [first] = letters.values();
    if (first === undefined || !partitions.has(first.partition)) continue;
    tables.parked.delete(key);
    for (const { partition, position, letter } of letters.values()) {
      forgetParked(tables, position, letter.consumer);
      const row = tables.outbox[partition]!.get(position);
      if (row !== undefined) {
        row.only?.add(letter.consumer);
        continue;
      }
      const { message } = letter;
      const only = new Set([letter.consumer]);
      tables.outbox[partition]!.set(position, {
        partition,
        position,
        message,
        published: true,
        only,
        failures: new Map(),
      });
      changed.add(partition);
    }
  }
  for (const partition of changed) inOrder(tables.outbox[partition]!);
}

function forgetParked(tables: ContextTables, position: number, consumer: string): void {
  const consumers = tables.parkedAt.get(position);
  consumers?.delete(consumer);
  if (consumers?.size === 0) tables.parkedAt.delete(position);
}

function inOrder(rows: Map<number, OutboxRow>): void {
  const ordered = [...rows].sort(([a], [b]) => a - b);
  rows.clear();
  for (const [position, row] of ordered) rows.set(position, row);
}
