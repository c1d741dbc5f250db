import { defineError } from "@armature/core";
import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { createHttpHandler } from "./http-handler.ts";
import { deferred, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
afterEach(() => server.close());

class DiskFull extends defineError("store.disk_full", {
  kind: "unavailable",
  details: z.object({ host: z.string() }),
  message: ({ host }) => `The disk of ${host} is full.`,
}) {}

async function startWithReady(ready: () => Promise<void>): Promise<void> {
  server = await startTestServer({ wrap: (app) => ({ ...app, ready }) });
}

test("health needs no key and asks nobody", async () => {
  await startWithReady(() => Promise.reject(new Error("must not be asked")));
  const { status, json, headers } = await server.call("/health", { key: null });
  expect([status, json]).toEqual([200, { status: "up" }]);
  expect(headers.get("cache-control")).toBe("no-store");
});

test("a server that has what it needs is ready", async () => {
  server = await startTestServer();
  const { status, json } = await server.call("/ready", { key: null });
  expect([status, json]).toEqual([200, { status: "ready" }]);
});

test("a server that lacks something says that, and neither what it is called nor where it is", async () => {
  await startWithReady(() => Promise.reject(new DiskFull({ host: "db-1.internal" })));
  const { status, problem, text } = await server.call("/ready", { key: null });
  expect([status, problem.code, problem.kind]).toEqual([503, "http.not_ready", "unavailable"]);
  expect(problem.detail).toBe("The server is not ready: something that it needs does not answer (store.disk_full).");
  expect(text).not.toContain("db-1");
});

test("what is wrong in words that nobody chose is not shown at all", async () => {
  await startWithReady(() => Promise.reject(new Error("connect ECONNREFUSED redis://:pw@10.0.0.7:6379")));
  const { status, problem, text } = await server.call("/ready", { key: null });
  expect([status, problem.detail]).toEqual([503, "The server is not ready: something that it needs does not answer."]);
  expect(text).not.toContain("10.0.0.7");
});

test("many who ask at once share one look, and the next one looks again", async () => {
  let looks = 0;
  const looking = deferred();
  await startWithReady(async () => {
    looks += 1;
    await looking.promise;
  });
  const asked = Promise.all(Array.from({ length: 20 }, () => server.call("/ready", { key: null })));
  // All of them have arrived when the last one's request line could have been written.
  await server.call("/health", { key: null });
  looking.resolve();
  expect((await asked).map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(looks).toBeLessThan(20);
  const before = looks;
  await server.call("/ready", { key: null });
  expect(looks).toBe(before + 1);
});

test("a server that shuts down is up and not ready, so that no new work is sent to it", async () => {
  server = await startTestServer();
  const handle = createHttpHandler(server.app, { closing: AbortSignal.abort() });
  const ask = (url: string) => handle({ method: "GET", url, headers: {}, signal: new AbortController().signal });
  const { status, body } = await ask("/ready");
  expect(status).toBe(503);
  expect(JSON.parse(String(body))).toMatchObject({
    code: "http.not_ready",
    detail: "The server is not ready: it is shutting down.",
  });
  expect((await ask("/health")).status).toBe(200);
});
