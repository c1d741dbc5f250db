import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type Armature, createArmature, defineContext, defineContract, query, ShuttingDown } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { createHttpHandler, toFetchHandler } from "@armature/server-express";
import { ordersContext } from "@armature-examples/own-context";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { startExpress } from "./express-host.ts";
import { startFastify } from "./fastify-host.ts";
import { type Host, signedIn } from "./host.ts";
import { startNode } from "./node-host.ts";

/** An operation that lasts until the test says so, or until its caller has gone. */
function patience() {
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<"answered" | "aborted">();
  const contract = defineContract("patience", {
    wait: query({
      input: z.strictObject({}),
      output: z.object({ waited: z.boolean() }),
      permission: "patience:wait",
      http: "GET /patience",
      summary: "Waits.",
    }),
  });
  const context = defineContext(contract, {
    handlers: {
      wait: async (_input, ctx) => {
        const aborted = new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => resolve()));
        begun.resolve();
        await Promise.race([released.promise, aborted]);
        ended.resolve(ctx.signal.aborted ? "aborted" : "answered");
        return { waited: true };
      },
    },
  });
  return { context, begun: begun.promise, release: released.resolve, ended: ended.promise };
}

const json = { "x-demo-user": "ann", "content-type": "application/json" };
const order = { customer: "Bo", total: { amount: 1999, currency: "USD" } };

type Fetch = (path: string, init?: RequestInit) => Promise<Response>;

/** The calls that every host gets, and what it answers without what differs each time. */
async function conversation(call: Fetch): Promise<Record<string, unknown>> {
  const said: Record<string, unknown> = {};
  const note = async (what: string, response: Response) => {
    const text = await response.text();
    const body = text === "" ? undefined : JSON.parse(text);
    const { "content-type": type, allow } = Object.fromEntries(response.headers);
    said[what] = { status: response.status, type, ...(allow === undefined ? {} : { allow }), body };
    return body;
  };
  const post = (body: unknown): RequestInit => ({ method: "POST", headers: json, body: JSON.stringify(body) });
  const { orderId } = await note("create", await call("/api/orders", post(order)));
  await note("list", await call("/api/orders?limit=5", { headers: json }));
  await note("list with a wrong limit", await call("/api/orders?limit=ten", { headers: json }));
  await note("create with a field too many", await call("/api/orders", post({ ...order, extra: 1 })));
  await note("create with what is not JSON", await call("/api/orders", { ...post(0), body: "{" }));
  await note(
    "create with another type",
    await call("/api/orders", { ...post(0), headers: { "x-demo-user": "ann", "content-type": "text/plain" } }),
  );
  await note("ship", await call(`/api/orders/${orderId}/ship`, { method: "POST", headers: json }));
  await note("ship again", await call(`/api/orders/${orderId}/ship`, { method: "POST", headers: json }));
  await note("somebody unknown", await call("/api/orders"));
  await note("no such route", await call("/api/nowhere", { headers: json }));
  await note("no such method", await call("/api/orders", { method: "PUT", headers: json }));
  await note(
    "a body that is too big",
    await call("/api/orders", post({ ...order, customer: "B".repeat(2 * 1024 * 1024) })),
  );
  const openapi = (await (await call("/api/openapi.json")).json()) as { paths: object; servers: unknown };
  said["the document"] = [Object.keys(openapi.paths).includes("/orders"), openapi.servers];

  const gone = new AbortController();
  const watching = await call(`/api/orders/${orderId}/watch`, { headers: json, signal: gone.signal });
  const reader = watching.body!.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  while (!/data:.*\n\n/.test(seen)) seen += (await reader.read()).value;
  gone.abort();
  await reader.cancel().catch(() => undefined);
  said["the stream"] = { type: watching.headers.get("content-type"), seen };

  // Ids and traces are other ones each time.
  return JSON.parse(
    JSON.stringify(said)
      .replaceAll(orderId, "ORDER")
      .replaceAll(/"(traceId|requestId|instance)":"[^"]*"/g, '"$1":"…"'),
  );
}

const hosts = { Express: startExpress, Fastify: startFastify, "node:http": startNode };
const first: { said?: Record<string, unknown> } = {};

