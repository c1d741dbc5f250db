import { once } from "node:events";
import { createServer } from "node:http";
import type { Armature } from "@armature/core";
import { createHttpHandler, serveNode } from "@armature/server-express";
import { type Host, originOf, signedIn } from "./host.ts";

export async function startNode(app: Armature, port = 0): Promise<Host> {
  const closing = new AbortController();
  const handler = createHttpHandler(app, { closing: closing.signal });
  const server = createServer((request, response) => {
    const url = request.url ?? "/";
    if (/^\/api(?:[/?]|$)/.test(url))
      return void serveNode(handler, request, response, {
        url: url.slice("/api".length),
        mountPath: "/api",
        authenticate: async () => signedIn(request.headers),
        closing: closing.signal,
      });
    response.end("a page of the host's own");
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: originOf(server),
    close: async () => {
      closing.abort();
      server.close();
      await once(server, "close");
      await app.close();
    },
  };
}
