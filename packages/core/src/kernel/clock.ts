/** Time as a port, so that nothing in core reads a global and tests can move it. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Why a sleep is cut short that nobody needs any more. A reason of our own: making the default one costs more than a short call. */
export const AWAKE = new Error("There is no more to wait for.");

/** An instant as events and states hold it: ISO 8601 in UTC with milliseconds. */
export type Instant = string;

export function toInstant(milliseconds: number): Instant {
  // Many calls begin in one millisecond.
  if (milliseconds !== written.milliseconds) written = { milliseconds, instant: new Date(milliseconds).toISOString() };
  return written.instant;
}

let written: { readonly milliseconds: number; readonly instant: Instant } = {
  milliseconds: 0,
  instant: "1970-01-01T00:00:00.000Z",
};

/** Starts to measure: what it gives tells the seconds since then. For telemetry, never for decisions. */
export function stopwatch(): () => number {
  const begun = performance.now();
  return () => (performance.now() - begun) / 1000;
}

/** Node fires a timer at once that is set for longer. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** The machine's clock. */
export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason);
        let timer: NodeJS.Timeout;
        const wait = (left: number) => {
          const part = Math.min(left, LONGEST_TIMER_MS);
          timer = setTimeout(() => (left > part ? wait(left - part) : awake()), part);
        };
        const awake = () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        };
        const abort = () => {
          clearTimeout(timer);
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", abort, { once: true });
        wait(Math.max(0, ms));
      }),
  };
}
