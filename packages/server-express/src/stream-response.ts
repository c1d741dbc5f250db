import Negotiator from "negotiator";
import { NotAcceptable } from "./http-errors.ts";
import { type Exchange, type HandlerRequest, type HandlerResponse, headerOf } from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { jsonLines, jsonLinesTypes } from "./json-lines.ts";
import { problemOf, typedError } from "./problem.ts";
import { eventStreamType, serverSentEvents } from "./server-sent-events.ts";
import { nextOrSilence, type SentItem, type StreamWriter } from "./stream-parts.ts";

/** How long a stream may be silent before it is answered: a refusal of its handler within this time has its own status. */
const ADMISSION_MS = 250;
const DEFAULT_HEARTBEAT_MS = 15_000;

interface Format {
  readonly type: string;
  readonly write: StreamWriter;
}

const formats: readonly Format[] = [
  { type: eventStreamType, write: serverSentEvents },
  ...jsonLinesTypes.map((type) => ({ type, write: jsonLines })),
];
export const streamTypes: readonly string[] = formats.map(({ type }) => type);

/**
 * The format that the client asks for.
 *
 * @throws {NotAcceptable} when it takes none that a stream has
 */
export function streamFormat({ headers }: HandlerRequest): Format {
  const accept = headerOf(headers, "accept");
  const type =
    accept === undefined ? eventStreamType : new Negotiator({ headers: { accept } }).mediaType([...streamTypes]);
  const format = formats.find((each) => each.type === type);
  if (format === undefined) throw new NotAcceptable({ offered: [...streamTypes] });
  return format;
}

export function streamHeaders({ type }: Format): Readonly<Record<string, string>> {
  return {
    "content-type": type === eventStreamType ? `${type}; charset=utf-8` : type,
    // no-transform: a compressing middleware would hold items back.
    "cache-control": "no-store, no-transform",
    vary: "Accept",
    "x-accel-buffering": "no",
  };
}

/**
 * A stream as it goes. What the pipeline refuses (no such operation, wrong input, no permission) has its own status;
 * so has what the handler refuses before its first item, if it does so soon.
 *
 * @throws what is known before the answer begins
 */
export async function streamResponse(
  request: HandlerRequest,
  exchange: Exchange,
  declared: readonly string[],
  { heartbeatMs = DEFAULT_HEARTBEAT_MS, closing, logger }: HttpHandlerOptions,
  open: (over: AbortSignal) => Promise<AsyncIterable<SentItem>>,
): Promise<HandlerResponse> {
  const format = streamFormat(request);
  // By hand instead of AbortSignal.any: `closing` lives as long as the process, and must not collect dependents.
  const over = new AbortController();
  const abort = () => over.abort();
  const signals = [request.signal, ...(closing === undefined ? [] : [closing])];
  for (const signal of signals) signal.addEventListener("abort", abort, { once: true });
  if (signals.some(({ aborted }) => aborted)) abort();
  const release = () => {
    for (const signal of signals) signal.removeEventListener("abort", abort);
  };
  try {
    const iterator = (await open(over.signal))[Symbol.asyncIterator]();
    const first = iterator.next();
    first.catch(() => undefined); // thrown here, or told in the stream
    await nextOrSilence(first, ADMISSION_MS, over.signal);
    const body = format.write(
      { iterator, first },
      {
        heartbeatMs,
        signal: over.signal,
        problemOf: (error) => {
          const typed = typedError(error, exchange, logger);
          exchange.code = typed.code;
          return problemOf(typed, exchange, declared);
        },
        ended: () => {
          release();
          exchange.finish(200);
        },
      },
    );
    return { status: 200, headers: streamHeaders(format), body };
  } catch (error) {
    release();
    throw error;
  }
}
