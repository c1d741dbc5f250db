import type { DeliveringMember } from "./delivering-member.ts";
import type { Entry, Lane, OwnedPartition } from "./partition.ts";
import type { Script } from "./redis-client.ts";
import { resumeParked } from "./resume-parked.ts";
import { readEvent } from "./stream-event.ts";
import { COUNT_TRY, FINISH, PARK } from "./stream-scripts.ts";

const REDIS_AWAY_PAUSE_MS = 1_000;
const LONGEST_REASON = 1_000;
const BEHIND_PARKED = "an earlier event of the same subject is parked";

/** Hands events to the handler: one of a subject at a time, in order, again after a failure, parked after the last. */
export class Deliveries {
  readonly #member: DeliveringMember;
  /** What is to be done with the dead letters of subjects, by subject. */
  #wishes = new Map<string, string>();
  /** Lanes whose first event can be handled. */
  readonly #ready: Lane[] = [];
  /** Lanes whose first event may be what a member died of: one at a time, so that no other is blamed for it. */
  readonly #suspects: Lane[] = [];
  #suspecting = false;
  #working = 0;
  #idle: (() => void) | undefined;

  constructor(member: DeliveringMember) {
    this.#member = member;
  }

  /** Resolves when no handler is at work. After the member's stop none is begun. */
  async ended(): Promise<void> {
    if (this.#working === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Takes the place of earlier wishes. */
  wish(wishes: ReadonlyMap<string, string>, partitions: Iterable<OwnedPartition>): void {
    this.#wishes = new Map(wishes);
    for (const partition of partitions) this.resume(partition);
  }

  /** Begins with the dead letters that somebody wants tried again. */
  resume(partition: OwnedPartition): void {
    for (const key of this.#wishes.keys()) if (partition.parked.has(key)) this.enqueue(partition.lane(key));
  }

  /** There is something to do in the lane. */
  enqueue(lane: Lane): void {
    if (lane.busy || lane.partition.lost) return;
    lane.busy = true;
    this.#ready.push(lane);
  }

  /** Begins what can be begun. While Redis does not confirm that this member is alive, that is nothing. */
  pump(): void {
    const begin = () =>
      this.#working < this.#member.settings.concurrency && !this.#member.stop.aborted && this.#member.isAlive();
    while (begin()) {
      const lane = this.#next();
      if (lane === undefined) return;
      const { partition } = lane;
      if (partition.lost || partition.leaving) {
        lane.busy = false;
        continue;
      }
      const suspect = lane.waiting[0]?.recovered === true;
      if (suspect && this.#suspecting) {
        this.#suspects.push(lane);
        continue;
      }
      if (suspect) this.#suspecting = true;
      this.#working += 1;
      partition.working += 1;
      void this.#work(lane).then((pause) => {
        this.#working -= 1;
        partition.working -= 1;
        if (suspect) this.#suspecting = false;
        if (pause > 0) void this.#again(lane, pause);
        else {
          lane.busy = false;
          if (lane.waiting.length > 0) this.enqueue(lane);
          else partition.lanes.delete(lane.key);
        }
        this.#member.nudge();
        if (this.#working === 0 && this.#member.stop.aborted) this.#idle?.();
        this.pump();
      });
    }
  }

  #next(): Lane | undefined {
    return (this.#suspecting ? undefined : this.#suspects.shift()) ?? this.#ready.shift();
  }

  // The lane stays busy until its time has come, so that nothing of the subject can overtake the failed event.
  async #again(lane: Lane, pause: number): Promise<void> {
    await this.#member.settings.clock.sleep(pause, this.#member.stop).catch(() => undefined);
    lane.busy = false;
    this.enqueue(lane);
    this.pump();
  }

  /** Deals with the first event of the lane; how long to wait before the next attempt, in milliseconds. Never throws. */
  async #work(lane: Lane): Promise<number> {
    const { partition } = lane;
    try {
      const wish = this.#wishes.get(lane.key);
      if (wish !== undefined && partition.parked.has(lane.key)) {
        this.#wishes.delete(lane.key);
        if (!(await resumeParked(this.#member, lane, wish))) this.#member.doubt();
      }
      const entry = lane.waiting[0];
      if (entry === undefined) return 0;
      if (entry.event === undefined) {
        await this.#park(lane, entry, `malformed: ${entry.wrong}`, 0);
        return 0;
      }
      if (partition.parked.has(lane.key)) {
        await this.#park(lane, entry, BEHIND_PARKED, 0);
        return 0;
      }
      return await this.#try(lane, entry);
    } catch {
      // Redis could not be told. The loop says so; what was decided is decided again.
      return REDIS_AWAY_PAUSE_MS;
    }
  }

  async #try(lane: Lane, entry: Entry): Promise<number> {
    const { maxAttempts, backoffMs, maxBackoffMs, logger } = this.#member.settings;
    const { partition } = lane;
    let tries = 0;
    if (entry.recovered) {
      tries = await this.#countTry(partition, entry);
      if (partition.lost || tries < 0) return 0;
      if (tries > maxAttempts) {
        await this.#park(lane, entry, "its handler never came to an end", tries - 1);
        return 0;
      }
    }
    try {
      const again = lane.failures === 0 ? undefined : readEvent(entry.json);
      await this.#member.handle(again !== undefined && "event" in again ? again.event : entry.event!);
    } catch (error) {
      if (partition.lost) return 0;
      lane.failures += 1;
      if (!entry.recovered) tries = await this.#countTry(partition, entry).catch(() => 0);
      tries = Math.max(tries, lane.failures);
      const fields = { group: this.#member.group, eventId: entry.event!.id, attempts: tries, error: describe(error) };
      if (tries >= maxAttempts) {
        await this.#park(lane, entry, describe(error), tries);
        return 0;
      }
      logger.warn("An event could not be handled and is tried again", fields);
      return Math.ceil(Math.min(maxBackoffMs, backoffMs * 2 ** (tries - 1)));
    }
    partition.release(lane);
    partition.finished.push(entry.id);
    // What another suspect may do to this process must not be laid at its door.
    if (entry.recovered) await this.#run(FINISH, [this.#member.group, partition.number, partition.token, entry.id]);
    return 0;
  }

  async #countTry(partition: OwnedPartition, entry: Entry): Promise<number> {
    const tries = Number(await this.#run(COUNT_TRY, [this.#member.group, partition.number, partition.token, entry.id]));
    if (tries < 0) this.#member.doubt();
    return tries;
  }

  async #park(lane: Lane, entry: Entry, reason: string, tries: number): Promise<void> {
    const { partition, key } = lane;
    const { clock, logger } = this.#member.settings;
    const time = new Date(clock.now()).toISOString();
    const args = [
      this.#member.group,
      partition.number,
      partition.token,
      entry.id,
      key,
      entry.json,
      reason,
      tries,
      time,
    ];
    if ((await this.#run(PARK, args)) !== 1) {
      this.#member.doubt();
      return;
    }
    if (key !== "") partition.parked.add(key);
    partition.release(lane);
    logger.error("An event is parked until somebody looks at it", {
      group: this.#member.group,
      source: this.#member.source,
      eventId: entry.event?.id ?? `entry ${entry.id}`,
      attempts: tries,
      error: reason,
    });
  }

  #run(script: Script, args: readonly (string | number)[]): Promise<unknown> {
    return this.#member.redis.run(script, [this.#member.base], args);
  }
}

/** A failure in a sentence that can be kept. */
export function describe(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, LONGEST_REASON).toWellFormed();
}
