import {
  type Claim,
  type ClaimedShare,
  type ClaimRequest,
  type DeadLetter,
  type EntryRef,
  headOf,
  type Message,
  type Outbox,
  type OutboxEntry,
  type ParkResult,
  type PartitionCursor,
  type SentCommand,
  type StoredEvent,
  sequenceOf,
} from "@armature/core";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";
import { FIRST } from "./outbox-sql.ts";
import type { Signals } from "./signals.ts";

/** A message as the database gives it. */
export interface MessageRow {
  readonly command: SentCommand | null;
  readonly event: StoredEvent | null;
}

interface EntryRow extends Omit<OutboxEntry, "message" | "only">, MessageRow {
  readonly only: readonly string[] | null;
}

/** Messages that wait, and those that consumers could not handle. */
export class PostgresOutbox implements Outbox {
  readonly #database: Database;
  readonly #signals: Signals;
  /** Whether nobody else has the database, so that the caller's clock is as good as its own. */
  readonly #embedded: boolean;

  constructor(database: Database, signals: Signals, embedded: boolean) {
    this.#database = database;
    this.#signals = signals;
    this.#embedded = embedded;
  }

  async claim(context: string, { member, keep, ttlMs, now }: ClaimRequest): Promise<ClaimedShare> {
    const values = [member, keep ?? null, ttlMs, this.#embedded ? now : null];
    return (await this.#call(context, "relay_claim", values)) as ClaimedShare;
  }

  async leave(context: string, member: string): Promise<void> {
    await this.#call(context, "relay_leave", [member]);
  }

  async read(
    context: string,
    { cursors, limit }: { readonly cursors: readonly PartitionCursor[]; readonly limit: number },
  ): Promise<readonly OutboxEntry[]> {
    const partitions = cursors.map(({ partition }) => partition);
    const after = cursors.map((cursor) => cursor.after ?? FIRST);
    const fences = cursors.map(({ fence }) => fence ?? null);
    const rows = (await this.#call(context, "outbox_read", [partitions, fences, after, limit])) as readonly EntryRow[];
    return rows.map(({ event, command, only, ...entry }) => ({
      ...entry,
      message: messageOf({ event, command }),
      ...(only === null ? {} : { only }),
    }));
  }

  async settle(
    context: string,
    claims: readonly Claim[],
    { published, finished }: { readonly published: readonly EntryRef[]; readonly finished: readonly EntryRef[] },
  ): Promise<readonly number[]> {
    const values = [pairs(claims), ...columns(published), ...columns(finished)];
    return (await this.#call(context, "outbox_settle", values)) as readonly number[];
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
    const { position, consumer, attempts, nextAt } = failure;
    const values = [pairs([claim]), position, consumer, attempts, nextAt];
    return (await this.#call(context, "outbox_failed", values)) as boolean;
  }

  async park(context: string, claim: Claim, position: string, letter: DeadLetter): Promise<ParkResult> {
    const { message, consumer, ...body } = letter;
    const { tenant, id: messageId } = headOf(message);
    const { type: aggregateType, id: aggregateId } = sequenceOf(message);
    const command = message.kind === "command" ? message.command : undefined;
    const row = { tenant, messageId, aggregateType, aggregateId, command, consumer, body };
    const values = [pairs([claim]), position, JSON.stringify(row)];
    return (await this.#call(context, "outbox_park", values)) as ParkResult;
  }

  async size(context: string, partitions?: readonly number[]): Promise<number> {
    return (await this.#call(context, "outbox_size", [partitions ?? null])) as number;
  }

  announce(contexts: readonly string[]): Promise<void> {
    return this.#signals.announce(contexts);
  }

  watch(hear: (contexts: readonly string[]) => void): { close(): Promise<void> } {
    return this.#signals.watch(hear);
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}

export function messageOf({ event, command }: MessageRow): Message {
  return command === null ? { kind: "event", event: event! } : { kind: "command", command };
}

function pairs(claims: readonly Claim[]): string {
  return JSON.stringify(claims.map(({ partition, fence }) => [partition, fence]));
}

function columns(entries: readonly EntryRef[]): readonly [readonly string[], readonly number[]] {
  return [entries.map(({ position }) => position), entries.map(({ partition }) => partition)];
}
