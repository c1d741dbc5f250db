import type { AggregateRoot } from "../kernel/aggregate.ts";
import type { ExecutionChange } from "../kernel/executions.ts";
import type { LetterChange } from "../kernel/outbox.ts";
import type { SentCommand } from "../kernel/sent-command.ts";
import type { AggregateRef, AuditRow, IdempotencyWrite } from "../kernel/store.ts";
import type { TimerChange } from "../kernel/timers.ts";

/** An aggregate that a command has loaded, looked for, found or made. */
export interface Tracked {
  readonly ref: AggregateRef;
  readonly loadedVersion: number;
  /** Absent when it was looked for and did not exist. */
  aggregate: AggregateRoot | undefined;
  /** Out of what is remembered, which may be wrong. */
  readonly recalled?: boolean;
  /** Its state as it is committed, where it has changed. */
  written?: object;
}

/** What a command does in one context. */
export interface Part {
  readonly tracked: Map<string, Promise<Tracked>>;
  readonly settled: Map<string, Tracked>;
  /** Came out of a search: part of the commit only when they have changed. */
  readonly found: Map<string, Tracked>;
  readonly messages: SentCommand[];
  /** By key: the last change counts. */
  readonly timers: Map<string, TimerChange>;
  readonly letters: LetterChange[];
  readonly audit: AuditRow[];
  readonly executions: ExecutionChange[];
  idempotency: IdempotencyWrite | undefined;
  inbox: { readonly consumer: string; readonly messageId: string } | undefined;
}

export function newPart(): Part {
  return {
    tracked: new Map(),
    settled: new Map(),
    found: new Map(),
    messages: [],
    timers: new Map(),
    letters: [],
    audit: [],
    executions: [],
    idempotency: undefined,
    inbox: undefined,
  };
}
