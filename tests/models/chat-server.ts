import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request to the server, as it came over the wire. */
export interface ChatRequest {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Readonly<Record<string, unknown>> & {
    readonly messages: readonly Readonly<Record<string, unknown>>[];
  };
  /** Resolves when the connection is gone: `true` when the client went before the answer had ended. */
  readonly left: Promise<boolean>;
}

export type ChatAnswer = (response: ServerResponse, request: ChatRequest) => void | Promise<void>;

/** A server of OpenAI's chat completions on loopback, which gives the answers that a test has put down. */
export class ChatServer {
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly requests: ChatRequest[] = [];
  #answers: ChatAnswer[] = [];

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get baseURL(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** What the next requests get, one each. What was left over from before is dropped. */
  answers(...answers: readonly ChatAnswer[]): void {
    this.#answers = [...answers];
    this.requests.length = 0;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.socket?.setNoDelay(true);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const left = new Promise<boolean>((resolve) => response.on("close", () => resolve(!response.writableFinished)));
    const received: ChatRequest = {
      path: request.url ?? "",
      headers: request.headers,
      body: JSON.parse(Buffer.concat(chunks).toString()),
      left,
    };
    this.requests.push(received);
    const answer = this.#answers.shift() ?? status(418, { error: { message: "The test has no answer for this." } });
    await answer(response, received);
  }
}

/** JSON with a status. */
export function status(code: number, body: unknown, headers: Readonly<Record<string, string>> = {}): ChatAnswer {
  return (response) => {
    response.writeHead(code, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  };
}

/** Server-sent events of a completion, each an object or a line as it is. */
export function events(...chunks: readonly (object | string)[]): Buffer {
  const lines = chunks.map((chunk) => (typeof chunk === "string" ? chunk : `data: ${JSON.stringify(chunk)}`));
  return Buffer.from(`${[...lines, "data: [DONE]"].join("\n\n")}\n\n`);
}

export interface StreamOptions {
  /** Where the bytes are cut into writes, each of them flushed before the next. */
  readonly cuts?: readonly number[];
  /** What is done after the last byte, in place of the end. */
  readonly end?: (response: ServerResponse) => void | Promise<void>;
}

/** A stream of bytes. */
export function stream(bytes: Buffer, { cuts = [], end: finish }: StreamOptions = {}): ChatAnswer {
  return async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const places = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].sort((a, b) => a - b);
    for (const [index, end] of places.slice(1).entries()) {
      await new Promise((resolve) => response.write(bytes.subarray(places[index], end), resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (finish === undefined) response.end();
    else await finish(response);
  };
}

/** A chunk with a delta. */
export function delta(fields: object, finishReason: string | null = null): object {
  return {
    id: "chat-1",
    object: "chat.completion.chunk",
    created: 1_790_000_000,
    model: "large-2026-10",
    choices: [{ index: 0, delta: fields, finish_reason: finishReason }],
  };
}

/** A whole completion, where nothing is streamed. */
export function completion(message: object, finishReason = "stop"): object {
  return {
    id: "chat-1",
    object: "chat.completion",
    created: 1_790_000_000,
    model: "large-2026-10",
    choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finishReason }],
    usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 },
  };
}
