import { type DeadLetter, headOf, type Message, PARTITIONS } from "../kernel/outbox.ts";
import type { AuditRow, Counter, IdempotencyRecord, StoredEvent, StoredRecord } from "../kernel/store.ts";
import type { Timer } from "../kernel/timers.ts";
import type { AggregateTable } from "./aggregate-table.ts";
import { ExecutionTable } from "./execution-table.ts";
import type { ProjectionTable } from "./projection-table.ts";
import type { SortedRows } from "./sorted-rows.ts";

export interface OutboxRow {
  readonly partition: number;
  readonly position: number;
  readonly message: Message;
  published: boolean;
  /** Set when a replay brought the row back: nobody else sees it. */
  readonly only: Set<string> | undefined;
  readonly failures: Map<string, { readonly attempts: number; readonly nextAt: number }>;
}

export interface LetterRow {
  /** Order of parking. */
  readonly number: number;
  readonly partition: number;
  /** Where the event stood in the outbox, so that a replay puts it back in front of later ones. */
  readonly position: number;
  readonly letter: DeadLetter;
}

/** Messages parked for one consumer and sequence, by position. */
export interface ParkedSequence {
  readonly letters: Map<number, LetterRow>;
  /** A replay was asked for; the next read from the start puts the events back. */
  replaying: boolean;
}

/** A record, and when its key was first used. */
export interface IdempotencyRow {
  readonly record: IdempotencyRecord;
  readonly createdAt: number;
}

/** That a consumer of a context has handled a message. */
export interface InboxRow {
  readonly context: string;
  readonly handledAt: number;
}

export interface PartitionClaim {
  member: string;
  fence: number;
  until: number;
}

/** What one context owns: the counterpart of a PostgreSQL schema. Keys start with the tenant. */
export class ContextTables {
  /** By tenant and type. */
  readonly aggregates = new Map<string, AggregateTable>();
  /** By tenant, in the order of ids. */
  readonly events = new Map<string, SortedRows<StoredEvent>>();
  /** All of them in the order of their commits: the one at index 0 has position 1. */
  readonly log: StoredEvent[] = [];
  /** By tenant, type and id, in the order of versions. */
  readonly histories = new Map<string, StoredEvent[]>();
  readonly audit = new Map<string, SortedRows<AuditRow>>();
  /** By tenant and key. */
  readonly idempotency = new Map<string, IdempotencyRow>();
  readonly records = new Map<string, Map<string, StoredRecord>>();
  /** By tenant, in the order of keys. */
  readonly counters = new Map<string, SortedRows<Counter>>();
  readonly projections = new Map<string, ProjectionTable>();
  /** By tenant and key. */
  readonly timers = new Map<string, Timer>();
  /** By tenant and id. */
  readonly executions = new ExecutionTable();
  /** Until when each worker of executions counts as alive. */
  readonly workers = new Map<string, number>();
  /** By partition, then by position in that order. */
  readonly outbox: readonly Map<number, OutboxRow>[] = Array.from({ length: PARTITIONS }, () => new Map());
  readonly claims: PartitionClaim[] = Array.from({ length: PARTITIONS }, () => ({ member: "", fence: 0, until: 0 }));
  /** Until when each relay that takes part counts as alive. */
  readonly members = new Map<string, number>();
  /** By tenant, consumer, type and id. */
  readonly parked = new Map<string, ParkedSequence>();
  /** Consumers for which the message at a position is parked. */
  readonly parkedAt = new Map<number, Set<string>>();
}

/** All contexts of one store. */
export class Tables {
  readonly #contexts = new Map<string, ContextTables>();
  /** Consumers that have handled a message, by tenant and message id: over all contexts, as a relay asks. */
  readonly inbox = new Map<string, Map<string, InboxRow>>();
  #lastNumber = 0;

  /** The next of ever growing numbers, as `bigserial` gives them. */
  next(): number {
    this.#lastNumber += 1;
    return this.#lastNumber;
  }

  create(context: string): void {
    if (!this.#contexts.has(context)) this.#contexts.set(context, new ContextTables());
  }

  get all(): readonly ContextTables[] {
    return [...this.#contexts.values()];
  }

  context(name: string): ContextTables {
    const tables = this.#contexts.get(name);
    if (tables === undefined)
      throw new Error(`The store has nothing for the context "${name}" yet: it was not given to migrate().`);
    return tables;
  }
}

/** Puts a message into a context's outbox. */
export function enqueue(all: Tables, tables: ContextTables, given: Message): void {
  const message = Object.freeze(given);
  const position = all.next();
  const { tenant, id } = headOf(message);
  const partition = partitionOf(tenant, message.kind === "event" ? message.event.aggregateId : id);
  const row = { partition, position, message, published: false, only: undefined, failures: new Map() };
  tables.outbox[partition]!.set(position, row);
}

// FNV-1a: any spread will do, as long as it is always the same.
export function partitionOf(...parts: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts)
    for (let at = 0; at < part.length; at += 1) hash = Math.imul(hash ^ part.charCodeAt(at), 0x01000193);
  return (hash >>> 0) % PARTITIONS;
}

/** Joins parts to one key. What is stored holds no NUL character, so keys of different parts never meet. */
export function keyOf(...parts: readonly string[]): string {
  return parts.join("\u0000");
}

/** The map's value, made when it is missing. */
export function upsert<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
