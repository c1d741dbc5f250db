import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NoteIsLocked } from "./test-context.ts";
import { deferred, rawConnection, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const item = (number: number) => ({ cursor: `c${number}`, item: { number, text: `line one\nline ${number}` } });

describe("a stream as lines of JSON", () => {
  test.each(["application/x-ndjson", "application/jsonl", "application/ndjson"])(
    "as %s, and ends with a line that says so",
    async (accept) => {
      const { status, headers, text } = await server.call("/feed", { headers: { accept } });
      expect([status, headers.get("content-type"), headers.get("vary")]).toEqual([200, accept, "Accept"]);
      expect(lines(text)).toEqual([item(1), item(2), item(3), { end: true }]);
    },
  );

  test("goes on behind a cursor", async () => {
    const headers = { accept: "application/jsonl", "last-event-id": "c2" };
    expect(lines((await server.call("/feed", { headers })).text)).toEqual([item(3), { end: true }]);
  });

  test("is asked for by weight; events are the default; anything else is refused", async () => {
    const typeFor = async (accept: string) =>
      (await server.call("/feed", { headers: { accept } })).headers.get("content-type");
    expect(await typeFor("*/*")).toBe("text/event-stream; charset=utf-8");
    expect(await typeFor("application/jsonl;q=0.9, text/event-stream;q=0.1")).toBe("application/jsonl");
    expect(await typeFor("application/*")).toBe("application/x-ndjson");
    const { status, problem } = await server.call("/feed", { headers: { accept: "application/json, text/html" } });
    expect([status, problem.code]).toEqual([406, "http.not_acceptable"]);
  });

  test("that fails says so in its last line, and is broken off too", async () => {
    server.outside.feed = async function* () {
      yield 1;
      throw new NoteIsLocked({ noteId: "note_1" });
    };
    const connection = await rawConnection(server.running.port);
    connection.send(
      `GET /feed HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.acme}\r\naccept: application/jsonl\r\nconnection: keep-alive\r\n\r\n`,
    );
    const received = await connection.ended;
    expect(received).toContain('{"cursor":"c1"');
    expect(received).toContain('{"problem":{"type":"urn:armature:error:desk.note_is_locked"');
    // Without the last chunk no client can take it for a whole answer.
    expect(received).not.toMatch(/\r\n0\r\n\r\n$/);
    const download = server.call("/feed", { headers: { accept: "application/jsonl" } });
    await expect(download).rejects.toThrow();
  });

  test("that the server's end cuts off does not look whole", async () => {
    const waiting = deferred();
    server.outside.feed = async function* (_after, _upTo, signal) {
      yield 1;
      waiting.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    };
    const download = server.call("/feed", { headers: { accept: "application/jsonl" } });
    const cut = expect(download).rejects.toThrow();
    await waiting.promise;
    await server.close();
    await cut;
  });
});

describe("what the pipeline refuses of a stream", () => {
  test("has its own status, without waiting for an item", async () => {
    server.outside.feed = async function* (_after, _upTo, signal) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield 1;
    };
    const refused = async (path: string, key: string | null) => (await server.call(path, { key })).status;
    expect(await refused("/feed?upTo=x", server.keys.acme)).toBe(400);
    expect(await refused("/feed", null)).toBe(401);
    const { identity } = server.app.as({ tenant: "acme", system: "test" });
    await identity.createUser({ userId: "nora", name: "Nora" });
    const { key } = await identity.createApiKey({ name: "none", account: { type: "user", id: "nora" } });
    expect(await refused("/feed", key)).toBe(403);
  });
});
