import type { Instant } from "./clock.ts";
import type { ErrorRecord } from "./errors.ts";
import type { EventLog } from "./event-log.ts";
import type { Actor, Party } from "./principal.ts";
import type { JsonObject } from "./schema.ts";
import type { StoredEvent } from "./stored-event.ts";

export type { StoredEvent } from "./stored-event.ts";

/**
 * The port that loads and commits what contexts own. Every call names the tenant; an adapter must make it impossible
 * to see another tenant's rows (on PostgreSQL: forced row-level security).
 *
 * All data that crosses it is JSON without NUL characters or lone surrogates: the runtime has checked that.
 */
export interface Store {
  /** Creates or upgrades what the contexts need; without effect when nothing is missing. Safe to run concurrently. */
  migrate(contexts: readonly StoredContext[]): Promise<void>;

  /** Loads aggregates in one round trip, in the order asked; undefined where none exists in this tenant. */
  load(scope: Scope, refs: readonly AggregateRef[]): Promise<readonly (StoredAggregate | undefined)[]>;

  /** Aggregates of one type by their index fields, in a stable order, a page at a time. */
  find(scope: Scope, query: FindQuery): Promise<Page<StoredAggregate>>;

  /**
   * Writes everything or nothing, in one round trip, over one or several contexts.
   *
   * @throws {VersionConflict} when a loaded aggregate's version is not the expected one (nothing is written)
   */
  commit(tenant: string, commit: Commit): Promise<CommitResult>;

  /** The record of an idempotency key, if there is one. */
  idempotency(scope: Scope, key: string): Promise<IdempotencyRecord | undefined>;

  /** A tenant's events over the given contexts: one aggregate's history by version, or the timeline by event id. */
  events(tenant: string, query: EventQuery): Promise<Page<StoredEvent>>;

  /** A tenant's audit rows over the given contexts by id, newest first unless asked otherwise. */
  audit(tenant: string, query: AuditQuery): Promise<Page<AuditRow>>;

  /** What counters have come to, by their keys in code-point order, a page at a time. */
  counters(scope: Scope, query: CounterQuery): Promise<Page<Counter>>;

  /** Events and sent commands that wait to be published. For the relay only: it sees every tenant. */
  readonly outbox: Outbox;

  /** Follows what was committed, without gaps. For the runtime only: it sees every tenant. */
  readonly log: EventLog;

  /** Single values with compare-and-set, beside the commit: what sealed secrets are kept in. */
  readonly records: Records;

  /** Whether the store can be reached and answers; throws when not. */
  ping(): Promise<void>;

  /** Releases what the adapter itself opened. */
  close(): Promise<void>;
}

/** A context as far as a store needs to know it. */
export interface StoredContext {
  /** Also the name of its PostgreSQL schema. */
  readonly name: string;
  readonly aggregates: readonly { readonly type: string; readonly index: readonly string[] }[];
}

/** Which tenant's rows of which context. */
export interface Scope {
  readonly tenant: string;
  readonly context: string;
}

export interface AggregateRef {
  readonly type: string;
  readonly id: string;
}

export interface StoredAggregate extends AggregateRef {
  /** Number of events so far; 0 means that it does not exist yet. */
  readonly version: number;
  readonly stateVersion: number;
  readonly state: JsonObject;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque; pass it as `after` to get the next page. Absent on the last page. */
  readonly next?: string | undefined;
}

export interface FindQuery {
  readonly type: string;
  /** Index fields that must hold exactly these encoded values. */
  readonly where?: Readonly<Record<string, string>> | undefined;
  /** One index field that must lie within encoded bounds: `gte` inclusive, `lt` exclusive. */
  readonly range?:
    | { readonly field: string; readonly gte?: string | undefined; readonly lt?: string | undefined }
    | undefined;
  /**
   * Index field to order by, ties by id; without it by id. Ids of one process sort by age. A row that was stored before
   * the field was declared sorts as the empty text.
   */
  readonly orderBy?: string | undefined;
  readonly direction?: "asc" | "desc" | undefined;
  readonly limit: number;
  /** A page's `next`. A cursor that this adapter did not make is an `InvalidInput`. */
  readonly after?: string | undefined;
}

/** Everything that one command changes. */
export interface Commit {
  readonly parts: readonly CommitPart[];
}

