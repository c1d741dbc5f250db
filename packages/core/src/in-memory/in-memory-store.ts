import { type Clock, systemClock } from "../kernel/clock.ts";
import { VersionConflict } from "../kernel/errors.ts";
import type { EventLog } from "../kernel/event-log.ts";
import type { Executions, JournalEntry, StoredExecution } from "../kernel/executions.ts";
import { compareText } from "../kernel/index-value.ts";
import { frozenCopy, jsonCopy } from "../kernel/json-copy.ts";
import type { DeadLetter, DeadLetterQuery, Outbox } from "../kernel/outbox.ts";
import type { ProjectionStore } from "../kernel/projection-store.ts";
import type { PruneQuery } from "../kernel/retention.ts";
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
  Page,
  Records,
  RowQuery,
  Scope,
  Store,
  StoredAggregate,
  StoredContext,
  StoredEvent,
  StoredRow,
} from "../kernel/store.ts";
import type { ScheduledQuery, Timer, Timers } from "../kernel/timers.ts";
import { type AggregateRow, AggregateTable } from "./aggregate-table.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { foundPage } from "./found-page.ts";
import { InMemoryExecutions } from "./in-memory-executions.ts";
import { InMemoryLetters } from "./in-memory-letters.ts";
import { InMemoryLog } from "./in-memory-log.ts";
import { InMemoryOutbox } from "./in-memory-outbox.ts";
import { InMemoryProjections } from "./in-memory-projections.ts";
import { InMemoryRecords } from "./in-memory-records.ts";
import { InMemoryTimers } from "./in-memory-timers.ts";
import { prune } from "./prune.ts";
import { SortedRows, takePage } from "./sorted-rows.ts";
import { type ContextTables, enqueue, keyOf, Tables, upsert } from "./tables.ts";

/**
 * The reference adapter: the whole port without I/O, for tests and for trying things out. Everything is lost with the
 * process. What goes in is copied and frozen, so a caller can never change what is stored.
 */
