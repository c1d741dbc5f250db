import { lookup } from "node:dns/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { hostname } from "node:os";
import { gzipSync } from "node:zlib";
import type { HttpClient, HttpRequest } from "@armature/core";
import { afterAll, beforeAll, expect } from "vitest";
import { everythingIn, expectRefusal, rejection } from "./expectations.ts";
import { bodyOf, type LoopbackServer, startHttpServer, startTcpServer } from "./loopback-server.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

const REFUSED = "http.address_refused";
const UNREACHABLE = "provider.unreachable";
const GARBAGE = "provider.answered_garbage";
const TIMED_OUT = "provider.timed_out";

/** Ways to write addresses that must not be reached. Those of loopback would reach the suite's server if they could. */
const SPECIAL_ADDRESSES = [
  ...["127.0.0.1", "127.1", "127.0.0.2", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"],
  ...["127.0.0.1.", "１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1"],
  ...["0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1", "100.64.0.1", "198.18.0.1"],
  ...["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "168.63.129.16"],
  ...["192.0.0.1", "192.0.2.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
  ...[
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]",
  ],
  ...["[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::1]", "[2001:0:1::1]"],
  ...["[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "[100::1]"],
];

/** What every `HttpClient` must do. The suite starts real servers on loopback. */
export function httpClientSuite(
  adapter: string,
  setup: (options: { readonly allowedOrigins: string[] }) => Promise<HttpClient>,
  options: SuiteOptions = {},
): void {
  describeSuite("HttpClient", adapter, options, (test) => {
    let listed: LoopbackServer;
    let unlisted: LoopbackServer;
    let client: HttpClient;
    let answer: (request: IncomingMessage, response: ServerResponse) => void;

    beforeAll(async () => {
      listed = await startHttpServer((request, response) => answer(request, response));
      unlisted = await startHttpServer((_request, response) => response.end("you should not be here"));
      client = await setup({ allowedOrigins: [listed.origin, `http://localhost:${listed.port}`] });
    });
    afterAll(async () => {
      await listed.close();
      await unlisted.close();
    });

    const get = (path: string, more: Partial<HttpRequest> = {}) =>
      client.send({ method: "GET", url: `${listed.origin}${path}`, timeoutMs: 5_000, ...more });

    /** Sends one request to a server that speaks whatever `greet` writes. */
    const exchangeWith = async (greet: Parameters<typeof startTcpServer>[0]) => {
      const server = await startTcpServer(greet);
      try {
        const own = await setup({ allowedOrigins: [server.origin] });
        return await own.send({ method: "GET", url: `${server.origin}/`, timeoutMs: 5_000 });
      } finally {
        await server.close();
      }
    };

    test("an origin that the host has listed is called with the method, headers and body of the request", async () => {
      answer = async (request, response) => {
        const body = (await bodyOf(request)).toString("base64");
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify({ method: request.method, path: request.url, mark: request.headers["x-mark"], body }),
        );
      };
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"] as const) {
        const body = method === "GET" ? undefined : "naïve 🗝️";
        const response = await get("/contacts?page=2&q=a%20b", { method, body, headers: { "x-mark": "7" } });
        expect(response.status).toBe(200);
        expect(response.headers.get("Content-Type")).toBe("application/json");
        expect(response.url).toBe(`${listed.origin}/contacts?page=2&q=a%20b`);
        expect(response.json()).toEqual({
          method,
          path: "/contacts?page=2&q=a%20b",
          mark: "7",
          body: Buffer.from(body ?? "").toString("base64"),
        });
      }
    });

    test("an origin that is listed by name passes too", async () => {
      answer = (_request, response) => response.end("here");
      const response = await get("/", { url: `http://localhost:${listed.port}/` });
      expect(response.text()).toBe("here");
    });

    test("bytes arrive as they are, and a form with its content type", async () => {
      const received: { type: string | undefined; body: Buffer }[] = [];
      answer = async (request, response) => {
        received.push({ type: request.headers["content-type"], body: await bodyOf(request) });
        response.end();
      };
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
      await get("/", { method: "POST", body: bytes, headers: { "content-type": "application/octet-stream" } });
      await get("/", { method: "POST", body: new URLSearchParams({ grant: "a b", ü: "&" }) });
      expect(received[0]).toEqual({ type: "application/octet-stream", body: Buffer.from(bytes) });
      expect(received[1]!.type).toMatch(/^application\/x-www-form-urlencoded/);
      expect(received[1]!.body.toString()).toBe("grant=a+b&%C3%BC=%26");
    });

    test("the body of an answer can be read as bytes, text and JSON, more than once", async () => {
      const text = JSON.stringify({ name: "Zoë 日本語 🗝️", none: null });
      answer = (_request, response) => response.end(text);
      const response = await get("/");
      expect(Buffer.from(response.bytes()).equals(Buffer.from(text))).toBe(true);
      expect(response.text()).toBe(text);
      expect(response.json()).toEqual({ name: "Zoë 日本語 🗝️", none: null });
      expect(response.json()).toEqual({ name: "Zoë 日本語 🗝️", none: null });
    });

    test("a compressed answer is unpacked", async () => {
      answer = (_request, response) => {
        response.setHeader("content-encoding", "gzip");
        response.end(gzipSync('{"packed":true}'));
      };
      expect((await get("/")).json()).toEqual({ packed: true });
    });

    test("an answer of any status is given back and never thrown", async () => {
      for (const status of [200, 201, 400, 401, 404, 429, 500, 503]) {
        answer = (_request, response) => {
          response.writeHead(status, { "retry-after": "3" });
          response.end("why");
        };
        const response = await get("/");
        expect([response.status, response.headers.get("retry-after"), response.text()]).toEqual([status, "3", "why"]);
      }
    });

    test("an answer without a body has an empty one", async () => {
      answer = (_request, response) => {
        response.writeHead(204);
        response.end();
      };
      expect((await get("/")).bytes()).toHaveLength(0);
      answer = (_request, response) => {
        response.setHeader("content-length", "5");
        response.end("12345");
      };
      expect((await get("/", { method: "HEAD" })).bytes()).toHaveLength(0);
    });

    test("a redirect is given back and not followed, wherever it points", async () => {
      const before = unlisted.connections();
      for (const status of [301, 302, 303, 307, 308])
        for (const location of [`${unlisted.origin}/`, `${listed.origin}/elsewhere`]) {
          const paths: (string | undefined)[] = [];
          answer = (request, response) => {
            paths.push(request.url);
            response.writeHead(status, { location });
            response.end();
          };
          const response = await get("/start", { method: "POST", body: "x" });
          expect([response.status, response.headers.get("location")]).toEqual([status, location]);
          expect(paths).toEqual(["/start"]);
        }
      expect(unlisted.connections()).toBe(before);
    });

    for (const scheme of ["http", "https"])
      test(`an address that is not public is refused over ${scheme}, however it is written`, async () => {
        const before = unlisted.connections();
        await Promise.all(
          SPECIAL_ADDRESSES.map((host) =>
            expectRefusal(get("", { url: `${scheme}://${host}:${unlisted.port}/` }), REFUSED).catch((cause) => {
              throw new Error(`${host} was not refused`, { cause });
            }),
          ),
        );
        expect(unlisted.connections()).toBe(before);
      });

    test("a name that stands for an address that is not public is refused", async () => {
      const before = unlisted.connections();
      const names = ["localhost", "LocalHost"];
      for (const name of [hostname(), "localhost.", "ip6-localhost", "any.localhost", "localhost.localdomain"])
        if (await isLoopback(name)) names.push(name);
      for (const name of names)
        for (const scheme of ["http", "https"])
          await expectRefusal(get("", { url: `${scheme}://${name}:${unlisted.port}/` }), REFUSED);
      expect(unlisted.connections()).toBe(before);
    });

    test("a listed origin opens no other port, scheme or name", async () => {
      const before = [unlisted.connections(), listed.connections()];
      await expectRefusal(get("", { url: `${unlisted.origin}/` }), REFUSED);
      await expectRefusal(get("", { url: `https://127.0.0.1:${listed.port}/` }), REFUSED);
      await expectRefusal(get("", { url: `http://127.0.0.2:${listed.port}/` }), REFUSED);
      await expectRefusal(get("", { url: `http://[::ffff:127.0.0.1]:${listed.port}/` }), REFUSED);
      await expectRefusal(get("", { url: `http://127.0.0.1:${listed.port}@127.0.0.1:${unlisted.port}/` }), REFUSED);
      expect([unlisted.connections(), listed.connections()]).toEqual(before);
    });

    test("only http and https URLs can be called", async () => {
      for (const url of ["file:///etc/passwd", "ftp://example.com/", "data:text/plain,x", "blob:x", "ws://example.com"])
        await expectRefusal(get("", { url }), REFUSED, "invalid_input");
      for (const url of ["", "/contacts", "http://", "not a url"])
        await expectRefusal(get("", { url }), REFUSED, "invalid_input");
    });

    test("a header cannot smuggle in another one", async () => {
      let arrived = 0;
      answer = (_request, response) => {
        arrived += 1;
        response.end();
      };
      const headers = [{ "x-mark": "canary\r\nx-admin: true" }, { "x-mark\r\nx-admin": "canary" }, { "": "canary" }];
      for (const each of headers) {
        const error = await expectRefusal(get("/", { headers: each }), "invalid_input");
        expect(everythingIn(error)).not.toContain("canary");
      }
      expect(arrived).toBe(0);
    });

    test("a server that does not answer is given up after the time allowed", async () => {
      answer = () => {};
      await expectRefusal(get("/", { timeoutMs: 100 }), TIMED_OUT);
    });

    test("the time allowed covers the body, even one that keeps dripping", async () => {
      answer = (_request, response) => {
        response.writeHead(200);
        response.write("the beginning");
      };
      await expectRefusal(get("/", { timeoutMs: 100 }), TIMED_OUT);

      answer = (_request, response) => {
        const drip = setInterval(() => response.write("."), 10);
        response.on("close", () => clearInterval(drip));
      };
      await expectRefusal(get("/", { timeoutMs: 150 }), TIMED_OUT);
    });

    test("a call that its caller gave up before sends nothing", async () => {
      let arrived = 0;
      answer = (_request, response) => {
        arrived += 1;
        response.end();
      };
      const reason = new Error("given up");
      expect(await rejection(get("/", { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(arrived).toBe(0);
    });

    test("a call that its caller gives up ends at once and closes the exchange", async () => {
      const reason = new Error("given up");
      for (const beginning of [undefined, "the beginning"]) {
        const caller = new AbortController();
        const closed = new Promise<void>((resolve) => {
          answer = (_request, response) => {
            response.on("close", () => resolve());
            if (beginning !== undefined) response.write(beginning);
            setImmediate(() => caller.abort(reason));
          };
        });
        expect(await rejection(get("/", { signal: caller.signal, timeoutMs: 10_000 }))).toBe(reason);
        await closed;
      }
    });

    test("an answer of exactly the size allowed passes, one byte more does not", async () => {
      answer = (_request, response) => response.end("x".repeat(1000));
      expect((await get("/", { maxBytes: 1000 })).text()).toHaveLength(1000);
      await expectRefusal(get("/", { maxBytes: 999 }), GARBAGE);
    });

    test("a body without end is cut off", async () => {
      const closed = new Promise<void>((resolve) => {
        answer = (_request, response) => {
          const chunk = "x".repeat(16_384);
          const pour = () => {
            while (!response.destroyed && response.write(chunk));
          };
          response.on("drain", pour);
          response.on("close", () => resolve());
          pour();
        };
      });
      await expectRefusal(get("/", { maxBytes: 100_000 }), GARBAGE);
      await closed;
    });

    test("a small packed body cannot become a large one", async () => {
      const bomb = gzipSync(Buffer.alloc(5_000_000));
      expect(bomb.length).toBeLessThan(10_000);
      answer = (_request, response) => {
        response.setHeader("content-encoding", "gzip");
        response.end(bomb);
      };
      await expectRefusal(get("/", { maxBytes: 100_000 }), GARBAGE);
    });

    test("a body that is not JSON is refused when it is read as JSON, and not quoted", async () => {
      const bodies = ["", "{", "<html>canary-77</html>", '{"token":"canary-77"', "undefined", "{'a':1}", "[1,]"];
      for (const body of [...bodies.map((text) => Buffer.from(text)), Buffer.from([0x22, 0xff, 0xfe, 0x22])]) {
        answer = (_request, response) => {
          response.setHeader("content-type", "application/json");
          response.end(body);
        };
        const response = await get("/");
        expect(response.status).toBe(200);
        const error = await expectRefusal(
          Promise.resolve().then(() => response.json()),
          GARBAGE,
        );
        expect(everythingIn(error)).not.toContain("canary");
      }
    });

    test("a body that claims to be packed and is not is refused", async () => {
      answer = (_request, response) => {
        response.setHeader("content-encoding", "gzip");
        response.end("plain text");
      };
      await expectRefusal(get("/"), GARBAGE);
    });

    test("a port where nobody listens is unreachable", async () => {
      const gone = await startHttpServer(() => {});
      await gone.close();
      const own = await setup({ allowedOrigins: [gone.origin] });
      await expectRefusal(own.send({ method: "GET", url: `${gone.origin}/`, timeoutMs: 5_000 }), UNREACHABLE);
    });

    test("a connection that is closed before the answer is unreachable", async () => {
      await expectRefusal(
        exchangeWith((socket) => socket.once("data", () => socket.destroy())),
        UNREACHABLE,
      );
    });

    test("an answer that is cut off in the middle is an error, not a short answer", async () => {
      for (const beginning of [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nonly \r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
      ])
        await expectRefusal(
          exchangeWith((socket) => socket.once("data", () => socket.end(beginning))),
          UNREACHABLE,
          GARBAGE,
        );
    });

    test("an answer that is not HTTP is an error", async () => {
      for (const nonsense of ["SSH-2.0-OpenSSH_9.6\r\n", "\u0000\u0001\u0002\r\n\r\n", "HTTP/1.1 abc def\r\n\r\n"])
        await expectRefusal(
          exchangeWith((socket) => socket.once("data", () => socket.end(nonsense))),
          GARBAGE,
          UNREACHABLE,
        );
    });

    test("an error holds nothing of what was sent", async () => {
      answer = (_request, response) => response.socket?.destroy();
      const error = await expectRefusal(
        get("/?q=canary-1", {
          method: "POST",
          headers: { authorization: "Bearer canary-2" },
          body: "canary-3",
        }),
        UNREACHABLE,
      );
      expect(everythingIn(error)).not.toContain("canary");
    });

    /** A client that cannot `open` has nothing to show here. */
    const opened = (path: string, more: Partial<HttpRequest> = {}) =>
      client.open?.({ method: "GET", url: `${listed.origin}${path}`, timeoutMs: 5_000, ...more });

    test("an answer that is opened is read while it comes", async () => {
      let finish = () => {};
      answer = (_request, response) => {
        response.write("one");
        finish = () => response.end("two");
      };
      const stream = await opened("/");
      if (stream === undefined) return;
      const parts: string[] = [];
      for await (const chunk of stream.body) {
        parts.push(Buffer.from(chunk).toString());
        finish();
      }
      stream.close();
      expect([stream.status, ...parts]).toEqual([200, "one", "two"]);
    });

    test("an opened answer that is let go of ends for the server", async () => {
      const gone = Promise.withResolvers<void>();
      answer = (_request, response) => {
        response.write("one");
        response.once("close", () => gone.resolve());
      };
      const stream = await opened("/");
      if (stream === undefined) return;
      stream.close();
      stream.close();
      await gone.promise;
    });

    test("what ends an opened answer early is thrown where it is read", async () => {
      const caller = new AbortController();
      const reason = new Error("given up");
      const cases: [Partial<HttpRequest>, (response: ServerResponse) => void, string | Error][] = [
        [{}, (response) => response.destroy(), UNREACHABLE],
        [{ maxBytes: 10 }, (response) => void response.write("x".repeat(100)), GARBAGE],
        [{ timeoutMs: 200 }, () => {}, TIMED_OUT],
        [{ signal: caller.signal }, () => caller.abort(reason), reason],
      ];
      for (const [more, next, thrown] of cases) {
        let go = () => {};
        answer = (_request, response) => {
          response.write("one");
          go = () => next(response);
        };
        const stream = await opened("/", more);
        if (stream === undefined) return;
        const read = async () => {
          for await (const _ of stream.body) go();
        };
        if (typeof thrown === "string") await expectRefusal(read(), thrown);
        else expect(await rejection(read())).toBe(thrown);
        stream.close();
      }
    });

    test("an address that is not listed cannot be opened either", async () => {
      if (client.open === undefined) return;
      await expectRefusal(client.open({ method: "GET", url: `${unlisted.origin}/` }), REFUSED);
    });

    test("many calls at once are all answered, each with its own answer", async () => {
      answer = (request, response) => setImmediate(() => response.end(request.url));
      const paths = Array.from({ length: 100 }, (_, index) => `/${index}`);
      const answers = await Promise.all(paths.map(async (path) => (await get(path)).text()));
      expect(answers).toEqual(paths);
    });

    test("a client that was refused, given up and cut off still answers the next call", async () => {
      answer = (_request, response) => response.socket?.destroy();
      await expectRefusal(get("/"), UNREACHABLE);
      answer = () => {};
      await expectRefusal(get("/", { timeoutMs: 50 }), TIMED_OUT);
      answer = (_request, response) => response.end("fine");
      expect((await get("/")).text()).toBe("fine");
    });
  });
}

async function isLoopback(name: string): Promise<boolean> {
  const addresses = await lookup(name, { all: true }).catch(() => []);
  return addresses.length > 0 && addresses.every(({ address }) => address === "::1" || address.startsWith("127."));
}
