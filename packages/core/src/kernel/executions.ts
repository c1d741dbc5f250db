import type { ErrorRecord } from "./errors.ts";
import type { Page } from "./paging.ts";
import type { Principal } from "./principal.ts";
import type { Json } from "./schema.ts";
import type { Scope } from "./scope.ts";

/** What an execution is begun with. */
export interface NewExecution {
  /** Unique in its tenant and context. Beginning one that exists is without effect. */
  readonly id: string;
  /** The definition's name, and the version that it stays with. */
  readonly definition: string;
  readonly version: number;
  readonly input: Json;
  /** Whose calls its activities make. */
  readonly principal: Principal;
  readonly correlationId: string;
  readonly causationId: string;
  readonly traceparent: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

/** `compensation`: an activity that undoes another one. `cancel`: from here on the execution was asked to end. */
export type JournalKind = "activity" | "compensation" | "sleep" | "signal" | "cancel";

/** What something that an execution waited for has come to. */
export type JournalOutcome =
  | { readonly type: "value"; readonly value?: Json | undefined }
  | { readonly type: "error"; readonly error: ErrorRecord };

/** One thing that has happened to an execution. A journal holds them in the order in which they happened. */
export interface JournalEntry {
  /** Which of the definition's requests it answers, counted from 0 in the order in which they were made; -1 for `cancel`. */
  readonly position: number;
  readonly kind: JournalKind;
  /** Of the activity or signal; empty for the others. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly outcome: JournalOutcome;
  /** How often an activity was tried. */
  readonly attempts?: number | undefined;
}

/** What is known of an activity that has not come to an end. */
export interface ActivityAttempts {
  /** The activity's. */
  readonly name: string;
  readonly attempts: number;
  /** When it is tried again. Milliseconds since 1970. */
  readonly nextAt: number;
  readonly error?: ErrorRecord | undefined;
  /** What its last heartbeat told. */
  readonly progress?: Json | undefined;
}

export interface Signal {
  readonly name: string;
  readonly payload: Json;
}

export type ExecutionEnd =
  | { readonly status: "completed"; readonly result?: Json | undefined }
  | {
      readonly status: "failed" | "canceled";
      readonly error: ErrorRecord;
      /** The journal's length without what made it fail; absent when it cannot be gone on with. */
      readonly retryFrom?: number | undefined;
    };

/**
 * What a worker writes down of an execution that it holds.
 *
 * A write whose answer was lost may be repeated, with more entries behind its own too: those that the journal has already are not
 * written again.
 */
export interface ExecutionWrite {
  readonly tenant: string;
  readonly id: string;
  readonly fence: number;
  /** How many entries the journal has without these; of no matter when there are none. */
  readonly length: number;
  readonly entries: readonly JournalEntry[];
  /** By position, of all activities under way; absent: as before. */
  readonly attempts?: Readonly<Record<string, ActivityAttempts>> | undefined;
  /**
   * Absent: it is held on to. `wait`: it is let go until that time, or a signal, whichever is first; at once when more
   * signals have come than the worker has `seen`.
   */
  readonly next?:
    | { readonly type: "wait"; readonly dueAt?: number | undefined; readonly seen: number }
    | { readonly type: "end"; readonly end: ExecutionEnd; readonly at: number }
    | undefined;
}

/**
 * What a commit does with an execution of its context.
 *
 * - `start`: without effect when one with this id exists.
 * - `signal`: kept until it is waited for. The first of its name wins; later ones, and those to an execution that does
 *   not exist or has ended, are without effect.
 * - `retry`: one that has failed goes on from before what made it fail, and whether it was asked to end is forgotten;
 *   without effect otherwise.
 * - `write`: what a worker writes, as part of what an activity changes; at most one of each execution. When it is lost,
 *   nothing of the commit is written.
 */
export type ExecutionChange =
  | { readonly step: "start"; readonly execution: NewExecution }
  | { readonly step: "signal"; readonly id: string; readonly signal: Signal }
  | { readonly step: "retry"; readonly id: string; readonly at: number }
  | { readonly step: "write"; readonly write: Omit<ExecutionWrite, "tenant"> };

/** An execution as its engine knows it. */
export interface CarriedExecution extends NewExecution {
  readonly tenant: string;
  /** How often it has failed and was gone on with. */
  readonly retries: number;
}

/** An execution as the worker gets it that has to go on with it. */
export interface TakenExecution extends CarriedExecution {
  /** Grows whenever it is taken: what an earlier holder writes is refused. */
  readonly fence: number;
  /** How often it was taken since something last happened, or it last waited; 1 the first time. */
  readonly takes: number;
  readonly journal: readonly JournalEntry[];
  readonly attempts: Readonly<Record<string, ActivityAttempts>>;
  /** In the order in which they came. */
  readonly signals: readonly Signal[];
}

/** A definition that a worker knows, and how many of its executions may be held at a time, over all processes. */
export interface ServedDefinition {
  readonly name: string;
  readonly versions: readonly number[];
  readonly concurrency?: number | undefined;
  readonly concurrencyPerTenant?: number | undefined;
}

export interface TakeRequest {
  /** A name that no other worker ever has. */
  readonly worker: string;
  /** How long it counts as alive without another request. */
  readonly ttlMs: number;
  /** Milliseconds since 1970: what is due by then. */
  readonly now: number;
  /** 0: to stay alive and hear of signals. */
  readonly limit: number;
  readonly definitions: readonly ServedDefinition[];
}

/** How many signals an execution has got that the worker holds. */
export interface SignalCount {
  readonly tenant: string;
  readonly id: string;
  readonly signals: number;
}

export interface TakenExecutions {
  readonly executions: readonly TakenExecution[];
  /** When the next one of these definitions is due that nobody holds. */
  readonly nextAt?: number | undefined;
  /** Those held before that have got signals. */
  readonly signaled: readonly SignalCount[];
}

/** Executions of all tenants. For the runtime only; commits start and signal them. */
export interface Executions {
  /**
   * Executions that are due and that nobody holds, the longest due first. From now on the worker holds them, until it
   * writes that they wait or have ended. By asking it stays alive; what others hold that have been silent for too long is
   * free again.
   */
  take(context: string, request: TakeRequest): Promise<TakenExecutions>;
  /** Lets go of everything that the worker holds. */
  leave(context: string, worker: string): Promise<void>;
  /** An execution's signals in the order in which they came. */
  signals(scope: Scope, id: string): Promise<readonly Signal[]>;
  /**
   * Writes what workers have to say of executions, each by itself. `lost`: it was not the worker's any more; or the journal is
   * not as long as the worker believes, and then the execution is let go of.
   */
  write(context: string, writes: readonly ExecutionWrite[]): Promise<readonly ("written" | "lost")[]>;
  /** Forgets executions that ended more than `olderThanMs` before `now`, with their journals. Returns how many. */
  prune(
    context: string,
    query: { readonly now: number; readonly olderThanMs: number; readonly limit: number },
  ): Promise<number>;
}

export type ExecutionStatus = "running" | "completed" | "failed" | "canceled";

/** What can be said of an execution without reading its journal. */
export interface StoredExecution {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly status: ExecutionStatus;
  readonly startedAt: number;
  readonly endedAt?: number | undefined;
  /** Entries in its journal. */
  readonly length: number;
  /** Whether a worker has it. */
  readonly held: boolean;
  /** When it goes on by itself; absent while it waits for a signal alone, or has ended. */
  readonly dueAt?: number | undefined;
  readonly end?: ExecutionEnd | undefined;
  readonly attempts: Readonly<Record<string, ActivityAttempts>>;
}

/** What a tenant may see of its executions. */
export interface ExecutionReads {
  execution(scope: Scope, id: string): Promise<StoredExecution | undefined>;
  /** A journal in its order, a page at a time. */
  journal(
    scope: Scope,
    query: { readonly id: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<JournalEntry>>;
}
