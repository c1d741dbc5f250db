import { randomUUID } from "node:crypto";
import type { BusSubscription } from "@armature/core";
import { Deliveries, describe } from "./deliveries.ts";
import type { MemberSettings } from "./delivering-member.ts";
import { RedisPartitionsDiffer } from "./errors.ts";
import { type Entry, OwnedPartition } from "./partition.ts";
import type { RedisCommands, Script } from "./redis-client.ts";
import { laneOf, readEvent } from "./stream-event.ts";
import { GIVE_BACK, SYNC, TURN } from "./stream-scripts.ts";

/** Bytes of one answer, and of everything that waits in a member before it reads no more. */
const MOST_BYTES = 8 * 1024 * 1024;
const LONGEST_PAUSE_MS = 1_000;

/**
 * One subscription to one source: says that it is alive, owns its share of the partitions, reads them and has their
 * events handled, one of a subject at a time. Acknowledging and reading are one round trip, so that the busier it is,
 * the more goes into each.
 */
export class GroupMember {
  readonly #redis: RedisCommands;
  readonly #base: string;
  readonly #source: string;
  readonly #group: string;
  readonly #settings: MemberSettings;
  readonly #deliveries: Deliveries;
  readonly #id = randomUUID();
  readonly #stop = new AbortController();
  readonly #partitions = new Map<number, OwnedPartition>();
  /** Until when nobody else can own the partitions, by this process' own steady clock. */
  #aliveUntil = 0;
  /** Redis does not know of an ownership: until it says what is whose, nothing is begun. */
  #inDoubt = false;
  /** Redis has known of this member. */
  #joined = false;
  #syncAt = 0;
  #nudged = false;
  #wake: (() => void) | undefined;
  #ended = false;
  #running: Promise<void> | undefined;

