import type { AggregateRef, DeadLetter, Outbox, OutboxEntry, Page, Scope } from "../kernel/store.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { takePage } from "./sorted-rows.ts";
import { type ContextTables, jsonCopy, keyOf, type OutboxRow, type Tables, upsert } from "./tables.ts";

/** Messages that wait, by position, and the events that consumers could not handle. */
export class InMemoryOutbox implements Outbox {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async read(
    context: string,
    query: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<readonly OutboxEntry[]> {
    const tables = this.#tables.context(context);
    if (query.after === undefined) putBack(tables);
    const after = query.after === undefined ? 0 : Number(query.after);
    const entries: OutboxEntry[] = [];
    for (const row of tables.outbox.values()) {
      if (entries.length === query.limit) break;
      if (row.position > after) entries.push(this.#toEntry(tables, row));
    }
    return entries;
  }

  async published(context: string, positions: readonly string[]): Promise<void> {
    const { outbox } = this.#tables.context(context);
    for (const position of positions) {
      const row = outbox.get(Number(position));
      if (row !== undefined) row.published = true;
    }
  }

  async failed(
    context: string,
    failure: {
      readonly position: string;
      readonly consumer: string;
      readonly attempts: number;
      readonly nextAt: number;
    },
  ): Promise<void> {
    const { position, consumer, attempts, nextAt } = failure;
    this.#tables.context(context).outbox.get(Number(position))?.failures.set(consumer, { attempts, nextAt });
  }

  async park(context: string, position: string, letter: DeadLetter): Promise<void> {
    const tables = this.#tables.context(context);
    const { event, consumer } = letter;
    const key = sequenceKey(event.tenant, consumer, { type: event.aggregateType, id: event.aggregateId });
    const sequence = upsert(tables.parked, key, () => ({ letters: new Map(), replaying: false }));
    const at = Number(position);
    if (!sequence.letters.has(at))
      sequence.letters.set(at, { number: this.#tables.next(), position: at, letter: jsonCopy(letter) });
    upsert(tables.parkedAt, at, () => new Set<string>()).add(consumer);
    // A replay starts to count afresh.
    tables.outbox.get(at)?.failures.delete(consumer);
  }

  async parked(context: string, tenant: string, consumer: string, aggregate: AggregateRef): Promise<boolean> {
    return this.#tables.context(context).parked.has(sequenceKey(tenant, consumer, aggregate));
  }

  async remove(context: string, positions: readonly string[]): Promise<void> {
    const { outbox } = this.#tables.context(context);
    for (const position of positions) outbox.delete(Number(position));
  }

  async size(context: string): Promise<number> {
    return this.#tables.context(context).outbox.size;
  }

  async deadLetters(
    scope: Scope,
    query: { readonly consumer?: string | undefined; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<DeadLetter>> {
    const after = query.after === undefined ? 0 : Number(decodeCursor("dead-letters", 1, query.after)[0]);
    const rows = [...this.#tables.context(scope.context).parked.values()]
      .flatMap((sequence) => (sequence.replaying ? [] : [...sequence.letters.values()]))
      .sort((a, b) => a.number - b.number);
    const page = takePage(
      rows,
      query.limit,
      ({ number, letter }) =>
        number > after &&
        letter.event.tenant === scope.tenant &&
        (query.consumer === undefined || letter.consumer === query.consumer),
    );
    const last = page.items.at(-1);
    return {
      items: page.items.map((row) => jsonCopy(row.letter)),
      next: page.more && last !== undefined ? encodeCursor("dead-letters", [String(last.number)]) : undefined,
    };
  }

  async replay(scope: Scope, consumer: string, aggregate: AggregateRef): Promise<number> {
    const sequence = this.#tables.context(scope.context).parked.get(sequenceKey(scope.tenant, consumer, aggregate));
    if (sequence === undefined || sequence.replaying) return 0;
    sequence.replaying = true;
    return sequence.letters.size;
  }

  #toEntry(tables: ContextTables, row: OutboxRow): OutboxEntry {
    const { message } = row;
    const { id, tenant } = message.kind === "event" ? message.event : message.command;
    const done = new Set([
      ...(this.#tables.inbox.get(keyOf(tenant, id)) ?? []),
      ...(tables.parkedAt.get(row.position) ?? []),
    ]);
    return {
      position: String(row.position),
      message: jsonCopy(message),
      published: row.published,
      done: [...done],
      failures: [...row.failures].map(([consumer, failure]) => ({ consumer, ...failure })),
      ...(row.only === undefined ? {} : { only: [...row.only] }),
    };
  }
}

function sequenceKey(tenant: string, consumer: string, aggregate: AggregateRef): string {
  return keyOf(tenant, consumer, aggregate.type, aggregate.id);
}

/** Carries out the replays that were asked for since the last pass over the outbox. */
function putBack(tables: ContextTables): void {
  let added = false;
  for (const [key, { letters, replaying }] of tables.parked) {
    if (!replaying) continue;
    tables.parked.delete(key);
    for (const { position, letter } of letters.values()) {
      const consumers = tables.parkedAt.get(position);
      consumers?.delete(letter.consumer);
      if (consumers?.size === 0) tables.parkedAt.delete(position);
      const row = tables.outbox.get(position);
      if (row !== undefined) {
        row.only?.add(letter.consumer);
        continue;
      }
      tables.outbox.set(position, {
        position,
        message: { kind: "event", event: letter.event },
        published: true,
        only: new Set([letter.consumer]),
        failures: new Map(),
      });
      added = true;
    }
  }
  if (!added) return;
  const ordered = [...tables.outbox].sort(([a], [b]) => a - b);
  tables.outbox.clear();
  for (const [position, row] of ordered) tables.outbox.set(position, row);
}
