import type { ArmatureError, ErrorKind } from "../kernel/errors.ts";
import {
  IdempotencyInProgress,
  IdempotencyKeyReused,
  IdempotencyResultNotKept,
  reviveError,
  UnknownOutcome,
} from "../kernel/errors.ts";
import type { IdempotencyRecord, Outcome } from "../kernel/store.ts";
import type { RunnableOperation } from "./call.ts";

/** Errors after which nothing has happened and nothing would be different the next time: they are an outcome. */
const DEFINITE: ReadonlySet<ErrorKind> = new Set([
  "invalid",
  "unauthenticated",
  "forbidden",
  "not-found",
  "conflict",
  "precondition",
  "unknown-outcome",
]);

export function isDefinite(error: ArmatureError): boolean {
  return DEFINITE.has(error.kind);
}

/** `claimedUntil` of an attempt that ended before anything happened; 0 when something may have. */
export const NOTHING_HAPPENED = -1;

/** What a record means for a new call with the same key. */
export type Verdict =
  | { readonly type: "replay"; readonly outcome: Exclude<Outcome, { readonly type: "result-not-kept" }> }
  /** The attempt was cut off or released, and may be run again; `clean` when it is known to have done nothing. */
  | { readonly type: "run"; readonly attempt: number; readonly clean: boolean }
  /** The attempt was cut off, and must not be run again. */
  | { readonly type: "unknown" };

/**
 * @throws {IdempotencyKeyReused} the key stands for another input
 * @throws {IdempotencyInProgress} the first call is still under way
 * @throws {IdempotencyResultNotKept} it was done, and its result held a secret
 */
export function judge(
  record: IdempotencyRecord,
  target: RunnableOperation,
  key: string,
  inputHash: string,
  now: number,
): Verdict {
  if (record.inputHash !== inputHash) throw new IdempotencyKeyReused({ key });
  const { outcome } = record;
  if (outcome !== undefined) {
    if (outcome.type === "result-not-kept") throw new IdempotencyResultNotKept({ key });
    return { type: "replay", outcome };
  }
  if (record.claimedUntil > now) throw new IdempotencyInProgress({ key, retryAfterMs: record.claimedUntil - now });
  const attempt = record.attempt + 1;
  if (record.claimedUntil === NOTHING_HAPPENED) return { type: "run", attempt, clean: true };
  return target.operation.repeatable === false ? { type: "unknown" } : { type: "run", attempt, clean: false };
}

/** The recorded outcome, given or thrown again. */
export function replay(
  outcome: Exclude<Outcome, { readonly type: "result-not-kept" }>,
  target: RunnableOperation,
): unknown {
  if (outcome.type === "error") throw reviveError(outcome.error, target.operation.errors);
  return outcome.value;
}

export function unknownOutcome(target: RunnableOperation): UnknownOutcome {
  return new UnknownOutcome({ operation: target.id });
}

export function resultOutcome(target: RunnableOperation, value: unknown): Outcome {
  return target.sensitiveOutput ? { type: "result-not-kept" } : { type: "result", value };
}
