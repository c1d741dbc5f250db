import { once } from "node:events";
import { Agent, request } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { deferred, logged, rawConnection, startTestServer, type TestServer } from "./test-server.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(options: Parameters<typeof startTestServer>[0] = {}): Promise<TestServer> {
  const server = await startTestServer(options);
  servers.push(server);
  return server;
}

const head = (server: TestServer, line: string, ...headers: string[]) =>
  `${[line, "host: x", `x-api-key: ${server.keys.acme}`, ...headers].join("\r\n")}\r\n\r\n`;

describe("bodies that are too large", () => {
  test("are refused by what they announce, before any of it is sent", async () => {
    const server = await start({ bodyLimit: 1000 });
    const connection = await rawConnection(server.running.port);
    connection.send(head(server, "POST /notes HTTP/1.1", "content-type: application/json", "content-length: 1001"));
    const answer = await connection.until(/http\.body_too_large/);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/connection: close/i);
    expect(answer).toContain('"maxBytes":1000');
    connection.close();
  });

  test("are refused in the middle when they come in chunks that announce nothing", async () => {
    const server = await start({ bodyLimit: 1000 });
    const connection = await rawConnection(server.running.port);
    connection.send(
      head(server, "POST /notes HTTP/1.1", "content-type: application/json", "transfer-encoding: chunked"),
    );
    connection.send(`1f4\r\n${"x".repeat(500)}\r\n`);
    connection.send(`1f5\r\n${"x".repeat(501)}\r\n`);
    expect(await connection.until(/http\.body_too_large/)).toMatch(/^HTTP\/1\.1 413 /);
    connection.close();
  });

  test("of exactly the limit are taken", async () => {
    const server = await start({ bodyLimit: 1000 });
    const body = JSON.stringify({ text: "x".repeat(1000 - '{"text":""}'.length) });
    expect(body).toHaveLength(1000);
    expect((await server.call("/notes", { body })).status).toBe(200);
    expect((await server.call("/notes", { body: `${body} ` })).status).toBe(413);
  });

  test.each([
    ["announced", `content-length: ${4_000_000}`, (body: Buffer) => body],
    ["in chunks", "transfer-encoding: chunked", (body: Buffer) => Buffer.concat([Buffer.from("3d0900\r\n"), body])],
  ])("do not break the connection under a client that is still sending (%s)", async (_name, header, encode) => {
    const server = await start({ bodyLimit: 1000 });
    const connection = await rawConnection(server.running.port);
    connection.send(head(server, "POST /notes HTTP/1.1", "content-type: application/json", header));
    // A client that writes on after the connection is gone gets an error instead of the answer.
    let error: unknown;
    connection.socket.once("error", (cause) => {
      error = cause;
    });
    const body = encode(Buffer.alloc(4_000_000, "x"));
    for (let at = 0; at < body.length && error === undefined; at += 65_536)
      await new Promise((resolve) => connection.socket.write(body.subarray(at, at + 65_536), resolve));
    expect(error).toBeUndefined();
    expect(await connection.until(/http\.body_too_large/)).toMatch(/^HTTP\/1\.1 413 /);
    connection.close();
  });

  test("are not read to their end, however long they go on", async () => {
    const server = await start({ bodyLimit: 1000 });
    const connection = await rawConnection(server.running.port);
    connection.send(
      head(server, "POST /notes HTTP/1.1", "content-type: application/json", "transfer-encoding: chunked"),
    );
    const chunk = Buffer.from(`10000\r\n${"x".repeat(65_536)}\r\n`);
    let sent = 0;
    while (!connection.socket.destroyed && sent < 200 * 1024 * 1024) {
      sent += chunk.byteLength;
      if (!connection.socket.write(chunk))
        await Promise.race([once(connection.socket, "drain").catch(() => undefined), connection.ended]);
    }
    await connection.ended;
    expect(sent).toBeLessThan(50 * 1024 * 1024);
  });
});

