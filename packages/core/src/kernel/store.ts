import type { Instant } from "./clock.ts";
import type { ErrorRecord } from "./errors.ts";
import type { EventLog } from "./event-log.ts";
import type { ExecutionChange, ExecutionReads, Executions } from "./executions.ts";
import type { DeadLetter, DeadLetterQuery, LetterChange, Outbox } from "./outbox.ts";
import type { Page } from "./paging.ts";
import type { Actor, Party } from "./principal.ts";
import type { ProjectionStore } from "./projection-store.ts";
import type { Records } from "./records.ts";
import type { Retention } from "./retention.ts";
import type { JsonObject } from "./schema.ts";
import type { AggregateRef, Scope } from "./scope.ts";
import type { SentCommand } from "./sent-command.ts";
import type { StoredEvent } from "./stored-event.ts";
import type { ScheduledQuery, Timer, TimerChange, Timers } from "./timers.ts";

export type { Page } from "./paging.ts";
export type { Records, StoredRecord } from "./records.ts";
export type { AggregateRef, Scope } from "./scope.ts";
export type { StoredEvent } from "./stored-event.ts";

/**
 * The port that loads and commits what contexts own. Every call names the tenant; an adapter must make it impossible
 * to see another tenant's rows (on PostgreSQL: forced row-level security).
 *
 * All data that crosses it is JSON without NUL characters or lone surrogates: the runtime has checked that.
 */
export interface Store extends Retention, ExecutionReads {
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

  /** Messages that consumers could not handle and that nobody has decided about yet, oldest first. */
  deadLetters(scope: Scope, query: DeadLetterQuery): Promise<Page<DeadLetter>>;

  /** What counters have come to, by their keys in code-point order, a page at a time. */
  counters(scope: Scope, query: CounterQuery): Promise<Page<Counter>>;

  /**
   * Rows of a projection by their index fields, in a stable order, a page at a time; undefined while no generation of it
   * is read.
   */
  rows(scope: Scope, query: RowQuery): Promise<Page<StoredRow> | undefined>;

  /** The row with this id in the generation that is read, if there is one; undefined while none is read. */
  row(scope: Scope, projection: string, id: string): Promise<{ readonly row?: JsonObject | undefined } | undefined>;

  /** A tenant's delayed and recurring commands over the given contexts, in the order in which they are due. */
  scheduled(tenant: string, query: ScheduledQuery): Promise<Page<Timer>>;

  /** Moves delayed and recurring commands to the outbox when they are due. For the runtime only: it sees every tenant. */
  readonly timers: Timers;

  /** Durable executions and their journals. For the runtime only: it sees every tenant. */
  readonly executions: Executions;

  /** Events and sent commands that wait to be published. For the relay only: it sees every tenant. */
  readonly outbox: Outbox;

  /** Follows what was committed, without gaps. For the runtime only: it sees every tenant. */
  readonly log: EventLog;

  /** What projections are kept in. For the runtime only: it sees every tenant. */
  readonly projections: ProjectionStore;

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
  readonly projections?: readonly { readonly name: string; readonly index: readonly string[] }[] | undefined;
}

export interface StoredAggregate extends AggregateRef {
  /** Number of events so far; 0 means that it does not exist yet. */
  readonly version: number;
  readonly stateVersion: number;
  readonly state: JsonObject;
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

export interface RowQuery extends Omit<FindQuery, "type"> {
  readonly projection: string;
}

/** A row of the generation that is read. */
export interface StoredRow {
  readonly id: string;
  readonly row: JsonObject;
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
  /** Delayed and recurring commands, at most one change of each key. */
  readonly timers?: readonly TimerChange[] | undefined;
  readonly letters?: readonly LetterChange[] | undefined;
  /** Executions of this context. */
  readonly executions?: readonly ExecutionChange[] | undefined;
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
  | { readonly status: "handled-before" }
  /** What was to be written of an execution comes from a worker that does not hold it any more: nothing was written. */
  | { readonly status: "execution-lost" };

export interface EventQuery {
  readonly contexts: readonly string[];
  readonly aggregate?: AggregateRef | undefined;
  readonly types?: readonly string[] | undefined;
  readonly direction?: "asc" | "desc" | undefined;
  /** Of the timeline in ascending order, only ids that are higher than this. */
  readonly above?: string | undefined;
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
  /** It starts with the operation and a space. */
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
