import { type BegunStream, nextOrSilence, type StreamOptions } from "./stream-parts.ts";

export const eventStreamType = "text/event-stream";

/**
 * Items as server-sent events: the cursor is the event's id, so that a client resumes with `Last-Event-ID`. A stream
 * that is over says so with an event `end`, and one that failed with an event `problem`; without either it was cut off.
 */
export async function* serverSentEvents(
  { iterator, first }: BegunStream,
  { heartbeatMs, signal, problemOf, ended }: StreamOptions,
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

// A line break would end the field, and a NUL makes clients ignore it.
function idText(cursor: string): string {
  if (/[\r\n\0]/.test(cursor)) throw new TypeError("A cursor holds a line break or NUL.");
  return cursor;
}