export class InMemoryStore implements Store {
  readonly #tables = new Tables();
  readonly #clock: Clock;
  readonly outbox: Outbox = new InMemoryOutbox(this.#tables);
  readonly #letters = new InMemoryLetters(this.#tables, () => this.#clock.now());
  readonly #timers = new InMemoryTimers(this.#tables);
  readonly timers: Timers = this.#timers;
  readonly #executions = new InMemoryExecutions(this.#tables, () => this.#clock.now());
  readonly executions: Executions = this.#executions;
  readonly log: EventLog = new InMemoryLog(this.#tables);
  readonly projections: ProjectionStore = new InMemoryProjections(this.#tables);
  readonly records: Records = new InMemoryRecords(this.#tables);

  constructor(clock: Clock = systemClock()) {
    this.#clock = clock;
  }

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
    const table = this.#tables.context(scope.context).aggregates.get(keyOf(scope.tenant, query.type));
    const { items, next } = foundPage(table?.candidates(query.where ?? {}) ?? [], keyOf("find", query.type), query);
    return { items: items.map(toStoredAggregate), next };
  }

  async rows(scope: Scope, query: RowQuery): Promise<Page<StoredRow> | undefined> {
    const rows = this.#tables.context(scope.context).projections.get(query.projection)?.served(scope.tenant);
    if (rows === undefined) return undefined;
    const { items, next } = foundPage(rows.values(), keyOf("rows", query.projection), query);
    return { items: items.map(({ id, row }) => jsonCopy({ id, row })), next };
  }

  async row(scope: Scope, projection: string, id: string) {
    const rows = this.#tables.context(scope.context).projections.get(projection)?.served(scope.tenant);
    if (rows === undefined) return undefined;
    const found = rows.get(id);
    return found === undefined ? {} : { row: jsonCopy(found.row) };
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
      const present = tables.idempotency.get(keyOf(tenant, part.idempotency.key))?.record;
      if (!mayWrite(part.idempotency, present)) return { status: "key-taken", record: present! };
    }
    for (const { part, tables } of parts)
      for (const { type, id, expectedVersion } of part.aggregates)
        if ((tables.aggregates.get(keyOf(tenant, type))?.get(id)?.version ?? 0) !== expectedVersion)
          throw new VersionConflict({ type, id });

    for (const { part } of parts)
      for (const change of part.letters ?? [])
        if (!this.#letters.has({ tenant, context: part.context }, change))
          throw new VersionConflict({ type: "dead letter", id: change.consumer });
    for (const { part } of parts)
      for (const change of part.timers ?? [])
        if (!this.#timers.has(part.context, tenant, change))
          throw new VersionConflict({ type: "timer", id: change.step === "set" ? change.timer.key : change.key });

    for (const { part } of parts)
      for (const change of part.executions ?? [])
        if (!this.#executions.may({ tenant, context: part.context }, change)) return { status: "execution-lost" };

    for (const { part, tables } of parts) this.#write(tenant, part, tables);
    return { status: "committed" };
  }

  async idempotency(scope: Scope, key: string): Promise<IdempotencyRecord | undefined> {
    const row = this.#tables.context(scope.context).idempotency.get(keyOf(scope.tenant, key));
    return row?.record;
  }

  async events(tenant: string, query: EventQuery): Promise<Page<StoredEvent>> {
    const { aggregate, types, direction = "asc", limit } = query;
    const matches = (event: StoredEvent) => types === undefined || types.includes(event.type);
    if (aggregate === undefined) {
      const listing = keyOf("events", direction);
      const after = query.after === undefined ? query.above : decodeCursor(listing, 1, query.after)[0];
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
      items: page.items,
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

  async deadLetters(scope: Scope, query: DeadLetterQuery): Promise<Page<DeadLetter>> {
    return this.#letters.deadLetters(scope, query);
  }

  async counters(scope: Scope, { gte, lt, limit, after }: CounterQuery): Promise<Page<Counter>> {
    const beyond = after === undefined ? undefined : decodeCursor("counters", 1, after)[0];
    const rows = this.#tables.context(scope.context).counters.get(scope.tenant)?.beyond(beyond, "asc") ?? [];
    const page = takePage(rows, limit, ({ key }) => compareText(key, gte) >= 0 && compareText(key, lt) < 0);
    const last = page.items.at(-1);
    return {
      items: page.items,
      next: page.more && last !== undefined ? encodeCursor("counters", [last.key]) : undefined,
    };
  }

  async scheduled(tenant: string, query: ScheduledQuery): Promise<Page<Timer>> {
    return this.#timers.list(tenant, query);
  }

  async execution(scope: Scope, id: string): Promise<StoredExecution | undefined> {
    return this.#executions.execution(scope, id);
  }

  async journal(...asked: Parameters<Store["journal"]>): Promise<Page<JournalEntry>> {
    return this.#executions.journal(...asked);
  }

  async prune(context: string, query: PruneQuery): Promise<number> {
    return prune(this.#tables, context, query, this.#clock.now());
  }

  async ping(): Promise<void> {}

  async close(): Promise<void> {}

  #write(tenant: string, part: CommitPart, tables: ContextTables): void {
    for (const { type, id, write } of part.aggregates)
      if (write !== undefined)
        upsert(tables.aggregates, keyOf(tenant, type), () => new AggregateTable()).set(
          frozenCopy({ type, id, ...write }),
        );

    for (const each of part.events) {
      const event = frozenCopy(each);
      upsert(tables.events, tenant, () => new SortedRows<StoredEvent>((row) => row.id)).set(event);
      upsert(tables.histories, keyOf(tenant, event.aggregateType, event.aggregateId), () => []).push(event);
      tables.log.push(event);
      enqueue(this.#tables, tables, { kind: "event", event });
    }
    for (const command of part.messages)
      enqueue(this.#tables, tables, { kind: "command", command: frozenCopy(command) });
    for (const change of part.timers ?? []) this.#timers.change(part.context, tenant, change);
    for (const change of part.letters ?? []) this.#letters.change({ tenant, context: part.context }, change);
    for (const change of part.executions ?? []) this.#executions.change({ tenant, context: part.context }, change);
    for (const row of part.audit)
      upsert(tables.audit, tenant, () => new SortedRows<AuditRow>((each) => each.id)).set(frozenCopy(row));
    if (part.idempotency !== undefined) {
      const { step, ...record } = part.idempotency;
      const place = keyOf(tenant, record.key);
      const createdAt = tables.idempotency.get(place)?.createdAt ?? this.#clock.now();
      tables.idempotency.set(place, { record: frozenCopy(record), createdAt });
    }
    for (const counter of part.counters ?? []) addTo(tables, tenant, counter);
    if (part.inbox !== undefined)
      upsert(this.#tables.inbox, keyOf(tenant, part.inbox.messageId), () => new Map()).set(part.inbox.consumer, {
        context: part.context,
        handledAt: this.#clock.now(),
      });
  }
}

function addTo(tables: ContextTables, tenant: string, { key, numbers }: Counter): void {
  const rows = upsert(tables.counters, tenant, () => new SortedRows<Counter>((row) => row.key));
  const sums = { ...rows.get(key)?.numbers };
  for (const [name, number] of Object.entries(numbers)) sums[name] = (sums[name] ?? 0) + number;
  rows.set(frozenCopy({ key, numbers: sums }));
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
  const { type, id, version, stateVersion, state } = row;
  return { type, id, version, stateVersion, state };
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
    items,
    next: rows.length > limit && last !== undefined ? encodeCursor(listing, [last.id]) : undefined,
  };
}
