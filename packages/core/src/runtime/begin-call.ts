import { InvalidInput } from "../kernel/errors.ts";
import { type CallRequest, type RunnableOperation, recordKey, stableCallId } from "./call.ts";
import { CallInfo } from "./call-info.ts";
import { Patience } from "./patience.ts";
import type { CallPorts } from "./runtime-ports.ts";
import type { Trace } from "./trace.ts";

/** What a handler belongs to: an operation, or a subscription. */
export type Target = Pick<RunnableOperation, "id" | "context"> & Partial<Pick<RunnableOperation, "operation">>;

const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest that a timer of Node can wait. */
const LONGEST_TIMEOUT_MS = 2_147_483_647;

/**
 * Fixes what stays the same for the whole call, and refuses options that cannot be meant.
 *
 * @param trace absent where nobody records spans
 */
export function beginCall(
  { clock, ids }: Pick<CallPorts, "clock" | "ids">,
  target: Target,
  request: CallRequest,
  trace: Trace | undefined,
): CallInfo {
  const { principal, idempotencyKey, timeoutMs = DEFAULT_TIMEOUT_MS, signal, expectedVersion, after, from } = request;
  checkOptions(target, request, timeoutMs);
  const startedAt = clock.now();
  const ownDeadline = startedAt + Math.ceil(timeoutMs);
  const outerDeadline = request.deadline ?? Number.POSITIVE_INFINITY;
  const timed = ownDeadline < outerDeadline;
  return new CallInfo({
    ids,
    identity: {
      id:
        idempotencyKey === undefined
          ? undefined
          : stableCallId(principal.tenant, recordKey(target.id, principal, idempotencyKey)),
      trace,
      correlationId: request.correlationId,
      causationId: request.causationId,
      traceparent: request.traceparent,
    },
    principal,
    startedAt,
    deadline: timed ? ownDeadline : outerDeadline,
    timed,
    patience: new Patience(signal, timed),
    idempotencyKey,
    expectedVersion,
    after,
    from,
    join: request.join,
  });
}

function checkOptions(target: Target, request: CallRequest, timeoutMs: number): void {
  const { idempotencyKey, expectedVersion, correlationId } = request;
  const refuse = (path: string, message: string) =>
    new InvalidInput({ subject: `The call of ${target.id}`, issues: [{ path, message }] });
  if (!(timeoutMs >= 0 && timeoutMs <= LONGEST_TIMEOUT_MS))
    throw refuse("timeoutMs", `must be a number of milliseconds up to ${LONGEST_TIMEOUT_MS}`);
  if (idempotencyKey !== undefined && !/^[\x21-\x7e]{1,255}$/.test(idempotencyKey))
    throw refuse("idempotencyKey", "must be 1 to 255 printable ASCII characters without blanks");
  if (expectedVersion !== undefined) {
    if (target.operation?.kind !== "command") throw refuse("expectedVersion", "can only be given to a command");
    if (!Number.isSafeInteger(expectedVersion) || expectedVersion < 1)
      throw refuse("expectedVersion", "must be a version: 1 or more");
  }
  if (correlationId !== undefined && !/^[\x21-\x7e]{1,200}$/.test(correlationId))
    throw refuse("correlationId", "must be 1 to 200 printable ASCII characters without blanks");
}
