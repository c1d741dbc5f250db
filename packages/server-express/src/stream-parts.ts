import type { Problem } from "./problem.ts";

/** An item of a stream, as the app gives it. */
export interface SentItem {
  readonly cursor: string;
  readonly item: unknown;
}

/** How a stream is written, in whichever format. */
export interface StreamOptions {
  /** How long it may be silent before it shows that it is alive, in milliseconds. */
  readonly heartbeatMs: number;
  /** Ends the stream in the middle: the client is gone, or the server is about to be. */
  readonly signal: AbortSignal;
  /** What an error in the middle of the stream is told as. */
  problemOf(error: unknown): Problem;
  /** Called once when the stream has been answered and is over, however it ended. */
  ended(): void;
}

/** A stream whose first item is asked for. */
export interface BegunStream {
  readonly iterator: AsyncIterator<SentItem>;
  readonly first: Promise<IteratorResult<SentItem>>;
}

/** Writes a begun stream as the parts of an answer's body. */
export type StreamWriter = (begun: BegunStream, options: StreamOptions) => AsyncIterable<string>;

/**
 * The next item, or that none has come in time, or that nobody wants it any more. Leaves nothing behind.
 *
 * @param ms how long to wait; for ever when undefined
 */
export function nextOrSilence(
  pending: Promise<IteratorResult<SentItem>>,
  ms: number | undefined,
  signal: AbortSignal,
): Promise<IteratorResult<SentItem> | "silence" | "aborted"> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve("aborted");
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      act();
    };
    const abort = () => settle(() => resolve("aborted"));
    const timer = ms === undefined ? undefined : setTimeout(() => settle(() => resolve("silence")), ms);
    signal.addEventListener("abort", abort, { once: true });
    pending.then(
      (result) => settle(() => resolve(result)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}
