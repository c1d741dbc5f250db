import { type Clock, toInstant } from "../../kernel/clock.ts";
import type { CallOptions, Client, Contract } from "../../kernel/contract.ts";
import { type Activity, type ActivityContext, ActivityTimedOut } from "../../kernel/execution.ts";
import type { ActivityAttempt } from "../../kernel/execution-engine.ts";
import type { Logger } from "../../kernel/ports.ts";
import type { Json } from "../../kernel/schema.ts";
import type { Deadline, Deadlines } from "../deadlines.ts";

const DEFAULT_TIMEOUT_MS = 30_000;

/** How long an attempt may take, in milliseconds. */
export function timeoutOf({ timeoutMs }: Activity): number {
  return timeoutMs ?? DEFAULT_TIMEOUT_MS;
}

/** The same whenever an activity is repeated, and no other's. After a retry of the whole it is a new call. */
export function idempotencyKeyOf(context: string, { execution, position }: ActivityAttempt): string {
  const retried = execution.retries === 0 ? "" : `/r${execution.retries}`;
  return `${context}/${execution.id}/${position}${retried}`;
}

interface Surroundings {
  readonly context: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly logger: Logger;
  /** Operations as the execution's principal calls them. */
  client(contract: Contract, options: (name: string) => CallOptions): Record<string, unknown>;
}

/**
 * Runs what an activity does, for as long as it may take.
 *
 * @throws {ActivityTimedOut} it took longer, or was silent for too long
 */
export async function runActivity(
  attempt: ActivityAttempt,
  activity: Activity,
  surroundings: Surroundings,
): Promise<Json | undefined> {
  const { clock, deadlines } = surroundings;
  const { name, signal } = attempt;
  const timeoutMs = timeoutOf(activity);
  const { heartbeatTimeoutMs } = activity;
  const abort = new AbortController();
  const giveUp = () => abort.abort(signal.reason);
  if (signal.aborted) giveUp();
  else signal.addEventListener("abort", giveUp, { once: true });
  const limits = new Set<Deadline>();
  try {
    return await new Promise<Json | undefined>((resolve, reject) => {
      const limit = (ms: number): Deadline => {
        const pass = () => {
          const error = new ActivityTimedOut({ activity: name, ms });
          abort.abort(error);
          reject(error);
        };
        const deadline = { at: clock.now() + ms, pass };
        limits.add(deadline);
        deadlines.watch(deadline);
        return deadline;
      };
      limit(timeoutMs);
      let silence = heartbeatTimeoutMs === undefined ? undefined : limit(heartbeatTimeoutMs);
      const heard = async (progress?: Json) => {
        if (silence !== undefined && limits.delete(silence)) {
          deadlines.callOff(silence);
          silence = limit(heartbeatTimeoutMs!);
        }
        await attempt.heartbeat(progress);
      };
      const ctx = contextOf(attempt, surroundings, abort.signal, heard);
      // One that is asked to give up is waited for all the same: it may have been done.
      Promise.resolve()
        .then(() => activity.run!(attempt.args as never, ctx))
        .then((value) => resolve(value as Json | undefined), reject);
    });
  } finally {
    for (const deadline of limits) deadlines.callOff(deadline);
    limits.clear();
    signal.removeEventListener("abort", giveUp);
  }
}

function contextOf(
  attempt: ActivityAttempt,
  { context, clock, logger, client }: Surroundings,
  signal: AbortSignal,
  heartbeat: (progress?: Json) => Promise<void>,
): ActivityContext {
  const { execution, name, number, progress } = attempt;
  const { principal, tenant, id } = execution;
  const key = idempotencyKeyOf(context, attempt);
  const fields = { tenant, execution: id, activity: name };
  let calls = 0;
  const options = (): CallOptions => {
    calls += 1;
    return { idempotencyKey: `${key}/${calls}`, signal };
  };
  return {
    ...{ principal, tenant, executionId: id, attempt: number, signal, progress, heartbeat },
    // An outside system knows nothing of tenants.
    idempotencyKey: `${tenant}/${key}`,
    now: toInstant(clock.now()),
    log: {
      debug: (message, more) => logger.debug(message, { ...fields, ...more }),
      info: (message, more) => logger.info(message, { ...fields, ...more }),
      warn: (message, more) => logger.warn(message, { ...fields, ...more }),
      error: (message, more) => logger.error(message, { ...fields, ...more }),
    },
    use: <C extends Contract>(contract: C) => client(contract, options) as Client<C>,
  };
}
