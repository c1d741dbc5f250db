import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP line to a server, which a setup can cut without touching the server. */
export interface CuttableLine {
  /** What to connect to, on loopback. */
  readonly port: number;
  /** Breaks every connection and refuses new ones, until the function is called that it gives: a suite's `loseBackend`. */
  readonly cut: () => Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Opens a line to a server that others use too. What the adapter connects to it loses when it is cut. */
export async function cuttableLine(server: { readonly host: string; readonly port: number }): Promise<CuttableLine> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined); // it closes then
    socket.on("close", () => sockets.delete(socket));
  };
  const line = createServer({ noDelay: true }, (near) => {
    const far = connect({ ...server, noDelay: true });
    keep(near);
    keep(far);
    near.pipe(far).pipe(near);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  const listen = async (port: number) => {
    line.listen(port, "127.0.0.1");
    await once(line, "listening");
    return (line.address() as AddressInfo).port;
  };
  const end = async () => {
    const closed = once(line, "close");
    line.close();
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  };
  const port = await listen(0);
  return {
    port,
    cut: async () => {
      await end();
      return async () => {
        await listen(port);
      };
    },
    close: async () => {
      if (line.listening) await end();
    },
  };
}
