import {
  type BusSubscription,
  type Clock,
  type CloudEvent,
  type EventBus,
  type Logger,
  NotFound,
  parse,
  systemClock,
} from "@armature/core";
import { z } from "zod";
import { lettersOf, type StreamDeadLetter, toDeadLetter } from "./dead-letters.ts";
import type { MemberSettings } from "./delivering-member.ts";
import { RedisPartitionsDiffer } from "./errors.ts";
import { GroupMember } from "./group-member.ts";
import { keyPart, RedisCommands, type RedisOptions } from "./redis-client.ts";
import { StreamChannels } from "./stream-channels.ts";
import { laneOf, partitionOf } from "./stream-event.ts";
import { FORGET_GROUP, PUBLISH, TEND, WISH } from "./stream-scripts.ts";

export interface RedisStreamsOptions extends RedisOptions {
  /** Streams for each source; the same number wherever it is published or read, for ever. 16 when absent. */
  readonly partitions?: number | undefined;
  /** How long a member that says nothing keeps its partitions, in milliseconds; 15 s when absent. */
  readonly leaseMs?: number | undefined;
  /** Handlers of one subscription and source at work at once; 16 when absent. */
  readonly concurrency?: number | undefined;
  /** Events of one partition that are read before they can be handled; 100 when absent. */
  readonly prefetch?: number | undefined;
  /** How often a failing event is tried before its subject is parked; 8 when absent. */
  readonly maxAttempts?: number | undefined;
  /** Wait before the second attempt, in milliseconds; doubled each time. 200 when absent. */
  readonly backoffMs?: number | undefined;
  /** Longest wait between two attempts, in milliseconds; 60 s when absent. */
  readonly maxBackoffMs?: number | undefined;
  /** How long events of a source are kept that no group has subscribed to yet, in milliseconds; one hour when absent. */
  readonly retainMs?: number | undefined;
  readonly clock?: Clock | undefined;
  /** Silent when absent. */
  readonly logger?: Logger | undefined;
}

const positive = (fallback: number) => z.int().min(1).default(fallback);
const optionsSchema = z.strictObject({
  partitions: z.int().min(1).max(1024).default(16),
  leaseMs: z.int().min(100).default(15_000),
  concurrency: positive(16),
  prefetch: positive(100),
  maxAttempts: positive(8),
  backoffMs: positive(200),
  maxBackoffMs: positive(60_000),
  retainMs: positive(3_600_000),
});

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Bytes and events of one call of the script. A batch with more is published in several, one after the other. */
const MOST_BYTES = 8 * 1024 * 1024;
const MOST_EVENTS = 2_000;
const TEND_MS = 10_000;

/** Which dead letters are meant. */
export interface ParkedSubject {
  readonly source: string;
  readonly group: string;
  readonly tenant: string;
  readonly subject: string;
}

/** An event bus on Redis Streams. `redisStreams()` makes one. */
export class RedisStreams implements EventBus {
  readonly #redis: RedisCommands;
  readonly #settings: MemberSettings;
  readonly #channels: StreamChannels;
  readonly #members = new Set<{ close(): Promise<void> }>();
  /** When the streams of a source were last looked after by this process, which may publish and never subscribe. */
  readonly #tended = new Map<string, number>();
  #closed = false;

  constructor(options: RedisStreamsOptions) {
    const { client, prefix, timeoutMs, clock = systemClock(), logger = silent, ...plain } = options;
    this.#redis = new RedisCommands({ client, prefix, timeoutMs });
    this.#settings = { ...parse(optionsSchema, plain, "The options of redisStreams"), clock, logger };
    this.#channels = new StreamChannels(client, logger);
  }

