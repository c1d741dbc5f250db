import { VersionConflict } from "../kernel/errors.ts";
import type { EventLog } from "../kernel/event-log.ts";
import { compareText } from "../kernel/index-value.ts";
import type {
  AggregateRef,
  AuditQuery,
  AuditRow,
  Commit,
  CommitPart,
  CommitResult,
  Counter,
  CounterQuery,
  EventQuery,
  FindQuery,
  IdempotencyRecord,
  IdempotencyWrite,
  Outbox,
  OutboxEntry,
  Page,
  Records,
  Scope,
  Store,
  StoredAggregate,
  StoredContext,
  StoredEvent,
} from "../kernel/store.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { InMemoryLog } from "./in-memory-log.ts";
import { InMemoryOutbox } from "./in-memory-outbox.ts";
import { InMemoryRecords } from "./in-memory-records.ts";
import { SortedRows, takePage } from "./sorted-rows.ts";
import { type AggregateRow, type ContextTables, jsonCopy, keyOf, Tables, upsert } from "./tables.ts";

/**
 * The reference adapter: the whole port without I/O, for tests and for trying things out. Everything is lost with the
 * process. What goes in and what comes out is copied, so a caller can never change what is stored.
 */
export class InMemoryStore implements Store {
  readonly #tables = new Tables();
  readonly outbox: Outbox = new InMemoryOutbox(this.#tables);
  readonly log: EventLog = new InMemoryLog(this.#tables);
  readonly records: Records = new InMemoryRecords(this.#tables);

  async migrate(contexts: readonly StoredContext[]): Promise<void> {
    for (const context of contexts) this.#tables.create(context.name);
  }

  async load(scope: Scope, refs: readonly AggregateRef[]): Promise<readonly (StoredAggregate | undefined)[]> {
    const { aggregates } = this.#tables.context(scope.context);
    return refs.map(({ type, id }) => {
      const row = aggregates.get(keyOf(scope.tenant, type))?.get(id);
      return row === undefined ? undefined : toStoredAggregate(row);
    });
  }

  async find(scope: Scope, query: FindQuery): Promise<Page<StoredAggregate>> {
    const { where = {}, range, orderBy, direction = "asc", limit } = query;
    const listing = keyOf("find", query.type, orderBy ?? "", direction);
    const sign = direction === "asc" ? 1 : -1;
    // A row that was stored before the field was declared has no value for it and sorts first.
    const sortKey = (row: AggregateRow): readonly [string, string] => [
      orderBy === undefined ? "" : (row.index[orderBy] ?? ""),
      row.id,
    ];
    const compare = (a: readonly string[], b: readonly string[]) =>
      sign * (compareText(a[0]!, b[0]!) || compareText(a[1]!, b[1]!));
    const after = query.after === undefined ? undefined : decodeCursor(listing, 2, query.after);

    const rows = this.#tables.context(scope.context).aggregates.get(keyOf(scope.tenant, query.type))?.values() ?? [];
    const matching = [...rows].filter((row) => {
      if (!Object.entries(where).every(([field, value]) => row.index[field] === value)) return false;
      if (range !== undefined) {
        const value = row.index[range.field];
        if (value === undefined) return false;
        if (range.gte !== undefined && compareText(value, range.gte) < 0) return false;
        if (range.lt !== undefined && compareText(value, range.lt) >= 0) return false;
      }
      return after === undefined || compare(sortKey(row), after) > 0;
    });
    matching.sort((a, b) => compare(sortKey(a), sortKey(b)));

    const items = matching.slice(0, limit);
    const last = items.at(-1);
    return {
      items: items.map(toStoredAggregate),
      next: matching.length > limit && last !== undefined ? encodeCursor(listing, sortKey(last)) : undefined,
    };
  }

  /** Checks everything, then writes everything; nothing else runs in between. */
  async commit(tenant: string, commit: Commit): Promise<CommitResult> {
    const parts = commit.parts.map((part) => ({ part, tables: this.#tables.context(part.context) }));
    for (const { part } of parts) {
      if (part.inbox === undefined) continue;
      const { consumer, messageId } = part.inbox;
      if (this.#tables.inbox.get(keyOf(tenant, messageId))?.has(consumer)) return { status: "handled-before" };
    }
    for (const { part, tables } of parts) {
      if (part.idempotency === undefined) continue;
      const present = tables.idempotency.get(keyOf(tenant, part.idempotency.key));
      if (!mayWrite(part.idempotency, present)) return { status: "key-taken", record: jsonCopy(present!) };
    }
    for (const { part, tables } of parts)
      for (const { type, id, expectedVersion } of part.aggregates)
        if ((tables.aggregates.get(keyOf(tenant, type))?.get(id)?.version ?? 0) !== expectedVersion)
          throw new VersionConflict({ type, id });

    for (const { part, tables } of parts) this.#write(tenant, part, tables);
    return { status: "committed" };
  }

  async idempotency(scope: Scope, key: string): Promise<IdempotencyRecord | undefined> {
    const record = this.#tables.context(scope.context).idempotency.get(keyOf(scope.tenant, key));
    return record === undefined ? undefined : jsonCopy(record);
  }

  async events(tenant: string, query: EventQuery): Promise<Page<StoredEvent>> {
    const { aggregate, types, direction = "asc", limit } = query;
    const matches = (event: StoredEvent) => types === undefined || types.includes(event.type);
    if (aggregate === undefined) {
      const listing = keyOf("events", direction);
      const after = query.after === undefined ? undefined : decodeCursor(listing, 1, query.after)[0];
      const sources = query.contexts.map((name) => this.#tables.context(name).events.get(tenant));
      return mergedPage(listing, sources, after, direction, limit, matches);
    }

    const listing = keyOf("history", aggregate.type, aggregate.id, direction);
    const versionOf = (event: StoredEvent) => String(event.aggregateVersion).padStart(16, "0");
    const history = new SortedRows<StoredEvent>((event) => versionOf(event));
    for (const name of query.contexts)
      for (const event of this.#tables.context(name).histories.get(keyOf(tenant, aggregate.type, aggregate.id)) ?? [])
        history.set(event);
    const after = query.after === undefined ? undefined : decodeCursor(listing, 1, query.after)[0];
    const page = takePage(history.beyond(after, direction), limit, matches);
    const last = page.items.at(-1);
    return {
      items: page.items.map(jsonCopy),
      next: page.more && last !== undefined ? encodeCursor(listing, [versionOf(last)]) : undefined,
    };
  }

  async audit(tenant: string, query: AuditQuery): Promise<Page<AuditRow>> {
    const { actorId, operation, outcome, since, until, direction = "desc", limit } = query;
    const listing = keyOf("audit", direction);
    const after = query.after === undefined ? undefined : decodeCursor(listing, 1, query.after)[0];
    const sources = query.contexts.map((name) => this.#tables.context(name).audit.get(tenant));
    return mergedPage(
      listing,
      sources,
      after,
      direction,
      limit,
      (row) =>
        (actorId === undefined || row.actor.id === actorId) &&
        (operation === undefined || row.operation === operation) &&
        (outcome === undefined || row.outcome === outcome) &&
        (since === undefined || Date.parse(row.time) >= Date.parse(since)) &&
        (until === undefined || Date.parse(row.time) < Date.parse(until)),
    );
  }

  async counters(scope: Scope, { gte, lt, limit, after }: CounterQuery): Promise<Page<Counter>> {
    const beyond = after === undefined ? undefined : decodeCursor("counters", 1, after)[0];
    const rows = this.#tables.context(scope.context).counters.get(scope.tenant)?.beyond(beyond, "asc") ?? [];
    const page = takePage(rows, limit, ({ key }) => compareText(key, gte) >= 0 && compareText(key, lt) < 0);
    const last = page.items.at(-1);
    return {
      items: page.items.map(jsonCopy),
      next: page.more && last !== undefined ? encodeCursor("counters", [last.key]) : undefined,
    };
  }

  async ping(): Promise<void> {}

  async close(): Promise<void> {}

  #write(tenant: string, part: CommitPart, tables: ContextTables): void {
    for (const { type, id, write } of part.aggregates)
      if (write !== undefined)
        upsert(tables.aggregates, keyOf(tenant, type), () => new Map<string, AggregateRow>()).set(id, {
          type,
          id,
          ...jsonCopy(write),
        });

    for (const each of part.events) {
      const event = jsonCopy(each);
      upsert(tables.events, tenant, () => new SortedRows<StoredEvent>((row) => row.id)).set(event);
      upsert(tables.histories, keyOf(tenant, event.aggregateType, event.aggregateId), () => []).push(event);
      tables.log.push(event);
      this.#enqueue(tables, { kind: "event", event });
    }
    for (const command of part.messages) this.#enqueue(tables, { kind: "command", command: jsonCopy(command) });
    for (const row of part.audit)
      upsert(tables.audit, tenant, () => new SortedRows<AuditRow>((each) => each.id)).set(jsonCopy(row));
    if (part.idempotency !== undefined) {
      const { step, ...record } = part.idempotency;
      tables.idempotency.set(keyOf(tenant, record.key), jsonCopy(record));
    }
    for (const counter of part.counters ?? []) addTo(tables, tenant, counter);
    if (part.inbox !== undefined)
      upsert(this.#tables.inbox, keyOf(tenant, part.inbox.messageId), () => new Set()).add(part.inbox.consumer);
  }

  #enqueue(tables: ContextTables, message: OutboxEntry["message"]): void {
    const position = this.#tables.next();
    tables.outbox.set(position, { position, message, published: false, only: undefined, failures: new Map() });
  }
}

function addTo(tables: ContextTables, tenant: string, { key, numbers }: Counter): void {
  const rows = upsert(tables.counters, tenant, () => new SortedRows<Counter>((row) => row.key));
  const sums = { ...rows.get(key)?.numbers };
  for (const [name, number] of Object.entries(numbers)) sums[name] = (sums[name] ?? 0) + number;
  rows.set({ key, numbers: sums });
}

/** Whether an idempotency record may be written over the present one. */
function mayWrite(write: IdempotencyWrite, present: IdempotencyRecord | undefined): boolean {
  if (present === undefined) {
    if (write.attempt === 1 && write.step !== "release") return true;
    throw new Error(`The idempotency key "${write.key}" was never claimed: there is no attempt to ${write.step}.`);
  }
  if (present.outcome !== undefined) return false;
  return present.attempt === (write.step === "claim" ? write.attempt - 1 : write.attempt);
}

function toStoredAggregate(row: AggregateRow): StoredAggregate {
  const { index, ...stored } = row;
  return jsonCopy(stored);
}

/** One page in the order of ids out of several contexts. */
function mergedPage<T extends { readonly id: string }>(
  listing: string,
  sources: readonly (SortedRows<T> | undefined)[],
  after: string | undefined,
  direction: "asc" | "desc",
  limit: number,
  matches: (row: T) => boolean,
): Page<T> {
  const sign = direction === "asc" ? 1 : -1;
  const rows = sources
    .flatMap((source) =>
      source === undefined ? [] : takePage(source.beyond(after, direction), limit + 1, matches).items,
    )
    .sort((a, b) => sign * compareText(a.id, b.id));
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(jsonCopy),
    next: rows.length > limit && last !== undefined ? encodeCursor(listing, [last.id]) : undefined,
  };
}
