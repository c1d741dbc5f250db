import type { ArmatureError, ErrorKind } from "../kernel/errors.ts";
import {
  IdempotencyInProgress,
  IdempotencyKeyReused,
  IdempotencyResultNotKept,
  LimitExceeded,
  reviveError,
  UnknownOutcome,
  VersionConflict,
} from "../kernel/errors.ts";
import { jsonCopy } from "../kernel/json-copy.ts";
import { CircuitOpen } from "../kernel/port-errors.ts";
import type { Json } from "../kernel/schema.ts";
import type { AuditRow, CommitPart, IdempotencyRecord, Outcome } from "../kernel/store.ts";
import { checkAlive, type RunnableOperation, recordKey } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import type { CallPorts } from "./runtime-ports.ts";

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

/** An error that is only thrown before anything has left. */
export function saysNothingHappened(error: unknown): boolean {
  return error instanceof LimitExceeded || error instanceof CircuitOpen;
}

const PASSING: ReadonlySet<string> = new Set([VersionConflict.code, IdempotencyInProgress.code]);

/** A refusal that another attempt may not meet: somebody else was quicker. */
export function isPassing(error: ArmatureError): boolean {
  return PASSING.has(error.code);
}

/** `claimedUntil` of an attempt that ended before anything happened; 0 when something may have. */
const NOTHING_HAPPENED = -1;

/** An outcome that can be given again. */
export type KeptOutcome = Exclude<Outcome, { readonly type: "result-not-kept" }>;

/** What a record means for a new call with the same key. */
export type Verdict =
  | { readonly type: "replay"; readonly outcome: KeptOutcome }
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
export function replay(outcome: KeptOutcome, target: RunnableOperation): unknown {
  if (outcome.type === "error") throw reviveError(outcome.error, target.operation.errors);
  // The caller's own: what a store keeps may be frozen.
  return outcome.value === undefined ? undefined : jsonCopy(outcome.value as Json);
}

export function unknownOutcome(target: RunnableOperation): UnknownOutcome {
  return new UnknownOutcome({ operation: target.id });
}

export function resultOutcome(target: RunnableOperation, value: unknown): Outcome {
  return target.sensitiveOutput ? { type: "result-not-kept" } : { type: "result", value };
}

/** A key that an attempt has claimed. */
export interface Claim {
  /** The caller's. */
  readonly key: string;
  readonly recordKey: string;
  readonly inputHash: string;
  readonly attempt: number;
  /** Whether no earlier attempt can have had an effect. */
  readonly clean: boolean;
}

/** The records of actions' keys: claimed before the handler acts, settled or released when it has ended. */
export class Claims {
  readonly #ports: Pick<CallPorts, "store" | "clock" | "logger" | "telemetry">;

  constructor(ports: Pick<CallPorts, "store" | "clock" | "logger" | "telemetry">) {
    this.#ports = ports;
  }

  /** Takes the key until the call's deadline, or finds what an earlier attempt came to. Throws as `judge` does. */
  async claim(
    target: RunnableOperation,
    call: CallInfo,
    key: string,
    inputHash: string,
  ): Promise<{ readonly type: "replay"; readonly outcome: KeptOutcome } | { readonly type: "run"; claim: Claim }> {
    const { store, clock } = this.#ports;
    const scope = { tenant: call.principal.tenant, context: target.context.contract.name };
    const record = recordKey(target.id, call.principal, key);
    const claim = (attempt: number, clean: boolean): Claim => ({ key, recordKey: record, inputHash, attempt, clean });
    let known = await store.idempotency(scope, record);
    for (;;) {
      checkAlive(call, target.id, clock.now());
      const verdict =
        known === undefined
          ? ({ type: "run", attempt: 1, clean: true } as const)
          : judge(known, target, key, inputHash, clock.now());
      if (verdict.type === "replay") return verdict;
      if (verdict.type === "unknown") {
        const error = unknownOutcome(target);
        const outcome = { type: "error", error: error.toJSON() } as const;
        known = await this.#write(target, call, claim(known!.attempt, false), { step: "settle", outcome });
        if (known === undefined) throw error;
        continue;
      }
      const mine = claim(verdict.attempt, verdict.clean);
      known = await this.#write(target, call, mine, { step: "claim", claimedUntil: call.deadline });
      if (known === undefined) return { type: "run", claim: mine };
    }
  }

  /**
   * Records the result, with its audit row and what the attempt has counted.
   *
   * @returns what another attempt came to, when the claim had lapsed and that one took over
   */
  async settle(
    target: RunnableOperation,
    call: CallInfo,
    claim: Claim,
    outcome: Outcome,
    audit: AuditRow,
  ): Promise<KeptOutcome | undefined> {
    let present: IdempotencyRecord | undefined;
    const counters = call.counts.take();
    try {
      present = await this.#write(target, call, claim, { step: "settle", outcome }, { audit: [audit], counters });
    } catch (error) {
      await this.release(target, call, claim, false);
      throw error;
    }
    if (present === undefined) return undefined;
    // What this attempt has asked of others has happened all the same.
    call.counts.putBack(counters);
    const verdict = judge(present, target, claim.key, claim.inputHash, this.#ports.clock.now());
    if (verdict.type !== "replay") throw unknownOutcome(target);
    return verdict.outcome;
  }

  /** Records a refusal that the next attempt would meet too. */
  refuse(target: RunnableOperation, call: CallInfo, claim: Claim, error: ArmatureError): Promise<void> {
    return this.#conclude(target, call, claim, { step: "settle", outcome: { type: "error", error: error.toJSON() } });
  }

  /** Gives the key back without an outcome. `untouched`: this attempt has had no effect. */
  release(target: RunnableOperation, call: CallInfo, claim: Claim, untouched: boolean): Promise<void> {
    const claimedUntil = untouched && claim.clean ? NOTHING_HAPPENED : 0;
    return this.#conclude(target, call, claim, { step: "release", claimedUntil });
  }

  // The caller's error matters more than that the record could not be written: the claim lapses by itself.
  async #conclude(target: RunnableOperation, call: CallInfo, claim: Claim, write: Step): Promise<void> {
    try {
      await this.#write(target, call, claim, write);
    } catch (cause) {
      this.#ports.logger.error(`What an attempt of ${target.id} came to could not be recorded`, {
        tenant: call.principal.tenant,
        traceId: call.trace.traceId,
        error: String(cause),
      });
    }
  }

  // The record that stands in the way, or undefined when it was written.
  async #write(
    target: RunnableOperation,
    call: CallInfo,
    { recordKey: key, inputHash, attempt }: Claim,
    step: Step,
    more: Partial<Pick<CommitPart, "audit" | "counters">> = {},
  ): Promise<IdempotencyRecord | undefined> {
    const { store, telemetry } = this.#ports;
    const part = {
      context: target.context.contract.name,
      aggregates: [],
      events: [],
      messages: [],
      audit: [],
      ...more,
      idempotency: { claimedUntil: 0, ...step, key, inputHash, attempt },
    };
    const result = await telemetry.commit(store, call.principal.tenant, { parts: [part] });
    return result.status === "key-taken" ? result.record : undefined;
  }
}

type Step =
  | { readonly step: "settle"; readonly outcome: Outcome }
  | { readonly step: "claim" | "release"; readonly claimedUntil: number };
