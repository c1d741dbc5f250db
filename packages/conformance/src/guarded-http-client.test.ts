import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import {
  AddressRefused,
  GuardedHttpClient,
  type HttpRequest,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
} from "@armature/core";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { httpClientSuite } from "./http-client-suite.ts";

const suiteClients: GuardedHttpClient[] = [];
httpClientSuite("guarded client", async (options) => {
  const client = new GuardedHttpClient(options);
  suiteClients.push(client);
  return client;
});
afterAll(() => Promise.all(suiteClients.map((client) => client.close())));

const CANARY = "canary-9c41";
const servers: Server[] = [];
const clients: GuardedHttpClient[] = [];

/** A server that speaks bytes, so that it can also misbehave. */
async function listen(onSocket: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  });
  return started(server);
}

async function started(server: Server): Promise<string> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers each request, which is read to the end of its headers, with these bytes. */
const answering = (bytes: string | Buffer, end = false) =>
  listen((socket) => {
    let seen = "";
    socket.on("data", (chunk) => {
      seen += chunk.toString("latin1");
      if (!seen.includes("\r\n\r\n")) return;
      seen = "";
      socket.write(bytes);
      if (end) socket.end();
    });
  });

function clientFor(host: string, options: ConstructorParameters<typeof GuardedHttpClient>[0] = {}): GuardedHttpClient {
  const client = new GuardedHttpClient({ allowedOrigins: [`http://${host}`, `https://${host}`], ...options });
  clients.push(client);
  return client;
}

async function failure(client: GuardedHttpClient, request: Partial<HttpRequest> & { url: string }): Promise<Error> {
  const error = await client.send({ method: "GET", headers: { authorization: `Bearer ${CANARY}` }, ...request }).then(
    () => expect.unreachable("it was answered"),
    (thrown: Error) => thrown,
  );
  expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain(CANARY);
  return error;
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  for (const server of servers.splice(0)) server.close();
});

