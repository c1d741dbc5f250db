// Starts servers for this package's tests, and speaks to them.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createArmature, type Logger } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { type RecordingLogger, recordingLogger } from "@armature/core/testing";
import type { Problem } from "./problem.ts";
import { type RunningServer, type StartOptions, startServer } from "./server.ts";
import { countFrom, deskContext, type Outside } from "./test-context.ts";

function makeApp(outside: Outside, logger: Logger) {
  return createArmature({ store: inMemory(), contexts: [deskContext(outside)], logger });
}

export type TestApp = Awaited<ReturnType<typeof makeApp>>;

export interface TestServer {
  readonly app: TestApp;
  readonly running: RunningServer;
  readonly origin: string;
  readonly logger: RecordingLogger;
  /** What the test context reaches outside. */
  readonly outside: Outside;
  /** API keys: an owner of acme, one of acme that may only read, and an owner of globex. */
  readonly keys: { readonly acme: string; readonly reader: string; readonly globex: string };
  /** `fetch` as the owner of acme. */
  call(path: string, init?: CallInit): Promise<Answer>;
  close(): Promise<void>;
}

export interface CallInit {
  readonly method?: string;
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, as JSON unless the headers say otherwise. */
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly json: any;
  readonly problem: Problem;
}

export async function startTestServer(
  options: Partial<StartOptions> & { readonly wrap?: (app: TestApp) => StartOptions["app"] } = {},
): Promise<TestServer> {
  const outside: Outside = { print: async (copies) => copies, feed: countFrom };
  const logger = recordingLogger();
  const app = await makeApp(outside, logger);
  const keys = {
    acme: await keyOf(app, "acme", "ann", ["*"]),
    reader: await keyOf(app, "acme", "rob", ["desk:read"]),
    globex: await keyOf(app, "globex", "gus", ["*"]),
  };
  const { wrap = (same) => same, ...rest } = options;
  const running = await startServer({ app: wrap(app), logger, ...rest });
  const { origin } = running;
  return {
    app,
    running,
    origin,
    logger,
    outside,
    keys,
    call: (path, init) => callAs(origin, keys.acme, path, init),
    close: () => running.close(),
  };
}

async function keyOf(app: TestApp, tenant: string, userId: string, permissions: string[]): Promise<string> {
  const { identity } = app.as({ tenant, system: "test" });
  if (userId !== "rob") await identity.createTenant({ name: tenant });
  await identity.createRole({ role: `role-${userId}`, permissions });
  await identity.createUser({ userId, name: userId, roles: [`role-${userId}`] });
  return (await identity.createApiKey({ name: "test", account: { type: "user", id: userId } })).key;
}

export async function callAs(origin: string, key: string, path: string, init: CallInit = {}): Promise<Answer> {
  const body = init.json === undefined ? init.body : JSON.stringify(init.json);
  const response = await fetch(origin + path, {
    method: init.method ?? (body === undefined ? "GET" : "POST"),
    redirect: "manual",
    headers: {
      ...(init.key === null ? {} : { authorization: `Bearer ${init.key ?? key}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...init.headers,
    },
    ...(body === undefined ? {} : { body: body as string }),
    ...(init.signal === undefined ? {} : { signal: init.signal }),
  });
  const text = await response.text();
  const isJson = /^application\/(problem\+)?json\b/.test(response.headers.get("content-type") ?? "");
  const json: unknown = isJson && text !== "" ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, text, json, problem: json as Problem };
}

/** A connection that sends what it is told to, byte for byte. */
export interface RawConnection {
  readonly socket: Socket;
  send(text: string): void;
  /** Everything that came until the server closed. */
  readonly ended: Promise<string>;
  /** Everything that has come, as soon as it matches. */
  until(pattern: RegExp): Promise<string>;
  close(): void;
}

export async function rawConnection(port: number): Promise<RawConnection> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  let received = "";
  const watchers = new Set<() => void>();
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
    for (const watcher of watchers) watcher();
  });
  socket.on("error", () => undefined); // how it ended is seen by `ended`
  const ended = new Promise<string>((resolve) => void socket.once("close", () => resolve(received)));
  return {
    socket,
    send: (text) => void socket.write(Buffer.from(text, "latin1")),
    ended,
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!pattern.test(received)) return;
          watchers.delete(look);
          resolve(received);
        };
        watchers.add(look);
        look();
        void ended.then(() => reject(new Error(`The connection ended before ${pattern} came: ${received}`)));
      }),
    close: () => socket.destroy(),
  };
}

/** A promise and what settles it. */
export function deferred<T = void>() {
  return Promise.withResolvers<T>();
}

/** Resolves with the first entry of the log that fits, now or later. */
export async function logged(
  logger: RecordingLogger,
  fits: (entry: RecordingLogger["entries"][number]) => boolean,
): Promise<RecordingLogger["entries"][number]> {
  for (;;) {
    const found = logger.entries.find(fits);
    if (found !== undefined) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A port that somebody listens on, until it is given free. */
export async function occupiedPort(): Promise<{ readonly port: number; free(): Promise<unknown> }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, free: () => once(server.close(), "close") };
}
