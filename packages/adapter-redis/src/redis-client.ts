import { createHash } from "node:crypto";
import { RedisTimedOut, RedisUnavailable, replyCode, toRedisError } from "./errors.ts";

/** As much of a node-redis client (`redis` or `@redis/client`, from version 5) as is used. */
export interface RedisClient {
  readonly isReady: boolean;
  on(event: "error", listener: (error: Error) => void): unknown;
  sendCommand(args: readonly string[]): Promise<unknown>;
  duplicate(): RedisSubscriber;
}

/** As much of a node-redis client as listening to a channel takes. */
export interface RedisSubscriber {
  on(event: string, listener: (error: Error) => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  destroy(): void;
}

/** What every part of this package takes. */
export interface RedisOptions {
  /**
   * A node-redis client that is connected, or will be. It stays the caller's: nothing here closes it.
   */
  readonly client: RedisClient;
  /** What all keys and channels begin with; `armature:` when absent. */
  readonly prefix?: string | undefined;
  /** For one command, in milliseconds; 5 s when absent. */
  readonly timeoutMs?: number | undefined;
}

/** A Lua script, run by its hash. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

export function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

// What waits for an answer, by client. A client keeps what it could not send until it is connected again; whoever
// asked does not wait for that.
const waiting = new WeakMap<RedisClient, Set<(reason: Error) => void>>();

function waitersOf(client: RedisClient): Set<(reason: Error) => void> {
  const known = waiting.get(client);
  if (known !== undefined) return known;
  const waiters = new Set<(reason: Error) => void>();
  waiting.set(client, waiters);
  client.on("error", () => {
    if (!client.isReady) for (const reject of waiters) reject(new RedisUnavailable({ reason: "connection lost" }));
  });
  return waiters;
}

/** Sends commands, and never waits for a connection: what cannot be sent now is refused at once. */
export class RedisCommands {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly #timeoutMs: number;
  readonly #waiters: Set<(reason: Error) => void>;

  constructor({ client, prefix = "armature:", timeoutMs = 5_000 }: RedisOptions) {
    this.client = client;
    this.prefix = prefix;
    this.#timeoutMs = timeoutMs;
    this.#waiters = waitersOf(client);
  }

  /**
   * @throws {RedisUnavailable} there is no connection, or Redis cannot work now
   * @throws {RedisTimedOut} no answer in time
   * @throws {RedisRefused} the user may not
   * @throws {RedisFailed} any other error of Redis'
   */
  async send(...args: readonly string[]): Promise<unknown> {
    try {
      return await this.#send(args);
    } catch (error) {
      throw toRedisError(error);
    }
  }

  /** One round trip; two when Redis does not know the script yet, because it has been restarted or flushed. */
  async run({ text, sha }: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args.map(String)];
    try {
      return await this.#send(["EVALSHA", sha, ...rest]);
    } catch (error) {
      if (replyCode(error) !== "NOSCRIPT") throw toRedisError(error);
      return this.send("EVAL", text, ...rest);
    }
  }

  async #send(args: readonly string[]): Promise<unknown> {
    if (!this.client.isReady) throw new RedisUnavailable({ reason: "no connection" });
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#waiters.delete(fail);
      };
      const fail = (reason: Error) => {
        end();
        reject(reason);
      };
      const timer = setTimeout(() => fail(new RedisTimedOut({ timeoutMs: this.#timeoutMs })), this.#timeoutMs);
      this.#waiters.add(fail);
      this.client.sendCommand(args).then((answer) => {
        end();
        resolve(answer);
      }, fail);
    });
  }
}

/** A part of a key: what would end a hash tag, or read as a separator, is written as `%7D`. */
export function keyPart(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_./-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}
