import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NoteIsLocked } from "./test-context.ts";
import { deferred, logged, rawConnection, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ heartbeatMs: 20 });
});
afterEach(() => server.close());

const event = (number: number) => `id: c${number}\ndata: {"number":${number},"text":"line one\\nline ${number}"}\n\n`;
const END = "event: end\ndata: {}\n\n";

/** Numbers that come when the test says so, and whether anybody still listens. */
function handFed() {
  const closed = deferred<boolean>();
  const pushed: number[] = [];
  let wake = deferred();
  let asked = 0;
  return {
    closed: closed.promise,
    get asked() {
      return asked;
    },
    push(number: number) {
      pushed.push(number);
      wake.resolve();
    },
    async *feed(_after: number, _upTo: number | undefined, signal: AbortSignal): AsyncIterable<number> {
      signal.addEventListener("abort", () => wake.resolve());
      try {
        for (;;) {
          asked += 1;
          while (pushed.length === 0 && !signal.aborted) {
            await wake.promise;
            wake = deferred();
          }
          if (signal.aborted) return;
          yield pushed.shift()!;
        }
      } finally {
        closed.resolve(signal.aborted);
      }
    },
  };
}

async function openFeed(headers: Readonly<Record<string, string>> = {}) {
  const gone = new AbortController();
  const response = await fetch(`${server.origin}/feed`, {
    headers: { "x-api-key": server.keys.acme, ...headers },
    signal: gone.signal,
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  return {
    response,
    gone,
    async until(text: string): Promise<string> {
      while (!received.includes(text)) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`The stream ended before "${text}": ${received}`);
        received += value;
      }
      return received;
    },
    async rest(): Promise<string> {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return received;
        received += value;
      }
    },
  };
}

describe("a stream", () => {
  test("sends each item as an event with its cursor, and says when it is over", async () => {
    const { status, headers, text } = await server.call("/feed?upTo=2");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(headers.get("cache-control")).toBe("no-store, no-transform");
    expect(text).toBe(`: open\n\n${event(1)}${event(2)}${END}`);
  });

  test("goes on after the item that the client had last", async () => {
    const { text } = await server.call("/feed?upTo=3", { headers: { "last-event-id": "c2" } });
    expect(text).toBe(`: open\n\n${event(3)}${END}`);
  });

  test("that is over before it begins says so", async () => {
    const { text } = await server.call("/feed?upTo=0");
    expect(text).toBe(`: open\n\n${END}`);
  });

  test("gives nothing more to a key that was revoked", async () => {
    const fed = handFed();
    server.outside.feed = fed.feed;
    fed.push(1);
    const feed = await openFeed();
    await feed.until(event(1));
    const { identity } = server.app.as({ tenant: "acme", system: "test" });
    const keyId = (await identity.listApiKeys({ accountType: "user", accountId: "ann" })).items[0]!.keyId;
    await identity.revokeApiKey({ keyId });
    fed.push(2);
    const received = await feed.rest();
    expect(received).not.toContain(event(2));
    expect(received).toMatch(/event: problem\ndata: .*"code":"unauthenticated"/);
    expect(await fed.closed).toBe(false);
  });

  test("that is silent shows that it is alive", async () => {
    const fed = handFed();
    server.outside.feed = fed.feed;
    fed.push(1);
    const feed = await openFeed();
    await feed.until(`${event(1)}: heartbeat\n\n: heartbeat\n\n`);
    fed.push(2);
    await feed.until(event(2));
    feed.gone.abort();
  });

  test.each([
    ["without a key", { key: null }, 401, "unauthenticated"],
    ["with a parameter that does not fit", { path: "/feed?upTo=many" }, 400, "invalid_input"],
    ["from a cursor that is none", { headers: { "last-event-id": "elsewhere" } }, 404, "not_found"],
  ] as const)("that is refused at once has the refusal's own status: %s", async (_name, init, status, code) => {
    const { path = "/feed", ...rest } = init as { path?: string };
    const answer = await server.call(path, rest);
    expect([answer.status, answer.problem.code]).toEqual([status, code]);
  });

  test("that fails in the middle says what it was, and does not say that it is over", async () => {
    server.outside.feed = async function* () {
      yield 1;
      throw new NoteIsLocked({ noteId: "note_1" });
    };
    const { text } = await server.call("/feed");
    const [, problem] = /^: open\n\nid: c1\n.*\n\nevent: problem\ndata: (.*)\n\n$/.exec(text) ?? [];
    expect(JSON.parse(problem!)).toMatchObject({ status: 409, code: "desk.note_is_locked", kind: "precondition" });
    const line = await logged(server.logger, ({ message }) => message === "request");
    expect(line.fields).toMatchObject({ operation: "desk.feed", errorCode: "desk.note_is_locked" });
  });

  test("that fails for a reason nobody foresaw tells a trace id and nothing else", async () => {
    server.outside.feed = async function* () {
      yield 1;
      throw new Error("the canary-7f3 is in this sentence");
    };
    const { text } = await server.call("/feed");
    expect(text).toContain('"code":"internal"');
    expect(text).not.toContain("canary");
    expect(server.logger.text()).toContain("canary-7f3");
  });

  test("is closed when the client goes away", async () => {
    const fed = handFed();
    server.outside.feed = fed.feed;
    fed.push(1);
    const feed = await openFeed({ "x-request-id": "feed-1" });
    await feed.until(event(1));
    feed.gone.abort();
    expect(await fed.closed).toBe(true);
    const line = await logged(server.logger, ({ fields }) => fields["requestId"] === "feed-1");
    expect(line.fields).toMatchObject({ operation: "desk.feed", status: 200, disconnected: true });
  });

  test("is closed when a client goes away that did not take what there was", async () => {
    const closed = deferred();
    server.outside.feed = async function* () {
      try {
        for (let number = 1; ; number += 1) yield number;
      } finally {
        closed.resolve();
      }
    };
    const connection = await rawConnection(server.running.port);
    connection.send(`GET /feed HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.acme}\r\n\r\n`);
    await connection.until(/id: c1\n/);
    connection.socket.pause();
    connection.close();
    await closed.promise;
  });

  test("is cut off without an end when the server shuts down, so that the client resumes elsewhere", async () => {
    const fed = handFed();
    server.outside.feed = fed.feed;
    fed.push(1);
    const feed = await openFeed();
    await feed.until(event(1));
    const closing = server.close();
    expect(await feed.rest()).not.toContain("event: end");
    expect(await fed.closed).toBe(true);
    await closing;
  });

  test("is not begun by HEAD", async () => {
    const fed = handFed();
    server.outside.feed = fed.feed;
    const { status, headers, text } = await server.call("/feed", { method: "HEAD" });
    expect([status, text, headers.get("content-type")]).toEqual([200, "", "text/event-stream; charset=utf-8"]);
    expect(fed.asked).toBe(0);
  });
});
