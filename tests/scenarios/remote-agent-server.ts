import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request that a remote agent has got. */
export interface Got {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly body: any;
  readonly response: ServerResponse;
}

/** A remote agent that does what a test says, be it wrong. */
export interface RemoteAgentServer {
  readonly url: string;
  readonly got: readonly Got[];
  /** How the next requests are answered. */
  answer(how: (got: Got) => void): void;
  /** Resolves with the first request that fits, now or later. */
  request(fits: (got: Got) => boolean): Promise<Got>;
  close(): Promise<void>;
}

export async function startRemoteAgent(): Promise<RemoteAgentServer> {
  const got: Got[] = [];
  const waiting = new Set<() => void>();
  let how: (got: Got) => void = ({ response }) => void response.writeHead(404).end();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const { method = "", url: path = "", headers } = request;
    const one = { method, path, headers, body: text === "" ? undefined : JSON.parse(text), response };
    got.push(one);
    how(one);
    for (const look of waiting) look();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/agent`,
    got,
    answer: (next) => {
      how = next;
    },
    request: (fits) =>
      new Promise((resolve) => {
        const look = () => {
          const found = got.find(fits);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    async close() {
      server.closeAllConnections();
      await once(server.close(), "close");
    },
  };
}

/** Answers with these events, `[type, data]`, numbered from `first`, and leaves the stream open unless it is to end. */
export function events(
  { response }: Got,
  list: readonly (readonly [string, unknown])[],
  { first = 1, end = true }: { readonly first?: number; readonly end?: boolean } = {},
): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const [at, [type, data]] of list.entries())
    response.write(`id: ${first + at}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  if (end) response.end();
  else response.write(": at work\n\n");
}
