import type { Armature } from "@armature/core";
import { createHttpHandler, serveNode } from "@armature/server-express";
import fastify from "fastify";
import { type Host, originOf, signedIn } from "./host.ts";

export async function startFastify(app: Armature, port = 0): Promise<Host> {
  const closing = new AbortController();
  const handler = createHttpHandler(app, { closing: closing.signal });
  const web = fastify({ forceCloseConnections: "idle" });
  web.get("/", async () => "a page of the host's own");
  // A scope of its own, so that the host's other routes keep their parsers and hooks.
  await web.register(
    async (api) => {
      // The handler reads bodies itself, as far as its limit allows.
      api.removeAllContentTypeParsers();
      api.addContentTypeParser("*", (_request, _payload, done) => done(null));
      api.all("/*", async (request, reply) => {
        reply.hijack();
        await serveNode(handler, request.raw, reply.raw, {
          url: request.url.slice("/api".length),
          mountPath: "/api",
          authenticate: async () => signedIn(request.headers),
          closing: closing.signal,
        });
      });
    },
    { prefix: "/api" },
  );
  await web.listen({ port, host: "127.0.0.1" });
  return {
    origin: originOf(web.server),
    close: async () => {
      closing.abort();
      await web.close();
      await app.close();
    },
  };
}