describe("connections", () => {
  test("are kept for the next request, also after a refusal", async () => {
    const server = await start();
    const connection = await rawConnection(server.running.port);
    connection.send(head(server, "GET /notes?x=1 HTTP/1.1"));
    await connection.until(/is not a known field/);
    connection.send(head(server, "POST /notes/none/lock HTTP/1.1", "content-length: 0"));
    await connection.until(/POST|"path":"noteId"/);
    connection.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(await connection.until(/"status":"up"/)).not.toMatch(/connection: close/i);
    connection.close();
  });

  test("that end in the middle of a body run nothing", async () => {
    const server = await start();
    const connection = await rawConnection(server.running.port);
    connection.send(
      head(
        server,
        "POST /notes HTTP/1.1",
        "content-type: application/json",
        "content-length: 100",
        "x-request-id: cut",
      ),
    );
    connection.send('{"text":"half');
    connection.close();
    const line = await logged(server.logger, ({ fields }) => fields["requestId"] === "cut");
    expect(line.fields).toMatchObject({ operation: "desk.write", errorCode: "canceled" });
    expect((await server.call("/notes")).json).toEqual({ items: [] });
  });

  test("that end while an action runs abort it", async () => {
    const server = await start();
    const begun = deferred();
    const aborted = deferred<boolean>();
    server.outside.print = async (copies, signal) => {
      begun.resolve();
      await once(signal, "abort");
      aborted.resolve(signal.aborted);
      return copies;
    };
    const gone = new AbortController();
    const call = server.call("/prints", { json: {}, signal: gone.signal, headers: { "x-request-id": "gone" } });
    await begun.promise;
    gone.abort();
    await expect(call).rejects.toThrow("aborted");
    expect(await aborted.promise).toBe(true);
    const line = await logged(server.logger, ({ fields }) => fields["requestId"] === "gone");
    expect(line.fields).toMatchObject({ errorCode: "canceled", disconnected: true });
  });

  test("whose headers do not come to an end are given up", async () => {
    const server = await start({ headersTimeoutMs: 50 });
    const connection = await rawConnection(server.running.port);
    connection.send("GET /notes HTTP/1.1\r\nhost: x\r\nx-slow: ");
    const answer = await connection.ended;
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer).toContain("http.request_timeout");
  });

  test("whose body does not come to an end are given up", async () => {
    const server = await start({ headersTimeoutMs: 50, requestTimeoutMs: 60 });
    const connection = await rawConnection(server.running.port);
    connection.send(
      `${head(server, "POST /notes HTTP/1.1", "content-type: application/json", "content-length: 100")}{"text":`,
    );
    expect(await connection.ended).toMatch(/^HTTP\/1\.1 408 /);
    expect((await server.call("/notes")).json).toEqual({ items: [] });
  });

  test("have limits by default", async () => {
    const server = await start();
    const { headersTimeout, requestTimeout, keepAliveTimeout } = server.running.server;
    expect({ headersTimeout, requestTimeout, keepAliveTimeout }).toEqual({
      headersTimeout: 15_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 65_000,
    });
  });
});

describe("a shutdown", () => {
  test("lets a request finish, tells its client not to come back, and takes no new one", async () => {
    const server = await start();
    const begun = deferred();
    const finish = deferred();
    server.outside.print = async (copies) => {
      begun.resolve();
      await finish.promise;
      return copies;
    };
    const call = server.call("/prints", { json: { copies: 3 } });
    await begun.promise;
    const closing = server.close();
    await expect(fetch(`${server.origin}/health`)).rejects.toThrow();
    finish.resolve();
    const { status, json, headers } = await call;
    expect([status, json, headers.get("connection")]).toEqual([200, { printed: 3 }, "close"]);
    await closing;
    await expect(server.app.ready()).rejects.toThrow("closed");
  });

  test("cuts off what takes too long, and closes the app all the same", async () => {
    const server = await start({ shutdownTimeoutMs: 20 });
    const begun = deferred();
    server.outside.print = async (copies, signal) => {
      begun.resolve();
      await once(signal, "abort");
      return copies;
    };
    const call = server.call("/prints", { json: {} });
    await begun.promise;
    const cutOff = expect(call).rejects.toThrow();
    await server.close();
    await cutOff;
  });

  test("does not wait for connections that are idle", async () => {
    const server = await start();
    const agent = new Agent({ keepAlive: true });
    const [response] = await once(request(`${server.origin}/health`, { agent }).end(), "response");
    response.resume();
    await once(response, "end");
    await server.close();
    agent.destroy();
  });

  test("that is asked for twice happens once", async () => {
    const server = await start();
    await Promise.all([server.running.close(), server.running.close()]);
  });
});
