import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type NextFunction, type Request, type Response } from "express";
import { armatureRouter, type RouterOptions } from "./armature-router.ts";
import type { HttpApp } from "./http-exchange.ts";
import { refuseMalformed } from "./malformed-requests.ts";

export interface StartOptions extends Omit<RouterOptions, "closing"> {
  /** The app to serve. It is closed with the server. */
  readonly app: HttpApp & { close(): Promise<void> };
  /** 127.0.0.1 when absent. */
  readonly host?: string | undefined;
  /** A free one when 0 or absent. */
  readonly port?: number | undefined;
  /** How long requests under way may take when the server shuts down, in milliseconds; 25 s when absent. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** How long a client may take to send the headers, in milliseconds; 15 s when absent. */
  readonly headersTimeoutMs?: number | undefined;
  /** How long a client may take to send a whole request, in milliseconds; 60 s when absent. */
  readonly requestTimeoutMs?: number | undefined;
}

export interface RunningServer {
  /** `http://127.0.0.1:3000` */
  readonly origin: string;
  readonly port: number;
  readonly server: Server;
  /**
   * Stops accepting, lets requests under way finish, ends streams, and closes the app. Requests that take longer than
   * `shutdownTimeoutMs` are cut off.
   */
  close(): Promise<void>;
}

/** Longer than the 60 s after which common load balancers drop an idle connection, so that they are first. */
const KEEP_ALIVE_MS = 65_000;

/** Starts the reference server on an app, which it closes in the end. */
export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { app, host = "127.0.0.1", port = 0, shutdownTimeoutMs = 25_000, ...router } = options;
  const closing = new AbortController();
  const web = express().disable("x-powered-by");
  web.use(armatureRouter(app, { ...router, closing: closing.signal }));
  web.use(bareFailure);

  const { headersTimeoutMs = 15_000, requestTimeoutMs = 60_000 } = options;
  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.min(5_000, headersTimeoutMs),
  });
  server.on("request", web);
  server.on("request", (_request, response) => {
    // While shutting down, a connection that becomes idle has had its last answer.
    response.once("close", () => {
      if (closing.signal.aborted) setImmediate(() => server.closeIdleConnections());
    });
  });
  refuseMalformed(server);
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address() as AddressInfo;

  const shutDown = async () => {
    closing.abort();
    const closed = once(server, "close");
    server.close();
    const timer = setTimeout(() => server.closeAllConnections(), shutdownTimeoutMs);
    await closed;
    clearTimeout(timer);
    await app.close();
  };
  let ended: Promise<void> | undefined;
  return {
    origin: `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`,
    port: address.port,
    server,
    close() {
      ended ??= shutDown();
      return ended;
    },
  };
}

// Express would show its own page, with a stack. The router answers everything; this is for what Express itself finds.
function bareFailure(_error: unknown, _request: Request, response: Response, _next: NextFunction): void {
  if (response.headersSent) response.destroy();
  else response.status(500).type("application/problem+json").send({ title: "Internal", status: 500, code: "internal" });
}
