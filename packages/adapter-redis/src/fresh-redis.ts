import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@redis/client";
import type { RedisClient } from "./redis-client.ts";

/** A server for tests; the default is the one that `.ci/run` starts. */
export const redisUrl = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379";

export type TestClient = Awaited<ReturnType<typeof connected>>;

async function connected(url: string) {
  const client = createClient({ url, socket: { connectTimeout: 2_000, reconnectStrategy: () => 20 } });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** Whether tests that need Redis are skipped. In CI they are not: there a missing server is a failure. */
export async function withoutRedis(): Promise<boolean> {
  if (process.env["CI"] !== undefined) return false;
  const client = createClient({ url: redisUrl, socket: { connectTimeout: 2_000, reconnectStrategy: false } });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.close();
    return false;
  } catch {
    console.warn("Skipped: start Redis 7 on 127.0.0.1:6379, or set REDIS_URL.");
    return true;
  }
}

export interface FreshRedis {
  readonly url: string;
  /** Of keys that no other test has. */
  readonly prefix: string;
  readonly client: TestClient;
  /** Another connection; closed with the rest. */
  connect(): Promise<TestClient>;
  /** Removes the keys, and ends the connections. */
  close(): Promise<void>;
}

/** Keys of their own on the server for tests. */
export async function freshRedis(url = redisUrl): Promise<FreshRedis> {
  const prefix = `armature-test-${randomBytes(6).toString("hex")}:`;
  const client = await connected(url);
  const clients = [client];
  return {
    url,
    prefix,
    client,
    connect: async () => {
      const another = await connected(url);
      clients.push(another);
      return another;
    },
    close: async () => {
      for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 }))
        if (keys.length > 0) await client.unlink(keys);
      for (const each of clients) each.destroy();
    },
  };
}

/** A client that can be cut off for good, as one whose process has died: nothing it is told reaches Redis. */
export function severable(client: TestClient): { readonly client: RedisClient; sever(): void } {
  let severed = false;
  const subscribers = new Set<{ destroy(): void }>();
  return {
    client: {
      get isReady() {
        return !severed && client.isReady;
      },
      on: (event, listener) => client.on(event, listener),
      sendCommand: async (args) => {
        const answer = await client.sendCommand([...args]);
        // It was on its way: done, and nobody hears of it.
        return severed ? new Promise(() => undefined) : answer;
      },
      duplicate: () => {
        const subscriber = client.duplicate();
        subscribers.add(subscriber);
        return subscriber;
      },
    },
    sever() {
      severed = true;
      for (const subscriber of subscribers) subscriber.destroy();
    },
  };
}

/** A Redis of one test's own, to be stopped, started and flushed. It keeps what it acknowledges (`appendfsync always`). */
export class PrivateRedis {
  readonly url: string;
  readonly #port: number;
  readonly #directory: string;
  #child: ChildProcess | undefined;

  private constructor(port: number, directory: string) {
    this.#port = port;
    this.#directory = directory;
    this.url = `redis://127.0.0.1:${port}`;
  }

  static async start(): Promise<PrivateRedis> {
    const redis = new PrivateRedis(await freePort(), await mkdtemp(join(tmpdir(), "armature-redis-")));
    await redis.start();
    return redis;
  }

  async start(): Promise<void> {
    const options = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"];
    const args = ["--port", String(this.#port), "--dir", this.#directory, ...options];
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "ignore"] });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}.`)));
      child.stdout.on("data", (text) => String(text).includes("Ready to accept connections") && resolve());
    });
  }

  /** Ends the server as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** The server stands still without closing its connections, or goes on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  async remove(): Promise<void> {
    this.signal("SIGCONT");
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A port that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
