import type { Clock } from "../kernel/clock.ts";
import { DeadlineExceeded } from "../kernel/errors.ts";
import type { BackgroundWork } from "./background-work.ts";
import { type CallInfo, giveUpReason, NEVER_ABORTED } from "./call.ts";

/**
 * Runs until it ends, the caller gives up or the deadline passes. What was given up on may still be at work: it is
 * `abandoned`, and its signal says so.
 */
export async function untilGivenUp<T>(
  clock: Clock,
  abandoned: BackgroundWork,
  operation: string,
  call: CallInfo,
  run: (running: CallInfo) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const done = new AbortController();
  const signal = call.timed ? eitherOf(call.signal, over.signal) : call.signal;
  const gaveUp = Promise.withResolvers<never>();
  gaveUp.promise.catch(() => undefined);
  const giveUp = () => gaveUp.reject(giveUpReason(signal, operation));
  if (signal.aborted) giveUp();
  else signal.addEventListener("abort", giveUp, { once: true });
  if (call.timed)
    clock.sleep(call.deadline - clock.now(), done.signal).then(
      () => over.abort(new DeadlineExceeded({ operation })),
      () => undefined,
    );
  const work = run({ ...call, signal });
  let ended = false;
  const end = () => {
    ended = true;
  };
  work.then(end, end);
  try {
    return await Promise.race([gaveUp.promise, work]);
  } finally {
    // A reason of our own: making the default one costs more than the rest of this.
    done.abort(DONE);
    signal.removeEventListener("abort", giveUp);
    if (!ended) void abandoned.track(work);
  }
}

const DONE = Symbol("done");

// A signal that lives as long as the process must not collect a dependent for every call.
function eitherOf(callers: AbortSignal, ours: AbortSignal): AbortSignal {
  return callers === NEVER_ABORTED ? ours : AbortSignal.any([callers, ours]);
}
