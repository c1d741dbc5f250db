import type { HandlerResponse } from "./http-exchange.ts";
import type { Problem } from "./problem.ts";

/** An item of a stream, as `app.stream` gives it. */
export interface SentItem {
  readonly cursor: string;
  readonly item: unknown;
}

export interface EventStreamOptions {
  readonly heartbeatMs: number;
  /** Ends the stream in the middle: the client is gone, or the server is about to be. */
  readonly signal: AbortSignal;
  /** What an error in the middle of the stream is told as. */
  problemOf(error: unknown): Problem;
  /** Called once when the stream has been answered and is over, however it ended. */
  ended(): void;
}

/** How long a stream may be silent before it is answered at all: a refusal within this time has its own status. */
const ADMISSION_MS = 1_000;

export const eventStreamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  // no-transform: a compressing middleware would hold items back.
  "cache-control": "no-store, no-transform",
  "x-content-type-options": "nosniff",
  "x-accel-buffering": "no",
} as const;

/**
 * Items as server-sent events: the cursor is the event's id, so that a client resumes with `Last-Event-ID`. A stream
 * that is over says so with an event `end`, and one that failed with an event `problem`; without either it was cut off.
 *
 * @throws what the stream throws before its first item
 */
export async function eventStream(
  items: AsyncIterable<SentItem>,
  options: EventStreamOptions,
): Promise<HandlerResponse> {
  const iterator = items[Symbol.asyncIterator]();
  const first = iterator.next();
  first.catch(() => undefined); // thrown here, or told in the stream
  await nextOrSilence(first, ADMISSION_MS, options.signal);
  return { status: 200, headers: eventStreamHeaders, body: frames(iterator, first, options) };
}

async function* frames(
  iterator: AsyncIterator<SentItem>,
  first: Promise<IteratorResult<SentItem>>,
  { heartbeatMs, signal, problemOf, ended }: EventStreamOptions,
): AsyncIterable<string> {
  let pending = first;
  try {
    // Something at once, so that proxies and clients see that the stream is open.
    yield ": open\n\n";
    for (;;) {
      const next = await nextOrSilence(pending, heartbeatMs, signal);
      if (next === "aborted") return;
      if (next === "silence") yield ": heartbeat\n\n";
      else if (next.done === true) {
        yield "event: end\ndata: {}\n\n";
        return;
      } else {
        yield `id: ${idText(next.value.cursor)}\ndata: ${JSON.stringify(next.value.item)}\n\n`;
        // Only now: whoever reads slowly has the stream wait.
        pending = iterator.next();
        pending.catch(() => undefined);
      }
    }
  } catch (error) {
    if (!signal.aborted) yield `event: problem\ndata: ${JSON.stringify(problemOf(error))}\n\n`;
  } finally {
    // Not waited for: it resolves when the handler notices, and nobody is left to tell.
    void iterator.return?.()?.catch(() => undefined);
    ended();
  }
}

/** The next item, or that none has come in time, or that nobody wants it any more. Leaves nothing behind. */
function nextOrSilence(
  pending: Promise<IteratorResult<SentItem>>,
  ms: number,
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
    const timer = setTimeout(() => settle(() => resolve("silence")), ms);
    signal.addEventListener("abort", abort, { once: true });
    pending.then(
      (result) => settle(() => resolve(result)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

// A line break would end the field, and a NUL makes clients ignore it.
function idText(cursor: string): string {
  if (/[\r\n\0]/.test(cursor)) throw new TypeError("A cursor holds a line break or NUL.");
  return cursor;
}
