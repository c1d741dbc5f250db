import { once } from "node:events";
import type { Armature } from "@armature/core";
import { armatureRouter } from "@armature/server-express";
import express from "express";
import { type Host, originOf, signedIn } from "./host.ts";

export async function startExpress(app: Armature, port = 0): Promise<Host> {
  const closing = new AbortController();
  const web = express();
  web.get("/", (_request, response) => void response.send("a page of the host's own"));
  web.use(
    "/api",
    armatureRouter(app, { authenticate: (request) => signedIn(request.headers), closing: closing.signal }),
  );
  const server = web.listen(port, "127.0.0.1");
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
