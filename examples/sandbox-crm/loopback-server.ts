import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

/** An HTTP server that only this machine can reach. */
export interface LoopbackServer {
  /** `http://127.0.0.1:4321` */
  readonly origin: string;
  readonly port: number;
  /** Answers every request from now on. */
  serve(handler: (request: IncomingMessage, response: ServerResponse) => Promise<void>): void;
  /** Closes every connection, those with a request under way too. */
  close(): Promise<void>;
}

/** Thrown by a handler to refuse a request: the server answers with this status and sentence. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/**
 * Starts listening at once, so that the port is known before the handler is made: an authorization server has to know
 * its own address.
 */
export async function listenOnLoopback(port = 0): Promise<LoopbackServer> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const bound = (server.address() as AddressInfo).port;
  return {
    origin: `http://127.0.0.1:${bound}`,
    port: bound,
    serve(handler) {
      server.on("request", (request, response) => {
        handler(request, response).catch((error: unknown) => refuse(response, error));
      });
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
  } else if (error instanceof Refusal) {
    sendJson(response, error.status, { error: { code: error.code, message: error.message } }, error.headers);
  } else {
    console.error(error);
    sendJson(response, 500, { error: { code: "internal", message: "The server failed." } });
  }
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers });
  response.end(JSON.stringify(body));
}

/** The request's body as text. Refuses with 413 what is longer than `maxBytes`. */
export async function readText(request: IncomingMessage, maxBytes = 64 * 1024): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      throw new Refusal(413, "too_large", `The body is longer than ${maxBytes} bytes.`, { connection: "close" });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The value in the schema's shape; refuses with 400 and the sentence that says where it does not fit. */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (!result.success) throw new Refusal(400, "invalid_request", z.prettifyError(result.error));
  return result.data;
}

export function parseJson<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal(400, "invalid_json", "The body is not JSON.");
  }
  return parse(schema, value);
}

/**
 * Runs a server as a process: prints one line, `{"ready":"http://127.0.0.1:4321"}`, and stops on SIGINT, on SIGTERM, and
 * when a parent that holds an IPC channel goes away, so that no orphan keeps a port.
 */
export async function runAsProcess(start: () => Promise<{ readonly origin: string; close(): Promise<void> }>) {
  try {
    const server = await start();
    const stop = () => void server.close().then(() => process.exit(0));
    process.once("SIGINT", stop).once("SIGTERM", stop).once("disconnect", stop);
    process.stdout.write(`${JSON.stringify({ ready: server.origin })}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}\n`);
    process.exit(1);
  }
}

/** Whether this module is the one that `node` was asked to run. */
export function isMain(meta: ImportMeta): boolean {
  return (meta as ImportMeta & { readonly main?: boolean }).main === true;
}
