import { ArmatureError } from "../../kernel/errors.ts";
import type { RetryPolicy } from "../../kernel/execution.ts";
import { isDefinite, isPassing } from "../idempotency.ts";

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 1_000;
const FACTOR = 2;
const LONGEST_WAIT_MS = 60_000;
/** Whatever somebody outside says. */
const LONGEST_ASKED_MS = 86_400_000;

export function mostAttempts(policy: RetryPolicy = {}): number {
  return policy.attempts ?? ATTEMPTS;
}

/**
 * How long to wait before an activity is tried again, in milliseconds; undefined when it is not.
 *
 * @param attempts how often it was tried by now
 */
export function waitBeforeRetry(policy: RetryPolicy = {}, attempts: number, error: unknown): number | undefined {
  if (attempts >= mostAttempts(policy)) return undefined;
  if (error instanceof ArmatureError) {
    if (policy.neverOn?.includes(error.code) === true) return undefined;
    if (isDefinite(error) && !isPassing(error)) return undefined;
  }
  const { firstWaitMs = FIRST_WAIT_MS, factor = FACTOR, longestWaitMs = LONGEST_WAIT_MS } = policy;
  const wait = Math.min(longestWaitMs, firstWaitMs * factor ** (attempts - 1));
  return Math.ceil(Math.min(LONGEST_ASKED_MS, Math.max(wait, retryAfter(error))));
}

/** What the error says of when to ask again. */
function retryAfter(error: unknown): number {
  if (!(error instanceof ArmatureError)) return 0;
  const { details } = error;
  if (details === null || typeof details !== "object" || !("retryAfterMs" in details)) return 0;
  const { retryAfterMs } = details;
  return typeof retryAfterMs === "number" && Number.isFinite(retryAfterMs) ? Math.max(0, retryAfterMs) : 0;
}
