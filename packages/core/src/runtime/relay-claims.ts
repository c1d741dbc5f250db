import type { Clock } from "../kernel/clock.ts";
import { type Claim, type Outbox, PARTITIONS } from "../kernel/outbox.ts";

const TTL_MS = 15_000;
const RENEW_MS = 5_000;
/** How soon a member looks again that has less than its share, or has something to give up. */
const SOON_MS = 500;
const NONE: readonly Claim[] = [];

/** The partitions of one context's outbox that one relay works on. */
export class RelayClaims {
  readonly #context: string;
  readonly #member: string;
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  #held = new Map<number, Claim>();
  /** Held, but more than our share: nothing new is begun there. */
  #leaving = new Set<number>();
  /** Held and not to be given up; absent until somebody asks. */
  #working: readonly Claim[] | undefined;
  #until = 0;
  #renewAt = 0;
  #balancing = false;
  /** What was held the last time and with how many it was shared, and since when. */
  #shares = "";
  #changedAt = 0;

  constructor(context: string, member: string, outbox: Outbox, clock: Clock) {
    this.#context = context;
    this.#member = member;
    this.#outbox = outbox;
    this.#clock = clock;
  }

  /** When `renew` is due. */
  get renewAt(): number {
    return this.#renewAt;
  }

  /** Whether partitions are changing hands. */
  get balancing(): boolean {
    return this.#balancing;
  }

  /** Whether all partitions are ours, as far as we know. */
  get complete(): boolean {
    return this.#alive && this.#held.size === PARTITIONS;
  }

  /** Those to begin new work on: the same array while nothing has changed. */
  get working(): readonly Claim[] {
    if (!this.#alive) return NONE;
    this.#working ??= [...this.#held.values()].filter(({ partition }) => !this.#leaving.has(partition));
    return this.#working;
  }

  /** Those of them that we may still work on, as far as we know. */
  held<T extends { readonly claim: Claim }>(given: readonly T[]): readonly T[] {
    if (!this.#alive) return [];
    const lost = given.some(({ claim }) => this.#held.get(claim.partition)?.fence !== claim.fence);
    return lost ? given.filter(({ claim }) => this.#held.get(claim.partition)?.fence === claim.fence) : given;
  }

  /** Whether we may still work on it, as far as we know. */
  holds({ partition, fence }: Claim): boolean {
    return this.#alive && this.#held.get(partition)?.fence === fence;
  }

  /** Another member has these by now. */
  lost(partitions: readonly number[]): void {
    if (partitions.length === 0) return;
    for (const partition of partitions) this.#held.delete(partition);
    this.#working = undefined;
    this.#renewAt = 0;
  }

  /**
   * When it is time: makes ours last, gives up what is too much and idle, and takes what is free up to our share.
   *
   * @returns whether anything was asked for
   */
  async renew(busy: () => ReadonlySet<number>): Promise<boolean> {
    const now = this.#clock.now();
    if (now < this.#renewAt && this.#alive) return false;
    const working = this.#leaving.size === 0 ? undefined : busy();
    const keep = [...this.#held.keys()].filter((each) => !this.#leaving.has(each) || working?.has(each));
    const request = { member: this.#member, keep, ttlMs: TTL_MS, now };
    const { claims, members } = await this.#outbox.claim(this.#context, request);
    this.#until = now + TTL_MS;
    this.#held = new Map(claims.map((claim) => [claim.partition, claim]));
    this.#leaving = new Set([...this.#held.keys()].slice(Math.ceil(PARTITIONS / members)));
    this.#working = undefined;
    this.#balancing = this.#unsettled(now, members);
    this.#renewAt = now + (this.#balancing ? SOON_MS : RENEW_MS);
    return true;
  }

  /** Gives everything back; what cannot be given back lapses. */
  async leave(): Promise<void> {
    this.#held.clear();
    this.#working = undefined;
    await this.#outbox.leave(this.#context, this.#member).catch(() => undefined);
  }

  // After a change the others take their time to give up what is too much. With three members one stays below its share.
  #unsettled(now: number, members: number): boolean {
    const shares = `${this.#held.size} of ${members}`;
    if (shares !== this.#shares) this.#changedAt = now;
    this.#shares = shares;
    const few = this.#held.size < Math.floor(PARTITIONS / members);
    return this.#leaving.size > 0 || (few && now < this.#changedAt + TTL_MS);
  }

  get #alive(): boolean {
    return this.#clock.now() < this.#until;
  }
}
