import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";

/** A real server on 127.0.0.1 that remembers what reached it. */
export interface LoopbackServer {
  readonly origin: string;
  readonly port: number;
  /** Connections that were opened, even if nothing was sent over them. */
  connections(): number;
  close(): Promise<void>;
}

export async function startHttpServer(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<LoopbackServer> {
  return listening(createServer(handle));
}

/** A server that speaks whatever `greet` writes to each connection. */
export async function startTcpServer(greet: (socket: Socket) => void): Promise<LoopbackServer> {
  return listening(
    createTcpServer((socket) => {
      socket.on("error", () => {}); // the other side may go first
      greet(socket);
    }),
  );
}

async function listening(server: ReturnType<typeof createTcpServer>): Promise<LoopbackServer> {
  let count = 0;
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    count += 1;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    connections: () => count,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** The whole body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
