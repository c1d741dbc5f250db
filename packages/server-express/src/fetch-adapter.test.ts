import { expect, it } from "vitest";
import { toFetchHandler } from "./fetch-adapter.ts";
import type { HandlerRequest } from "./http-exchange.ts";

it("hands a Request on as plain values, and the answer back as a Response", async () => {
  const seen: HandlerRequest[] = [];
  const handle = toFetchHandler(
    async (request) => {
      seen.push(request);
      return { status: 201, headers: { "x-answer": "yes" }, body: Buffer.from("made") };
    },
    { mountPath: "/api", peerAddress: () => "192.0.2.7", authenticate: () => ({ tenant: "acme", user: "ann" }) },
  );
  const answer = await handle(new Request("https://host.example/api/things?limit=1", { headers: { "X-Ours": "1" } }));
  expect([answer.status, answer.headers.get("x-answer"), await answer.text()]).toEqual([201, "yes", "made"]);
  expect(seen[0]).toMatchObject({
    method: "GET",
    url: "/things?limit=1",
    mountPath: "/api",
    headers: { "x-ours": "1" },
    peerAddress: "192.0.2.7",
    body: undefined,
  });
  expect(await seen[0]?.authenticate?.()).toEqual({ tenant: "acme", user: "ann" });
});

it("ends the parts of a stream when nobody reads them any more", async () => {
  const ended = Promise.withResolvers<string>();
  async function* parts() {
    try {
      for (;;) yield "part";
    } finally {
      ended.resolve("ended");
    }
  }
  const handle = toFetchHandler(async () => ({ status: 200, headers: {}, body: parts() }));
  const { body } = await handle(new Request("https://host.example/feed"));
  const reader = body!.getReader();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("part");
  await reader.cancel();
  expect(await ended.promise).toBe("ended");
});

it("ends the parts of a stream that nobody has begun to read", async () => {
  const ended = Promise.withResolvers<string>();
  async function* parts() {
    try {
      for (;;) yield "part";
    } finally {
      ended.resolve("ended");
    }
  }
  const handle = toFetchHandler(async () => ({ status: 200, headers: {}, body: parts() }));
  await (await handle(new Request("https://host.example/feed"))).body!.cancel();
  expect(await ended.promise).toBe("ended");
});

it.each(["/apithings", "/api-things", "/ap", "/"])("does not take %s for something below /api", async (path) => {
  const seen: string[] = [];
  const handle = toFetchHandler(
    async ({ url }) => {
      seen.push(url);
      return { status: 404, headers: {} };
    },
    { mountPath: "/api" },
  );
  await handle(new Request(`https://host.example${path}`));
  expect(seen).toEqual(["/../"]);
});

it("breaks a stream off that fails, so that it does not look complete", async () => {
  async function* parts() {
    yield "part";
    throw new Error("no more");
  }
  const handle = toFetchHandler(async () => ({ status: 200, headers: {}, body: parts() }));
  await expect((await handle(new Request("https://host.example/feed"))).text()).rejects.toThrow("no more");
});