describe.each(Object.entries(hosts))("in a host with %s", (_name, start) => {
  let app: Armature;
  let host: Host;
  let waiting: ReturnType<typeof patience>;

  beforeEach(async () => {
    waiting = patience();
    app = await createArmature({
      store: inMemory(),
      contexts: [ordersContext, waiting.context],
      authorizer: () => true,
    });
    host = await start(app);
  });
  afterEach(async () => {
    waiting.release();
    await host.close();
  });

  it("every call is answered as in the others", async () => {
    const said = await conversation((path, init) => fetch(host.origin + path, init));
    first.said ??= said;
    expect(said).toEqual(first.said);
    const statuses = Object.entries(said as Record<string, { status?: number }>).flatMap(([what, { status }]) =>
      status === undefined ? [] : [[what, status]],
    );
    expect(Object.fromEntries(statuses)).toEqual({
      create: 200,
      list: 200,
      "list with a wrong limit": 400,
      "create with a field too many": 400,
      "create with what is not JSON": 400,
      "create with another type": 415,
      ship: 204,
      "ship again": 409,
      "somebody unknown": 401,
      "no such route": 404,
      "no such method": 405,
      "a body that is too big": 413,
    });
    expect(said["the stream"]).toMatchObject({ type: expect.stringContaining("text/event-stream") });
    expect((said["the stream"] as { seen: string }).seen).toContain('"status":"shipped"');
  });

  it("a client that goes away ends the call", async () => {
    const gone = new AbortController();
    const call = fetch(`${host.origin}/api/patience`, { headers: json, signal: gone.signal });
    await waiting.begun;
    gone.abort();
    await expect(call).rejects.toThrow();
    expect(await waiting.ended).toBe("aborted");
  });

  it("the host's own pages are its own", async () => {
    expect(await (await fetch(host.origin)).text()).toBe("a page of the host's own");
    expect((await fetch(`${host.origin}/apiary`)).status).not.toBe(401);
  });

  it("closing lets the request under way finish, ends streams, and takes no more", async () => {
    const placed = await fetch(`${host.origin}/api/orders`, {
      method: "POST",
      headers: json,
      body: JSON.stringify(order),
    });
    const { orderId } = (await placed.json()) as { orderId: string };
    const watching = await fetch(`${host.origin}/api/orders/${orderId}/watch`, { headers: json });
    const call = fetch(`${host.origin}/api/patience`, { headers: json });
    await waiting.begun;
    const closing = host.close();
    const { port } = new URL(host.origin);
    await expect
      .poll(async () => {
        const socket = connect(Number(port), "127.0.0.1");
        const refused = await Promise.race([
          once(socket, "connect").then(() => false),
          once(socket, "error").then(() => true),
        ]).catch(() => true);
        socket.destroy();
        return refused;
      })
      .toBe(true);
    // It ends without saying that it is over: the client comes back to another process.
    expect(await watching.text()).toContain('"status":"open"');
    waiting.release();
    expect(await (await call).json()).toEqual({ waited: true });
    await closing;
    await expect(app.as({ tenant: "acme", user: "ann" }).identity.getTenant()).rejects.toThrow(ShuttingDown);
  });
});

describe("behind Request and Response", () => {
  it("every call is answered as by a server", async () => {
    await using app = await createArmature({ store: inMemory(), contexts: [ordersContext], authorizer: () => true });
    const handle = toFetchHandler(createHttpHandler(app), {
      mountPath: "/api",
      authenticate: (request) => signedIn(Object.fromEntries(request.headers)),
    });
    const said = await conversation((path, init) => handle(new Request(`http://host.example${path}`, init)));
    expect(said).toEqual(first.said);
    expect((await handle(new Request("http://host.example/apiary"))).status).toBe(404);
    expect((await handle(new Request("http://host.example/"))).status).toBe(404);
  });

  it("a client that goes away ends the call", async () => {
    const waiting = patience();
    await using app = await createArmature({ store: inMemory(), contexts: [waiting.context], authorizer: () => true });
    const handle = toFetchHandler(createHttpHandler(app), { authenticate: () => ({ tenant: "acme", user: "ann" }) });
    const gone = new AbortController();
    const answer = handle(new Request("http://host.example/patience", { signal: gone.signal }));
    await waiting.begun;
    gone.abort();
    expect(await waiting.ended).toBe("aborted");
    expect((await answer).status).toBeGreaterThan(399);
  });
});

describe("the examples", () => {
  it("are less than 60 lines each", () => {
    for (const file of ["express-host.ts", "fastify-host.ts", "node-host.ts"]) {
      const lines = readFileSync(join(import.meta.dirname, file), "utf8")
        .trimEnd()
        .split("\n").length;
      expect(lines, file).toBeGreaterThan(15);
      expect(lines, file).toBeLessThan(60);
    }
  });

  it.each(["express", "fastify", "node"])("run by one command: %s", async (name) => {
    const host = spawn(process.execPath, ["--conditions=@armature/source", "run.ts", name], {
      cwd: import.meta.dirname,
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line] = (await once(host.stdout.setEncoding("utf8"), "data")) as [string];
      const url = /http:\S+/.exec(line)?.[0] ?? "";
      expect(await (await fetch(url, { headers: json })).json()).toEqual({ items: [] });
    } finally {
      host.kill("SIGTERM");
      expect(await once(host, "exit")).toEqual([0, null]);
    }
  });
});