  constructor(
    redis: RedisCommands,
    base: string,
    source: string,
    group: string,
    handle: BusSubscription["handle"],
    settings: MemberSettings,
  ) {
    this.#redis = redis;
    this.#base = base;
    this.#source = source;
    this.#group = group;
    this.#settings = settings;
    this.#deliveries = new Deliveries({
      redis,
      base,
      source,
      group,
      handle,
      settings,
      stop: this.#stop.signal,
      isAlive: () => !this.#inDoubt && performance.now() < this.#aliveUntil,
      doubt: () => this.#doubt(),
      nudge: () => this.nudge(),
    });
  }

  /** Joins the group. From then on the group gets everything that is published. */
  async start(): Promise<void> {
    await this.#sync();
    this.#running = this.#loop();
  }

  /** Waits for the handlers at work, takes note of what they finished, and gives everything back. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#deliveries.ended();
    this.#ended = true;
    this.nudge();
    await this.#running;
    // What Redis cannot be told now, it finds out by itself: others take over when the lease has run out.
    try {
      await this.#turn();
      await this.#run(GIVE_BACK, [this.#group, this.#id]);
    } catch {}
  }

  /** Something was published to these partitions, or the members have changed. */
  notified(message: string): void {
    if (message === `sync ${this.#group}`) this.#syncAt = 0;
    else if (message === "") for (const partition of this.#partitions.values()) partition.more = true;
    else
      for (const number of message.split(",")) {
        const partition = this.#partitions.get(Number(number));
        if (partition !== undefined) partition.more = true;
      }
    this.nudge();
  }

  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  async #loop(): Promise<void> {
    const { logger } = this.#settings;
    let failures = 0;
    while (!this.#ended) {
      this.#nudged = false;
      try {
        if (performance.now() >= this.#syncAt) await this.#sync();
        const asked = await this.#turn();
        await this.#giveBack();
        if (failures > 0) logger.info("The subscription goes on", { group: this.#group, source: this.#source });
        failures = 0;
        if (!asked && !this.#nudged && !this.#ended) await this.#pause(this.#syncAt - performance.now());
      } catch (error) {
        failures += 1;
        if (failures === 1)
          logger.warn("Redis cannot be used; the subscription waits for it", {
            group: this.#group,
            source: this.#source,
            error: describe(error),
          });
        await this.#settings.clock
          .sleep(Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(failures, 10)), this.#stop.signal)
          .catch(() => undefined);
        if (this.#stop.signal.aborted && !this.#ended) await this.#pause(LONGEST_PAUSE_MS);
      }
    }
  }

  /** Until somebody nudges, or the time is over. */
  async #pause(ms: number): Promise<void> {
    const awake = new AbortController();
    this.#wake = () => awake.abort();
    if (!this.#nudged) await this.#settings.clock.sleep(Math.max(0, ms), awake.signal).catch(() => undefined);
    this.#wake = undefined;
  }

  #run(script: Script, args: readonly (string | number)[]): Promise<unknown> {
    return this.#redis.run(script, [this.#base], args);
  }

  async #sync(): Promise<void> {
    const { partitions, leaseMs, retainMs } = this.#settings;
    const sent = performance.now();
    this.#syncAt = sent + leaseMs / 3;
    // Redis may have forgotten everything: what is surely still this member's stays so.
    const held = sent < this.#aliveUntil ? [...this.#partitions.values()] : [];
    const args = [partitions, this.#group, this.#id, leaseMs, retainMs, this.#joined ? 1 : 0];
    const owned = held.flatMap(({ number, token }) => [number, token]);
    const answer = await this.#run(SYNC, [...args, ...owned]).catch((error) => {
      this.#syncAt = 0;
      throw error;
    });
    if (typeof answer === "number")
      throw new RedisPartitionsDiffer({ source: this.#source, configured: partitions, actual: answer });
    const [excess, own, wishes, forgotten] = answer as readonly [
      number,
      readonly (string | number)[],
      readonly string[],
      number,
    ];
    this.#aliveUntil = sent + leaseMs * 0.8;
    this.#inDoubt = false;
    this.#joined = true;
    const tokens = new Map(pairs(own).map(([number, token]) => [Number(number), String(token)]));
    for (const partition of [...this.#partitions.values()])
      if (tokens.get(partition.number) !== partition.token) this.#lose(partition);
    for (const [number, token] of tokens)
      if (!this.#partitions.has(number)) this.#partitions.set(number, new OwnedPartition(number, token));
    // The dead letters are gone too: what was behind them goes on.
    if (forgotten === 1) for (const partition of this.#partitions.values()) partition.parked.clear();
    let toLeave = excess;
    for (const partition of this.#partitions.values()) {
      partition.more = true;
      if (toLeave > 0) partition.leaving = true;
      if (partition.leaving) toLeave -= 1;
    }
    this.#deliveries.wish(new Map(pairs(wishes)), this.#partitions.values());
    this.#deliveries.pump();
  }

  /** Whether there was something to tell or to ask. */
  async #turn(): Promise<boolean> {
    const { prefetch } = this.#settings;
    const asked: { readonly partition: OwnedPartition; readonly room: number; readonly finished: string[] }[] = [];
    const args: (string | number)[] = [this.#group, MOST_BYTES];
    let bytes = 0;
    for (const partition of this.#partitions.values()) bytes += partition.bytes;
    for (const partition of this.#partitions.values()) {
      const reads = partition.more && !partition.leaving && !this.#stop.signal.aborted;
      // One that holds nothing may always read, so that a large subject elsewhere does not hold it up.
      const room = reads && (partition.held === 0 || bytes < MOST_BYTES) ? prefetch - partition.held : 0;
      if (room <= 0 && partition.finished.length === 0) continue;
      if (room > 0) partition.more = false;
      const finished = partition.finished.splice(0);
      asked.push({ partition, room, finished });
      args.push(partition.number, partition.token, partition.history ?? ">", room, finished.length, ...finished);
    }
    if (asked.length === 0) return false;
    let answer: readonly (readonly [readonly string[], readonly string[]] | null)[];
    try {
      answer = (await this.#run(TURN, args)) as typeof answer;
    } catch (error) {
      for (const { partition, room, finished } of asked) {
        partition.finished.unshift(...finished);
        if (room > 0) partition.missed();
      }
      throw error;
    }
    for (const [at, { partition, room }] of asked.entries()) {
      const given = answer[at];
      if (given === null || given === undefined) {
        partition.more = true;
        this.#doubt();
      } else if (room > 0 && !partition.lost) this.#receive(partition, room, ...given);
    }
    this.#deliveries.pump();
    return true;
  }

  #receive(partition: OwnedPartition, room: number, entries: readonly string[], parked: readonly string[]): void {
    for (const key of parked) partition.parked.add(key);
    if (parked.length > 0) this.#deliveries.resume(partition);
    const history = partition.history !== undefined;
    const recovered = history && partition.inherited;
    let bytes = 0;
    for (const [id, json] of pairs(entries) as [string, string][]) {
      bytes += json.length;
      if (history) partition.history = id;
      const read = readEvent(json);
      const entry: Entry =
        "event" in read
          ? { id, json, recovered, event: read.event }
          : { id, json, recovered, wrong: read.issues.map(({ path, message }) => `${path} ${message}`).join("; ") };
      // Malformed ones have no subject, and take their turns in a lane of their own.
      const lane = partition.lane(entry.event === undefined ? "" : laneOf(entry.event));
      partition.hold(entry, lane);
      this.#deliveries.enqueue(lane);
    }
    if (entries.length / 2 >= room || bytes >= MOST_BYTES) partition.more = true;
    else if (history) partition.caughtUp();
  }

  /** What was ours is another's, or nobody's because Redis was flushed. */
  #doubt(): void {
    this.#inDoubt = true;
    this.#syncAt = 0;
    this.nudge();
  }

  /** Somebody else works on it, or may. Handlers at work cannot be stopped; nothing else of it is begun. */
  #lose(partition: OwnedPartition): void {
    partition.lost = true;
    if (this.#partitions.get(partition.number) === partition) this.#partitions.delete(partition.number);
    this.#syncAt = 0;
  }

  async #giveBack(): Promise<void> {
    const done = [...this.#partitions.values()].filter(
      ({ leaving, working, finished }) => leaving && working === 0 && finished.length === 0,
    );
    if (done.length === 0) return;
    for (const partition of done) {
      partition.lost = true;
      this.#partitions.delete(partition.number);
    }
    await this.#run(GIVE_BACK, [this.#group, this.#id, ...done.flatMap(({ number, token }) => [number, token])]);
  }
}

function pairs<T>(list: readonly T[]): [T, T][] {
  return Array.from({ length: Math.floor(list.length / 2) }, (_, at) => [list[2 * at]!, list[2 * at + 1]!]);
}
