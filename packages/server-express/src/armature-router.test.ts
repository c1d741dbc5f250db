import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import express, { type Express } from "express";
import { afterEach, describe, expect, test } from "vitest";
import { armatureRouter, type RouterOptions } from "./armature-router.ts";
import { countFrom, deskContext } from "./test-context.ts";
import { type Answer, type CallInit, callAs } from "./test-server.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});

async function host(
  prepare: (web: Express) => void,
  options: RouterOptions = {},
): Promise<(path: string, init?: CallInit) => Promise<Answer>> {
  const outside = { print: async (copies: number) => copies, feed: countFrom };
  const app = await createArmature({ store: inMemory(), contexts: [deskContext(outside)], authorizer: () => true });
  const web = express();
  prepare(web);
  web.use("/api", armatureRouter(app, options));
  web.get("/", (_req, res) => void res.send("the host's own page"));
  const server: Server = web.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(async () => {
    server.close();
    server.closeAllConnections();
    await app.close();
  });
  const { port } = server.address() as AddressInfo;
  return (path, init) => callAs(`http://127.0.0.1:${port}`, "", path, { key: null, ...init });
}

const asAnn = async () => ({ tenant: "acme", user: "ann" });

describe("a host's own Express app", () => {
  test("has the API under its path and everything else where it was", async () => {
    const call = await host(() => undefined, { authenticate: asAnn });
    const { json } = await call("/api/notes", { json: { text: "hello" } });
    expect((await call(`/api/notes/${json.noteId}`)).json.text).toBe("hello");
    expect((await call("/api/health")).json).toEqual({ status: "up" });
    expect((await call("/")).text).toBe("the host's own page");
    expect((await call("/api/nothing")).problem.code).toBe("http.route_unknown");
    expect((await call("/api")).problem.code).toBe("http.route_unknown");
  });

  test("decides who calls by its own means, from its own request", async () => {
    const call = await host(() => undefined, {
      authenticate: async (request) =>
        request.get("x-session") === "s-1" ? { tenant: "acme", user: "ann" } : undefined,
    });
    expect((await call("/api/me", { headers: { "x-session": "s-1" } })).json.actor).toEqual({
      type: "user",
      id: "ann",
    });
    const refused = await call("/api/me", { headers: { "x-session": "s-2" } });
    expect([refused.status, refused.problem.code]).toEqual([401, "unauthenticated"]);
  });

  test("whose authenticate fails, or gives no principal, answers a bare 500", async () => {
    for (const authenticate of [
      () => Promise.reject(new Error("canary-7f3")),
      async () => ({ tenant: "Not A Tenant", user: "ann" }),
    ]) {
      const call = await host(() => undefined, { authenticate });
      const { status, problem, text } = await call("/api/me");
      expect([status, problem.code]).toEqual([500, "internal"]);
      expect(text).not.toMatch(/canary|Not A Tenant/);
    }
  });

  test("may have parsed the body already", async () => {
    const call = await host((web) => web.use(express.json()), { authenticate: asAnn });
    const { status, json } = await call("/api/notes", { json: { text: "parsed before" } });
    expect(status).toBe(200);
    expect((await call(`/api/notes/${json.noteId}`)).json.text).toBe("parsed before");
    expect((await call(`/api/notes/${json.noteId}/lock`, { method: "POST" })).status).toBe(204);
  });

  test("may have read the body as bytes or text", async () => {
    for (const parser of [express.raw({ type: "*/*" }), express.text({ type: "*/*" })]) {
      const call = await host((web) => web.use(parser), { authenticate: asAnn });
      expect((await call("/api/notes", { json: { text: "read before" } })).status).toBe(200);
    }
  });

  test("says in the document where the API is, and does not promise API keys", async () => {
    const call = await host(() => undefined, { authenticate: asAnn });
    const { json } = await call("/api/openapi.json");
    expect(json.servers).toEqual([{ url: "/api" }]);
    expect(json.security).toEqual([]);
    expect(json.components.securitySchemes).toEqual({});
  });

  test("streams under its path", async () => {
    const call = await host(() => undefined, { authenticate: asAnn });
    expect((await call("/api/feed?upTo=1")).text).toContain("event: end");
  });
});
