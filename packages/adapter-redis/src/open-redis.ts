import type { Logger } from "@armature/core";
import type { RedisClient } from "./redis-client.ts";

/** A client that `openRedis` made, and whoever asked for it closes. */
export interface OpenedRedis {
  readonly client: RedisClient;
  /** Ends the connection. */
  close(): Promise<void>;
}

/** Longest pause between two attempts to connect. */
const LONGEST_PAUSE_MS = 2_000;
const FIRST_WAIT_MS = 3_000;

/**
 * A client for an address, `redis://` or `rediss://`, for hosts that have none of their own. It connects by itself,
 * again and again. Resolves when it has, and after three seconds without: then everything is refused with
 * `redis.unavailable` until it has. Needs the package `@redis/client`.
 *
 * @param options.logger hears once that the connection is lost, and once that it is back
 */
export async function openRedis(url: string, options: { readonly logger?: Logger } = {}): Promise<OpenedRedis> {
  const { createClient } = await import("@redis/client");
  const client = createClient({
    url,
    socket: {
      connectTimeout: 5_000,
      reconnectStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 8), LONGEST_PAUSE_MS),
    },
  });
  let lost = false;
  // Its message may name the address, and that may hold a password.
  client.on("error", (error: NodeJS.ErrnoException) => {
    if (!lost) options.logger?.warn("Redis cannot be reached", { code: error.code ?? error.name });
    lost = true;
  });
  client.on("ready", () => {
    if (lost) options.logger?.info("Redis is back");
    lost = false;
  });
  const connecting = client.connect().then(
    () => undefined,
    () => undefined, // closed before it could
  );
  let timer: NodeJS.Timeout | undefined;
  const longEnough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FIRST_WAIT_MS);
  });
  await Promise.race([connecting, longEnough]);
  clearTimeout(timer);
  return {
    client,
    close: async () => {
      if (client.isReady) await client.close();
      else client.destroy();
      await connecting;
    },
  };
}
