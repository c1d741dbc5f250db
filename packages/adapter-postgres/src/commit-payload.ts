import {
  type AggregateChange,
  type AuditRow,
  type CommitPart,
  type CommitResult,
  compareText,
  type IdempotencyRecord,
  type Outcome,
  type StoredEvent,
  type TimerChange,
  VersionConflict,
} from "@armature/core";
import { executionRows } from "./execution-rows.ts";

type OnlyChange = NonNullable<ReturnType<typeof onlyChange>>["change"];

/** A part of a commit as the database's functions take it. */
export interface CommitPayload extends Partial<OnlyChange>, Partial<ReturnType<typeof rest>> {
  readonly context: string;
  readonly executions: ReturnType<typeof executionRows> | undefined;
  readonly inbox: CommitPart["inbox"];
  readonly idempotency: (Omit<NonNullable<CommitPart["idempotency"]>, "outcome"> & { outcome?: string }) | undefined;
}

export function payloadOf(part: CommitPart): CommitPayload {
  const { context, executions = [], inbox, idempotency } = part;
  const one = onlyChange(part);
  return {
    context,
    ...one?.change,
    ...(one === undefined ? rest(part) : isEmpty(one.others) ? undefined : rest(one.others)),
    executions: executions.length === 0 ? undefined : executionRows(executions),
    inbox,
    idempotency:
      idempotency?.step === "settle" ? { ...idempotency, outcome: JSON.stringify(idempotency.outcome) } : idempotency,
  };
}

/**
 * What most commits are, and what then is left: one aggregate is changed, which raises an event, and somebody did so.
 * Without lists the database has half as much to do.
 */
function onlyChange(part: CommitPart) {
  const [aggregate, ...otherAggregates] = part.aggregates;
  const [event, ...events] = part.events;
  if (aggregate?.write === undefined || otherAggregates.length > 0 || event === undefined) return undefined;
  if (event.aggregateType !== aggregate.type || event.aggregateId !== aggregate.id) return undefined;
  const { type, id, expectedVersion, write } = aggregate;
  const [entry, ...audit] = part.audit;
  return {
    change: {
      only: { type, id, expectedVersion, ...write },
      event: eventRow(event),
      entry: entry === undefined ? undefined : auditRow(entry),
    },
    others: { ...part, aggregates: otherAggregates, events, audit },
  };
}

function isEmpty({ events, messages, audit, counters = [], timers = [], letters = [] }: CommitPart): boolean {
  return [events, messages, audit, counters, timers, letters].every((list) => list.length === 0);
}

function rest({ aggregates, events, messages, audit, counters = [], timers = [], letters = [] }: CommitPart) {
  return {
    aggregates: inLockOrder(aggregates),
    events: events.map(eventRow),
    messages,
    audit: audit.map(auditRow),
    // In order, as aggregates are: their rows are locks too.
    counters: counters.length === 0 ? undefined : [...counters].sort((a, b) => compareText(a.key, b.key)),
    letters: letters.length === 0 ? undefined : letters,
    timers: timers.length === 0 ? undefined : [...timers].sort((a, b) => compareText(keyOf(a), keyOf(b))),
  };
}

const keyOf = (change: TimerChange) => (change.step === "set" ? change.timer.key : change.key);

function inLockOrder(changes: readonly AggregateChange[]): readonly AggregateChange[] {
  if (changes.length < 2) return changes;
  return [...changes].sort((a, b) => compareText(a.type, b.type) || compareText(a.id, b.id));
}

// What has a column of its own is left out of the body.
function eventRow({
  id,
  tenant,
  context,
  type,
  aggregateType,
  aggregateId,
  aggregateVersion,
  time,
  ...body
}: StoredEvent) {
  return { id, type, aggregateType, aggregateId, aggregateVersion, time, body };
}

function auditRow({ id, tenant, context, time, operation, outcome, ...body }: AuditRow) {
  return { id, time, operation, outcome, actorId: body.actor.id, body };
}

/** An idempotency record as the database gives it; the outcome is JSON inside the JSON. */
export type RecordRow = Omit<IdempotencyRecord, "outcome"> & { readonly outcome: string | null };

export function recordOf({ outcome, ...record }: RecordRow): IdempotencyRecord {
  return outcome === null ? record : { ...record, outcome: JSON.parse(outcome) as Outcome };
}

/** What a commit function answers when a guard stands in the way. */
export type CommitAnswer =
  | { readonly status: "handled-before" | "key-gone" | "execution-lost" }
  | { readonly status: "key-taken"; readonly record: RecordRow };

/** What is answered for a commit that is part of a larger transaction and was refused: all that it wrote is undone. */
export interface CommitRefusal {
  readonly status: "refused";
  /** SQLSTATE. */
  readonly code: string;
}

export function commitResult(answer: CommitAnswer | undefined, parts: readonly CommitPayload[]): CommitResult {
  if (answer === undefined) return { status: "committed" };
  if (answer.status === "key-taken") return { status: "key-taken", record: recordOf(answer.record) };
  if (answer.status === "handled-before" || answer.status === "execution-lost") return { status: answer.status };
  // The record that this attempt goes on from has been removed meanwhile: the caller has to look again.
  const key = parts.find((part) => part.idempotency !== undefined)?.idempotency?.key ?? "";
  throw new VersionConflict({ type: "idempotency key", id: key });
}