  async publish(events: readonly CloudEvent[]): Promise<void> {
    this.#mustBeOpen();
    const bySource = Map.groupBy(events, ({ source }) => source);
    const published = [...bySource].map(([source, its]) => this.#publish(source, its));
    // All have ended before it is said that one has failed: nothing of a batch arrives after its refusal.
    const failed = (await Promise.allSettled(published)).find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * Resolves when the group is known to Redis, so that it gets what is published from then on.
   *
   * @throws {RedisUnavailable} it could not be made known; nothing has begun, and it can be tried again
   */
  async subscribe(subscription: BusSubscription): Promise<{ close(): Promise<void> }> {
    this.#mustBeOpen();
    const { sources, group } = subscription;
    const members: GroupMember[] = [];
    const unlisten: (() => void)[] = [];
    const end = async () => {
      for (const stop of unlisten.splice(0)) stop();
      await Promise.all(members.map((member) => member.close()));
    };
    try {
      for (const source of new Set(sources)) {
        const base = this.#base(source);
        const member = new GroupMember(this.#redis, base, source, keyPart(group), subscription.handle, this.#settings);
        await member.start();
        members.push(member);
        unlisten.push(this.#channels.listen(base, (message) => member.notified(message)));
      }
    } catch (error) {
      await end();
      throw error;
    }
    let ending: Promise<void> | undefined;
    const subscribed = {
      close: () => {
        ending ??= end().finally(() => this.#members.delete(subscribed));
        return ending;
      },
    };
    this.#members.add(subscribed);
    return subscribed;
  }

  /** What the group has given up of a source, oldest first within each subject. */
  async deadLetters(of: Pick<ParkedSubject, "source" | "group">, limit = 100): Promise<readonly StreamDeadLetter[]> {
    const letters: StreamDeadLetter[] = [];
    for (let partition = 0; partition < this.#settings.partitions; partition += 1) {
      const stream = `${this.#base(of.source)}:group:${keyPart(of.group)}:dead:${partition}`;
      let after: string | undefined;
      do {
        const { entries, next } = await lettersOf(this.#redis, stream, after);
        letters.push(...entries.map(toDeadLetter));
        after = next;
      } while (after !== undefined && letters.length < limit);
      if (letters.length >= limit) break;
    }
    return letters.slice(0, limit);
  }

  /**
   * Has the subject's dead letters handled again, oldest first, by whichever member owns it. When all are, the subject
   * is parked no longer. Resolves when it is noted, not when it is done.
   *
   * @throws {NotFound} nothing of this subject is parked
   */
  async retryDeadLetters(subject: ParkedSubject): Promise<void> {
    await this.#wish(subject, "retry");
  }

  /** As `retryDeadLetters`, without the oldest one, which is taken away for good. */
  async skipDeadLetter(subject: ParkedSubject): Promise<void> {
    await this.#wish(subject, "skip");
  }

  /** Forgets a group that nobody will be a member of any more, with its dead letters. What it had not read may go then. */
  async forgetGroup(of: Pick<ParkedSubject, "source" | "group">): Promise<void> {
    await this.#redis.run(FORGET_GROUP, [this.#base(of.source)], [this.#settings.partitions, keyPart(of.group)]);
  }

  async ping(): Promise<void> {
    this.#mustBeOpen();
    await this.#redis.send("PING");
  }

  /** Waits for the handlers at work, and for Redis to know what they finished. The client stays open. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#members].map((member) => member.close()));
    this.#channels.close();
  }

  async #publish(source: string, events: readonly CloudEvent[]): Promise<void> {
    const { partitions } = this.#settings;
    const base = this.#base(source);
    let args: (string | number)[] = [partitions];
    let bytes = 0;
    const send = async () => {
      const actual = Number(await this.#redis.run(PUBLISH, [base], args));
      if (actual !== 0) throw new RedisPartitionsDiffer({ source, configured: partitions, actual });
      args = [partitions];
      bytes = 0;
    };
    for (const event of events) {
      const json = JSON.stringify(event);
      if (args.length > 1 && (bytes + json.length > MOST_BYTES || args.length > 2 * MOST_EVENTS)) await send();
      args.push(partitionOf(laneOf(event), partitions), json);
      bytes += json.length;
    }
    await send();
    this.#tend(source, base);
  }

  #tend(source: string, base: string): void {
    const now = performance.now();
    if (now < (this.#tended.get(source) ?? now - TEND_MS) + TEND_MS) return;
    this.#tended.set(source, now);
    // What is not taken away now is taken away the next time.
    this.#redis
      .run(TEND, [base], [this.#settings.partitions, this.#settings.retainMs])
      .catch(() => this.#tended.delete(source));
  }

  async #wish(of: ParkedSubject, kind: string): Promise<void> {
    const lane = laneOf(of);
    const args = [keyPart(of.group), partitionOf(lane, this.#settings.partitions), lane, kind];
    if ((await this.#redis.run(WISH, [this.#base(of.source)], args)) !== 1)
      throw new NotFound({ type: "parked subject", id: of.subject });
  }

  #base(source: string): string {
    return `${this.#redis.prefix}bus:{${keyPart(source)}}`;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new Error("The bus is closed.");
  }
}

/**
 * Carries events between processes on Redis Streams.
 *
 * @throws {InvalidInput} an option is not valid
 */
export function redisStreams(options: RedisStreamsOptions): RedisStreams {
  return new RedisStreams(options);
}