describe("GuardedHttpClient on the wire", () => {
  it("does not believe a name that means a private address, nor one that changes its meaning", async () => {
    const host = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const answers = [[{ address: "127.0.0.1", family: 4 }]];
    let asked = 0;
    const client = clientFor(host, {
      resolve: (_name, _options, callback) => {
        asked += 1;
        callback(null, answers[0]!);
      },
    });
    const port = host.split(":")[1];
    expect(await failure(client, { url: `https://crm.example:${port}/?key=${CANARY}` })).toMatchObject({
      code: "http.address_refused",
      details: { host: `crm.example:${port}`, reason: "the address is not public (loopback)" },
    });
    expect(asked).toBe(1);
  });

  it("looks localhost up like any other name, and refuses it", async () => {
    const host = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const client = new GuardedHttpClient();
    clients.push(client);
    const url = `https://localhost:${host.split(":")[1]}/`;
    expect(await failure(client, { url })).toBeInstanceOf(AddressRefused);
  });

  it("reaches an allowed origin by its name", async () => {
    const host = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const named = `crm.internal:${host.split(":")[1]}`;
    const client = clientFor(named, {
      resolve: (_name, _options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
    });
    expect((await client.send({ method: "GET", url: `http://${named}/` })).text()).toBe("ok");
  });

  it("keeps connections for later calls", async () => {
    let connections = 0;
    const host = await listen((socket) => {
      connections += 1;
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    });
    const client = clientFor(host);
    for (let call = 0; call < 20; call += 1) await client.send({ method: "GET", url: `http://${host}/${call}` });
    expect(connections).toBeLessThan(4);
  });

  it("closes the socket when the caller gives up, when the time is up and when the answer is too large", async () => {
    const closed: Promise<unknown>[] = [];
    const arrived = Promise.withResolvers<void>();
    const host = await listen((socket) => {
      closed.push(new Promise((resolve) => socket.on("close", resolve)));
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n${"x".repeat(2000)}`);
        arrived.resolve();
      });
    });
    const client = clientFor(host);
    const url = `http://${host}/?key=${CANARY}`;

    const caller = new AbortController();
    const given = failure(client, { url, signal: caller.signal });
    await arrived.promise;
    const reason = new Error("the caller went away");
    caller.abort(reason);
    expect(await given).toBe(reason);

    expect(await failure(client, { url, timeoutMs: 30 })).toMatchObject({ details: { host, timeoutMs: 30 } });
    expect(await failure(client, { url, maxBytes: 1000 })).toBeInstanceOf(ProviderAnsweredGarbage);
    expect(closed).toHaveLength(3);
    await Promise.all(closed);
  });

  it("measures the deadline with the clock that it is given, over the body too", async () => {
    const wake = Promise.withResolvers<void>();
    const slept: number[] = [];
    const arrived = Promise.withResolvers<void>();
    const host = await listen((socket) =>
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", () => arrived.resolve());
      }),
    );
    const clock = {
      now: () => 0,
      sleep: (ms: number) => {
        slept.push(ms);
        return wake.promise;
      },
    };
    const answer = failure(clientFor(host, { clock }), { url: `http://${host}/` });
    await arrived.promise;
    wake.resolve();
    expect(await answer).toBeInstanceOf(ProviderTimedOut);
    expect(slept).toEqual([30_000]);
  });

  it.each([
    ["before the answer", ""],
    ["within its body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
  ])(
    "ends at its deadline, and when its caller gives up, whatever memory was freed meanwhile: %s",
    async (_, bytes) => {
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc") as () => void;
      const host = await listen((socket) => socket.once("data", () => bytes !== "" && socket.write(bytes)));
      const url = `http://${host}/`;
      const caller = new AbortController();
      const client = clientFor(host);
      const ends = [failure(client, { url, timeoutMs: 500 }), failure(client, { url, signal: caller.signal })];
      for (let round = 0; round < 10; round += 1) {
        await sleep(20);
        collect();
      }
      const reason = new Error("the caller went away");
      caller.abort(reason);
      expect(await Promise.all(ends)).toEqual([expect.any(ProviderTimedOut), reason]);
    },
  );

  it("counts what a compressed body becomes, not what it is on the wire", async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000));
    expect(bomb.byteLength).toBeLessThan(50_000);
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.byteLength}\r\n\r\n`;
    const host = await answering(Buffer.concat([Buffer.from(head), bomb]));
    const error = await failure(clientFor(host), { url: `http://${host}/`, maxBytes: 100_000 });
    expect(error).toMatchObject({ details: { host, reason: "its body has more than 100000 bytes" } });
  });

  for (const [what, bytes, type, reason] of [
    [
      "a body that is cut off",
      `HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n${CANARY}`,
      ProviderUnreachable,
      "cut off",
    ],
    [
      "a chunk that is cut off",
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n${CANARY}`,
      ProviderUnreachable,
      "cut off",
    ],
    ["no answer at all", "", ProviderUnreachable, "cut off"],
    ["something that is not HTTP", `${CANARY}\r\n\r\n`, ProviderAnsweredGarbage, "not HTTP"],
    ["headers without end", `HTTP/1.1 200 OK\r\nX-A: ${CANARY.repeat(5000)}\r\n`, ProviderAnsweredGarbage, "too large"],
    [
      "a body that is not the gzip that it claims to be",
      `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 11\r\n\r\n${CANARY}`,
      ProviderAnsweredGarbage,
      "encoding",
    ],
    [
      "a body encoded over and over",
      `HTTP/1.1 200 OK\r\nContent-Encoding: gzip,gzip,gzip,gzip,gzip,gzip\r\nContent-Length: 1\r\n\r\nx`,
      ProviderAnsweredGarbage,
      "encoding",
    ],
    [
      "another protocol",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
      ProviderUnreachable,
      "cut off",
    ],
  ] as const)
    it(`gives a typed error for ${what}`, async () => {
      const host = await answering(bytes, true);
      const error = await failure(clientFor(host), {
        url: `http://${host}/?key=${CANARY}`,
        method: "POST",
        body: CANARY,
      });
      expect(error).toBeInstanceOf(type);
      expect((error as ProviderUnreachable).details).toEqual({ host, reason: expect.stringContaining(reason) });
    });

  it("gives a typed error when TLS cannot be agreed on", async () => {
    const tls = createTlsServer({});
    tls.on("tlsClientError", () => {});
    const plain = await listen((socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const hosts = [await started(tls), plain];
    for (const host of hosts) {
      const error = await failure(clientFor(host), { url: `https://${host}/?key=${CANARY}` });
      expect(error).toBeInstanceOf(ProviderUnreachable);
      expect(error.message).toMatch(/TLS failed with ERR_SSL_/);
    }
  });

  it("sends body, content type and length as the request says, and its own name where none is given", async () => {
    const seen: string[] = [];
    const host = await listen((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString("utf8");
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
        if (!text.includes("\r\n\r\n") || Buffer.byteLength(text.split("\r\n\r\n")[1]!) < length) return;
        seen.push(text);
        text = "";
        socket.write("HTTP/1.1 204 No Content\r\n\r\n");
      });
    });
    const client = clientFor(host);
    const url = `http://${host}/a?b=c%20d`;
    await client.send({ method: "POST", url, body: "{}", headers: { "content-type": "application/json" } });
    await client.send({ method: "PUT", url, body: new URLSearchParams({ a: "b c" }) });
    await client.send({ method: "PATCH", url, body: Uint8Array.of(65, 66), headers: { "user-agent": "crm-sync" } });
    const empty = await client.send({ method: "DELETE", url });
    expect(empty.status).toBe(204);
    expect(empty.bytes()).toHaveLength(0);
    const [json, form, bytes, none] = seen.map((text) => text.toLowerCase());
    expect(json).toMatch(/^post \/a\?b=c%20d http\/1\.1\r\n/);
    expect(json).toContain("content-type: application/json\r\n");
    expect(json).toContain("content-length: 2\r\n");
    expect(json).toContain("user-agent: armature\r\n");
    expect(form).toContain("content-type: application/x-www-form-urlencoded;charset=utf-8\r\n");
    expect(form).toMatch(/\r\n\r\na=b\+c$/);
    expect(bytes).toContain("user-agent: crm-sync\r\n");
    expect(bytes).toMatch(/\r\n\r\nab$/);
    expect(none).not.toContain("transfer-encoding");
  });
});