/** One context's share of a commit. */
export interface CommitPart {
  readonly context: string;
  /** Every aggregate that was loaded or made: its version is checked; those with a state are written. */
  readonly aggregates: readonly AggregateChange[];
  /** In the order of their versions. Each also goes to the outbox. */
  readonly events: readonly StoredEvent[];
  readonly messages: readonly SentCommand[];
  readonly audit: readonly AuditRow[];
  /** Records the outcome of a call under its key. */
  readonly idempotency?: IdempotencyWrite | undefined;
  /** Marks the message as handled by the consumer; the commit is skipped when it is marked already. */
  readonly inbox?: { readonly consumer: string; readonly messageId: string } | undefined;
  /**
   * Numbers that are added to what their counters hold. They check nothing and get into nobody's way: commits that add
   * to one counter at the same time need not wait for each other.
   */
  readonly counters?: readonly Counter[] | undefined;
}

/** Whole numbers under a key of at most 512 characters: what is added, or what it has come to. */
export interface Counter {
  /** `usage/2026-11-21/con_01k…/10/listContacts` */
  readonly key: string;
  /** By name; one that was never added to is absent. */
  readonly numbers: Readonly<Record<string, number>>;
}

export interface CounterQuery {
  /** Keys from here on. */
  readonly gte: string;
  /** Keys before this one. */
  readonly lt: string;
  readonly limit: number;
  /** A page's `next`. */
  readonly after?: string | undefined;
}

export interface AggregateChange extends AggregateRef {
  /** The version that was loaded; 0 when made new. */
  readonly expectedVersion: number;
  /** Absent when it was only read. */
  readonly write?: {
    readonly version: number;
    readonly stateVersion: number;
    readonly state: JsonObject;
    /** Index fields as `encodeIndexValue` wrote them. */
    readonly index: Readonly<Record<string, string>>;
  };
}

export type CommitResult =
  | { readonly status: "committed" }
  /** The idempotency key holds another record: nothing was written. */
  | { readonly status: "key-taken"; readonly record: IdempotencyRecord }
  /** The consumer has handled this message before: nothing was written. */
  | { readonly status: "handled-before" };

/** A command sent through the outbox, to be run once. */
export interface SentCommand {
  readonly id: string;
  readonly tenant: string;
  /** The sender's context. */
  readonly context: string;
  /** `notifications.deliver` */
  readonly operation: string;
  readonly input: JsonObject;
  readonly time: Instant;
  readonly actor: Actor;
  readonly onBehalfOf?: Party | undefined;
  readonly limitedTo?: readonly string[] | undefined;
  readonly credential?: string | undefined;
  readonly correlationId: string;
  readonly causationId: string;
  readonly traceparent: string;
}

export interface EventQuery {
  readonly contexts: readonly string[];
  readonly aggregate?: AggregateRef | undefined;
  readonly types?: readonly string[] | undefined;
  readonly direction?: "asc" | "desc" | undefined;
  readonly limit: number;
  readonly after?: string | undefined;
}

/** One row for every command and action: who, on whose behalf, what, outcome, trace. */
export interface AuditRow {
  readonly id: string;
  readonly tenant: string;
  readonly context: string;
  readonly time: Instant;
  readonly actor: Actor;
  readonly onBehalfOf?: Party | undefined;
  /** Id of what the caller proved itself with, `key_01k…`. */
  readonly credential?: string | undefined;
  /** `connectors.invoke` */
  readonly operation: string;
  /** The aggregate or thing it was about, where the input names one. */
  readonly target?: string | undefined;
  readonly outcome: "succeeded" | "refused" | "failed";
  /** The error's code, when it did not succeed. */
  readonly errorCode?: string | undefined;
  /** The input with everything sensitive replaced. */
  readonly input: JsonObject;
  readonly correlationId: string;
  readonly traceId: string;
}

export interface AuditQuery {
  readonly contexts: readonly string[];
  readonly actorId?: string | undefined;
  readonly operation?: string | undefined;
  readonly outcome?: AuditRow["outcome"] | undefined;
  /** Inclusive lower and exclusive upper bound of the row's time. */
  readonly since?: Instant | undefined;
  readonly until?: Instant | undefined;
  /** `desc` when absent. */
  readonly direction?: "asc" | "desc" | undefined;
  readonly limit: number;
  readonly after?: string | undefined;
}

/** What a call with an idempotency key came to. */
export type Outcome =
  | { readonly type: "result"; readonly value?: unknown }
  /** Done, but the result held a secret and is not kept. */
  | { readonly type: "result-not-kept" }
  | { readonly type: "error"; readonly error: ErrorRecord };

export interface IdempotencyRecord {
  readonly key: string;
  /** Hash of the input. */
  readonly inputHash: string;
  /** How often the call was begun. Only an action can have more than one. */
  readonly attempt: number;
  /** Absent while the call is under way, or was cut off. */
  readonly outcome?: Outcome | undefined;
  /** After this time a call without outcome counts as cut off. Milliseconds. */
  readonly claimedUntil: number;
}

