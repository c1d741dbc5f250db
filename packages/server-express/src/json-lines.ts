import { type BegunStream, nextOrSilence, type StreamOptions } from "./stream-parts.ts";

/** What clients call it; there is no registered name. The first is what the answer is called unless another is asked for. */
export const jsonLinesTypes = ["application/x-ndjson", "application/jsonl", "application/ndjson"] as const;

/** The answer is not whole. Whoever carries it must break it off, so that it does not look so. */
export class StreamCutOff extends Error {
  override readonly name = "StreamCutOff";
}

/** So much is put together before it is handed on, where items come faster than they are read. */
const CHUNK_CHARACTERS = 32 * 1024;

/**
 * Items as lines of JSON: `{"cursor":…,"item":…}` each. A stream that is over says so with a last line `{"end":true}`;
 * one that failed with `{"problem":…}`, and then it is broken off as one that is cut: without the end that HTTP's
 * transfer coding has.
 */
export async function* jsonLines(
  { iterator, first }: BegunStream,
  { signal, problemOf, ended }: StreamOptions,
): AsyncIterable<string> {
  let pending = first;
  let text = "";
  try {
    for (;;) {
      // What there is goes out while the next item is waited for.
      const next = await nextOrSilence(pending, text === "" ? undefined : 0, signal);
      if (next === "aborted") throw new StreamCutOff("the client or the server is leaving");
      if (next === "silence") {
        yield text;
        text = "";
        continue;
      }
      if (next.done === true) {
        yield `${text}{"end":true}\n`;
        return;
      }
      text += `${JSON.stringify({ cursor: next.value.cursor, item: next.value.item })}\n`;
      if (text.length >= CHUNK_CHARACTERS) {
        yield text;
        text = "";
      }
      // Only now: whoever reads slowly has the stream wait.
      pending = iterator.next();
      pending.catch(() => undefined);
    }
  } catch (error) {
    if (error instanceof StreamCutOff || signal.aborted) throw error;
    yield `${text}${JSON.stringify({ problem: problemOf(error) })}\n`;
    throw new StreamCutOff("the stream failed", { cause: error });
  } finally {
    void iterator.return?.()?.catch(() => undefined);
    ended();
  }
}
