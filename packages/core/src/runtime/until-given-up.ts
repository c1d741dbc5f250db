import type { BackgroundWork } from "./background-work.ts";
import type { CallInfo } from "./call-info.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";

/**
 * Runs until it ends, the caller gives up or the deadline passes. What was given up on may still be at work: it is
 * `abandoned`, and its signal says so.
 */
export function untilGivenUp<T>(
  deadlines: Deadlines,
  abandoned: BackgroundWork,
  operation: string,
  call: CallInfo,
  run: () => Promise<T>,
): Promise<T> {
  const { patience, deadline: at, timed } = call;
  const { callers } = patience;
  return new Promise((resolve, reject) => {
    const stopWaiting = () => {
      if (deadline !== undefined) deadlines.callOff(deadline);
      callers?.removeEventListener("abort", giveUp);
    };
    const giveUp = () => {
      stopWaiting();
      void abandoned.track(work);
      reject(patience.reason(operation));
    };
    const deadline: Deadline | undefined = timed
      ? {
          at,
          pass() {
            patience.exceed(operation);
            giveUp();
          },
        }
      : undefined;
    const work = run();
    if (callers?.aborted === true) {
      giveUp();
      return;
    }
    callers?.addEventListener("abort", giveUp, { once: true });
    if (deadline !== undefined) deadlines.watch(deadline);
    work.then(
      (value) => {
        stopWaiting();
        resolve(value);
      },
      (error) => {
        stopWaiting();
        reject(error);
      },
    );
  });
}