/**
 * Three ways to write a record. `claim` begins an attempt of an action: attempt 1 needs that no record exists, attempt
 * N that the record is at N-1 without an outcome. `release` ends an attempt without an outcome, by setting
 * `claimedUntil`; `settle` ends it with one. Both need the same attempt without an outcome (for `settle` of attempt 1
 * the record need not exist: that is how a command records its result). Anything else is `key-taken`.
 */
export type IdempotencyWrite = {
  readonly key: string;
  readonly inputHash: string;
  readonly attempt: number;
  readonly claimedUntil: number;
} & ({ readonly step: "claim" | "release" } | { readonly step: "settle"; readonly outcome: Outcome });

/** A row of the outbox. */
export interface OutboxEntry {
  readonly position: string;
  readonly message:
    | { readonly kind: "event"; readonly event: StoredEvent }
    | { readonly kind: "command"; readonly command: SentCommand };
  /** Whether the bus has acknowledged it. */
  readonly published: boolean;
  /**
   * Consumers that are done with it: they have handled it (an inbox row in whichever context is theirs) or parked it.
   */
  readonly done: readonly string[];
  /** Set when a replay brought the entry back: it is for these consumers only, everybody else counts as done. */
  readonly only?: readonly string[] | undefined;
  /** Failed deliveries by consumer. */
  readonly failures: readonly { readonly consumer: string; readonly attempts: number; readonly nextAt: number }[];
}

/** An event that a consumer could not handle, kept until somebody looks. */
export interface DeadLetter {
  readonly context: string;
  readonly consumer: string;
  readonly event: StoredEvent;
  /** Why it was parked: its own error, or that an earlier event of the same aggregate is parked. */
  readonly reason: string;
  readonly attempts: number;
  readonly time: Instant;
}

/** What the relay does with waiting messages. Positions of one aggregate's events are in the order of its versions. */
export interface Outbox {
  /**
   * Entries of one context with a position above `after`, in order of position. A pass over the outbox starts without
   * `after`; replays that were asked for take effect then.
   */
  read(
    context: string,
    query: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<readonly OutboxEntry[]>;
  /** The bus has acknowledged these. */
  published(context: string, positions: readonly string[]): Promise<void>;
  /** A delivery failed and is to be tried again at `nextAt` (milliseconds). */
  failed(
    context: string,
    failure: {
      readonly position: string;
      readonly consumer: string;
      readonly attempts: number;
      readonly nextAt: number;
    },
  ): Promise<void>;
  /**
   * Parks an event for one consumer: from now on the consumer is done with it, and its failures are forgotten. Without
   * effect when it is parked already.
   */
  park(context: string, position: string, letter: DeadLetter): Promise<void>;
  /** Whether events of the aggregate are parked for the consumer: later ones must be parked too. */
  parked(context: string, tenant: string, consumer: string, aggregate: AggregateRef): Promise<boolean>;
  /** Everything is done for these entries. */
  remove(context: string, positions: readonly string[]): Promise<void>;
  /** How many entries wait. */
  size(context: string): Promise<number>;
  /** Parked events of one tenant, oldest first. */
  deadLetters(
    scope: Scope,
    query: { readonly consumer?: string | undefined; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<DeadLetter>>;
  /**
   * Puts the consumer's parked events of one aggregate back to be delivered again: at their old positions, so before
   * later events of the aggregate that still wait. An entry that had gone comes back as published and for this
   * consumer `only`. It takes effect with the next `read` without `after`; until then the aggregate stays parked, so
   * that a relay in the middle of a pass cannot deliver a later event first.
   *
   * @returns how many
   */
  replay(scope: Scope, consumer: string, aggregate: AggregateRef): Promise<number>;
}

/** A single JSON value with a version. */
export interface StoredRecord {
  readonly version: number;
  readonly value: JsonObject;
}

/** Values by key with compare-and-set. Keys are at most 512 characters. */
export interface Records {
  get(scope: Scope, key: string): Promise<StoredRecord | undefined>;
  /**
   * Writes when the current version is `expectedVersion` (0: must not exist).
   *
   * @returns whether it was written; the new version is then `expectedVersion + 1`
   */
  put(scope: Scope, key: string, value: JsonObject, expectedVersion: number): Promise<boolean>;
  delete(scope: Scope, key: string): Promise<void>;
  /** Keys that start with the prefix, in code-point order. */
  list(
    scope: Scope,
    query: { readonly prefix: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly string[]>;
}
