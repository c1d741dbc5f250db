import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { PrincipalInput } from "@armature/core";
import type { HandlerResponse, HttpHandler } from "./http-exchange.ts";

/** What a server knows of a request beside what Node says. */
export interface NodeRequestOptions {
  /** Path and query below the mount point; the request's own when absent. */
  readonly url?: string | undefined;
  readonly mountPath?: string | undefined;
  /** The body, where a parser of the host has read it already. */
  readonly parsedBody?: unknown;
  readonly authenticate?: (() => Promise<PrincipalInput | undefined>) | undefined;
  /** Aborted when the server begins to shut down: connections are not kept. */
  readonly closing?: AbortSignal | undefined;
}

/** How much more of a refused body is taken in and thrown away, so that the client can read why. */
const LINGER_BYTES = 4 * 1024 * 1024;
const LINGER_MS = 1_000;

/** Carries one request of a Node server through the handler. Never rejects. */
export async function serveNode(
  handler: HttpHandler,
  req: IncomingMessage,
  res: ServerResponse,
  options: NodeRequestOptions = {},
): Promise<void> {
  const gone = new AbortController();
  res.once("close", () => {
    if (!res.writableFinished) gone.abort();
  });
  try {
    const response = await handler({
      method: req.method ?? "GET",
      url: options.url ?? req.url ?? "/",
      mountPath: options.mountPath,
      headers: req.headers,
      peerAddress: req.socket.remoteAddress,
      body: bodyOf(req, options.parsedBody),
      signal: gone.signal,
      authenticate: options.authenticate,
    });
    await send(req, res, response, gone.signal, options.closing?.aborted === true);
  } catch {
    // The connection is at fault, or the answer broke off in the middle. It must not look complete, and what was
    // written of it arrives.
    if (res.headersSent && res.socket !== null && !res.socket.destroyed) res.socket.destroySoon();
    else res.destroy();
  }
}

async function send(
  req: IncomingMessage,
  res: ServerResponse,
  { status, headers, body }: HandlerResponse,
  gone: AbortSignal,
  closing: boolean,
): Promise<void> {
  // What was not read of the body would have to be, before the next request.
  const unread = !req.complete;
  const last = (unread || closing) && req.httpVersionMajor < 2;
  res.writeHead(status, last ? { ...headers, connection: "close" } : headers);
  if (body !== undefined && !(body instanceof Uint8Array)) {
    for await (const part of body) {
      if (gone.aborted) break;
      if (!res.write(part)) await once(res, "drain", { signal: gone });
    }
    res.end();
  } else if (unread && !gone.aborted) {
    // The client has its answer before the connection closes on what it still sends.
    if (body === undefined) res.flushHeaders();
    else res.write(body);
    await discard(req);
    res.end();
  } else res.end(body);
}

function discard(req: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let length = 0;
    const timer = setTimeout(resolve, LINGER_MS);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    req.on("data", (chunk: Buffer) => {
      length += chunk.byteLength;
      if (length > LINGER_BYTES) done();
    });
    req.once("end", done).once("close", done);
    req.resume();
  });
}

function bodyOf(req: IncomingMessage, parsed: unknown): AsyncIterable<Uint8Array> | undefined {
  if (parsed !== undefined && req.readableDidRead) return again(parsed);
  const { "content-length": length, "transfer-encoding": coding } = req.headers;
  const none = req.httpVersionMajor < 2 ? coding === undefined && (length ?? "0") === "0" : req.readableEnded;
  // Not destroyed when it is left unread, since the answer has to go the same way.
  return none ? undefined : { [Symbol.asyncIterator]: () => req.iterator({ destroyOnReturn: false }) };
}

// A parser before us has taken the bytes. What it made of them is written again, so that there is one way to read it.
async function* again(parsed: unknown): AsyncIterable<Uint8Array> {
  if (parsed instanceof Uint8Array) yield parsed;
  else yield Buffer.from(typeof parsed === "string" ? parsed : JSON.stringify(parsed));
}
