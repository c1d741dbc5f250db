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

/** A part of a commit as the database's functions take it. */
export type CommitPayload = ReturnType<typeof payloadOf>;

export function payloadOf(part: CommitPart) {
  const { context, messages, idempotency, inbox, counters = [], timers = [], letters = [] } = part;
  return {
    context,
    aggregates: inLockOrder(part.aggregates),
    events: part.events.map(eventRow),
    messages,
    audit: part.audit.map(auditRow),
    // In order, as aggregates are: their rows are locks too.
    counters: counters.length === 0 ? undefined : [...counters].sort((a, b) => compareText(a.key, b.key)),
    letters: letters.length === 0 ? undefined : letters,
    timers: timers.length === 0 ? undefined : [...timers].sort((a, b) => compareText(keyOf(a), keyOf(b))),
    inbox,
    idempotency:
      idempotency?.step === "settle" ? { ...idempotency, outcome: JSON.stringify(idempotency.outcome) } : idempotency,
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
  | { readonly status: "handled-before" | "key-gone" }
  | { readonly status: "key-taken"; readonly record: RecordRow };

export function commitResult(answer: CommitAnswer | undefined, parts: readonly CommitPayload[]): CommitResult {
  if (answer === undefined) return { status: "committed" };
  if (answer.status === "key-taken") return { status: "key-taken", record: recordOf(answer.record) };
  if (answer.status === "handled-before") return { status: "handled-before" };
  // The record that this attempt goes on from has been removed meanwhile: the caller has to look again.
  const key = parts.find((part) => part.idempotency !== undefined)?.idempotency?.key ?? "";
  throw new VersionConflict({ type: "idempotency key", id: key });
}
