import { frozenCopy } from "../kernel/json-copy.ts";
import {
  type Claim,
  type ClaimedShare,
  type ClaimRequest,
  type DeadLetter,
  type EntryRef,
  headOf,
  type Outbox,
  type OutboxEntry,
  type OutboxQuery,
  PARTITIONS,
  type ParkResult,
  sequenceOf,
} from "../kernel/outbox.ts";
import { putBack, sequenceKey } from "./in-memory-letters.ts";
import { type ContextTables, keyOf, type OutboxRow, type Tables, upsert } from "./tables.ts";

/** Messages that wait, by position, and those that consumers could not handle. */
export class InMemoryOutbox implements Outbox {
  readonly #tables: Tables;
  readonly #watching = new Set<(contexts: readonly string[]) => void>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async claim(context: string, { member, keep, ttlMs, now }: ClaimRequest): Promise<ClaimedShare> {
    const { claims, members } = this.#tables.context(context);
    members.set(member, now + ttlMs);
    for (const [each, until] of members) if (until <= now) members.delete(each);
    const fairShare = Math.ceil(PARTITIONS / members.size);
    let mine = 0;
    for (const [partition, claim] of claims.entries()) {
      if (claim.member !== member || claim.until <= now) continue;
      const kept = keep === undefined || keep.includes(partition);
      claim.until = kept ? now + ttlMs : 0;
      if (kept) mine += 1;
    }
    for (const claim of claims) {
      if (mine >= fairShare) break;
      if (claim.until > now) continue;
      Object.assign(claim, { member, fence: claim.fence + 1, until: now + ttlMs });
      mine += 1;
    }
    const held = [...claims.entries()].filter(([, claim]) => claim.member === member && claim.until > now);
    return { claims: held.map(([partition, { fence }]) => ({ partition, fence })), members: members.size };
  }

  async leave(context: string, member: string): Promise<void> {
    const { claims, members } = this.#tables.context(context);
    members.delete(member);
    for (const claim of claims) if (claim.member === member) claim.until = 0;
  }

  async read(context: string, { cursors, limit, consumed }: OutboxQuery): Promise<readonly OutboxEntry[]> {
    const tables = this.#tables.context(context);
    if (tables.parked.size > 0) {
      const begun = cursors.filter(
        ({ partition, fence, after }) =>
          after === undefined && (fence === undefined || this.#holds(context, { partition, fence })),
      );
      putBack(tables, new Set(begun.map(({ partition }) => partition)));
    }
    const rows: OutboxRow[] = [];
    for (const { partition, after = "-Infinity" } of cursors) {
      const waiting = tables.outbox[partition]!;
      if (waiting.size === 0) continue;
      let found = 0;
      for (const row of waiting.values()) {
        if (found === limit) break;
        if (row.position <= Number(after)) continue;
        rows.push(row);
        found += 1;
      }
    }
    return rows.sort((a, b) => a.position - b.position).map((row) => this.#toEntry(tables, row, consumed));
  }

  async settle(
    context: string,
    claims: readonly Claim[],
    { published, finished }: { readonly published: readonly EntryRef[]; readonly finished: readonly EntryRef[] },
  ): Promise<readonly number[]> {
    const { outbox } = this.#tables.context(context);
    const held = new Set(claims.flatMap((claim) => (this.#holds(context, claim) ? [claim.partition] : [])));
    for (const { partition, position } of published) {
      const row = held.has(partition) ? outbox[partition]!.get(Number(position)) : undefined;
      if (row !== undefined) row.published = true;
    }
    for (const { partition, position } of finished)
      if (held.has(partition)) outbox[partition]!.delete(Number(position));
    return claims.flatMap(({ partition }) => (held.has(partition) ? [] : [partition]));
  }

  async failed(
    context: string,
    claim: Claim,
    failure: {
      readonly position: string;
      readonly consumer: string;
      readonly attempts: number;
      readonly nextAt: number;
    },
  ): Promise<boolean> {
    if (!this.#holds(context, claim)) return false;
    const { position, consumer, attempts, nextAt } = failure;
    const row = this.#tables.context(context).outbox[claim.partition]!.get(Number(position));
    row?.failures.set(consumer, { attempts, nextAt });
    return true;
  }

  async park(context: string, claim: Claim, position: string, letter: DeadLetter): Promise<ParkResult> {
    if (!this.#holds(context, claim)) return "lost";
    const tables = this.#tables.context(context);
    const { consumer, message } = letter;
    const key = sequenceKey(headOf(message).tenant, consumer, sequenceOf(message));
    if (letter.attempts === 0 && !tables.parked.has(key)) return "nothing-ahead";
    const sequence = upsert(tables.parked, key, () => ({ letters: new Map(), replaying: false }));
    const at = Number(position);
    if (!sequence.letters.has(at))
      sequence.letters.set(at, {
        number: this.#tables.next(),
        partition: claim.partition,
        position: at,
        letter: frozenCopy(letter),
      });
    upsert(tables.parkedAt, at, () => new Set<string>()).add(consumer);
    // A replay starts to count afresh.
    tables.outbox[claim.partition]!.get(at)?.failures.delete(consumer);
    return "parked";
  }

  async size(context: string, partitions?: readonly number[]): Promise<number> {
    const { outbox } = this.#tables.context(context);
    const counted = partitions === undefined ? outbox : partitions.map((partition) => outbox[partition]!);
    return counted.reduce((sum, rows) => sum + rows.size, 0);
  }

  async announce(contexts: readonly string[]): Promise<void> {
    for (const hear of this.#watching) hear(contexts);
  }

  watch(hear: (contexts: readonly string[]) => void): { close(): Promise<void> } {
    // One that is added twice is two.
    const own = (contexts: readonly string[]) => hear(contexts);
    this.#watching.add(own);
    return {
      close: async () => {
        this.#watching.delete(own);
      },
    };
  }

  #holds(context: string, { partition, fence }: Claim): boolean {
    return this.#tables.context(context).claims[partition]?.fence === fence;
  }

  #toEntry(tables: ContextTables, row: OutboxRow, consumed: readonly string[] | undefined): OutboxEntry {
    const { message } = row;
    const entry = {
      partition: row.partition,
      position: String(row.position),
      message,
      published: row.published,
      ...(row.only === undefined ? {} : { only: [...row.only] }),
    };
    // Left out where it may be, so that whoever counts on it is found out.
    if (message.kind === "event" && consumed?.includes(message.event.type) === false)
      return { ...entry, done: [], parked: [], failures: [] };
    const { tenant, id: messageId } = headOf(message);
    const handled = this.#tables.inbox.get(keyOf(tenant, messageId))?.keys() ?? [];
    const { type, id } = sequenceOf(message);
    const parked = tables.parked.size === 0 ? [] : [...tables.parked.keys()];
    return {
      ...entry,
      done: [...new Set([...handled, ...(tables.parkedAt.get(row.position) ?? [])])],
      parked: parked.flatMap((key) => {
        const [of, consumer, ...sequence] = key.split("\u0000");
        return of === tenant && sequence[0] === type && sequence[1] === id ? [consumer!] : [];
      }),
      failures: [...row.failures].map(([consumer, failure]) => ({ consumer, ...failure })),
    };
  }
}
