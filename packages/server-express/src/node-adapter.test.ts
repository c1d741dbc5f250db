import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { HandlerRequest, HttpHandler } from "./http-exchange.ts";
import { serveNode } from "./node-adapter.ts";
import { deferred, rawConnection } from "./test-server.ts";

let server: Server;
afterEach(async () => {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
});

async function listen(handler: HttpHandler, onWrite: (took: boolean) => void = () => undefined): Promise<number> {
  server = createServer((req, res) => {
    const write = res.write.bind(res) as (chunk: unknown) => boolean;
    res.write = ((chunk: unknown) => {
      const took = write(chunk);
      onWrite(took);
      return took;
    }) as typeof res.write;
    void serveNode(handler, req, res);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test("parts are asked for only as fast as the client takes them, and no more once it is gone", async () => {
  const full = deferred();
  const closed = deferred();
  let made = 0;
  async function* parts() {
    try {
      for (;;) {
        made += 1;
        yield `${made} ${"x".repeat(65_536)}`;
      }
    } finally {
      closed.resolve();
    }
  }
  const port = await listen(
    async () => ({ status: 200, headers: {}, body: parts() }),
    (took) => {
      if (!took) full.resolve();
    },
  );
  const connection = await rawConnection(port);
  connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await connection.until(/1 xxx/);
  connection.socket.pause();
  await full.promise;
  // What the system's buffers hold is taken at once; then it stands still however long the loop turns.
  let before = -1;
  while (before !== made) {
    before = made;
    await turns(2_000);
  }
  expect(made).toBeLessThan(1_000);
  connection.socket.resume();
  await connection.until(new RegExp(`\\n${made + 20} xxx|${made + 20} xxx`));
  connection.close();
  await closed.promise;
});

test("what a handler did not foresee ends the connection, so that nothing looks complete", async () => {
  const arrived = deferred();
  async function* parts() {
    yield "half";
    await arrived.promise;
    throw new Error("no more");
  }
  const port = await listen(async () => ({ status: 200, headers: {}, body: parts() }));
  const connection = await rawConnection(port);
  connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await connection.until(/half/);
  arrived.resolve();
  const answer = await connection.ended;
  expect(answer).not.toContain("\r\n0\r\n");
});

test("a request without a body has none, and one with an empty body announced has none either", async () => {
  const bodies: HandlerRequest["body"][] = [];
  const port = await listen(async ({ body }) => {
    bodies.push(body);
    return { status: 204, headers: {} };
  });
  const connection = await rawConnection(port);
  connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
  connection.send("DELETE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  await connection.ended;
  expect(bodies).toEqual([undefined, undefined, undefined]);
});
