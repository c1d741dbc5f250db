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
  type OutboxQuery,
  type ParkResult,
  type SentCommand,
  type StoredEvent,
  sequenceOf,
  toInstant,
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

/** An entry as the database gives it, with its event's columns; a command's has none. */
type EntryRow = readonly [
  partition: number,
  position: number,
  published: boolean,
  id: string | null,
  tenant: string,
  type: string,
  aggregateType: string,
  aggregateId: string,
  aggregateVersion: number,
  seconds: number,
  body: Omit<StoredEvent, "id" | "tenant" | "context" | "type" | `aggregate${string}` | "time">,
  marks: Marks | null,
];

interface Marks extends Pick<OutboxEntry, "done" | "parked" | "failures"> {
  readonly only: readonly string[] | null;
  readonly command: SentCommand | null;
}

const UNMARKED: Marks = { command: null, only: null, done: [], parked: [], failures: [] };

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

  async read(context: string, { cursors, limit, consumed }: OutboxQuery): Promise<readonly OutboxEntry[]> {
    const partitions = cursors.map(({ partition }) => partition);
    const after = cursors.map((cursor) => cursor.after ?? FIRST);
    const fences = cursors.map(({ fence }) => fence ?? null);
    const values = [partitions, fences, after, limit, consumed ?? null];
    const rows = (await this.#call(context, "outbox_read", values)) as EntryRow[];
    return rows.sort((a, b) => a[1] - b[1]).map((row) => entryOf(context, row));
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

  async size(context: string, partitions?: readonly number[], most?: number): Promise<number> {
    return (await this.#call(context, "outbox_size", [partitions ?? null, most ?? null])) as number;
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

// A page's rows are lists: names of columns in each of them would take longer to write and to read than what they name.
function entryOf(context: string, row: EntryRow): OutboxEntry {
  const [partition, position, published, id, tenant, type, aggregateType, aggregateId, aggregateVersion] = row;
  const { command, only, done, parked, failures } = row[11] ?? UNMARKED;
  const message: Message =
    id === null
      ? { kind: "command", command: command! }
      : {
          kind: "event",
          event: {
            ...row[10],
            ...{ id, tenant, context, type, aggregateType, aggregateId, aggregateVersion },
            time: toInstant(Math.round(row[9] * 1000)),
          },
        };
  const entry = { partition, position: String(position), message, published, done, parked, failures };
  return only === null ? entry : { ...entry, only };
}

function pairs(claims: readonly Claim[]): string {
  return JSON.stringify(claims.map(({ partition, fence }) => [partition, fence]));
}

// Arrays as PostgreSQL writes them: the driver would look into every element for something to escape.
function columns(entries: readonly EntryRef[]): readonly [string, string] {
  const list = (values: readonly unknown[]) => `{${values.join(",")}}`;
  return [list(entries.map(({ position }) => position)), list(entries.map(({ partition }) => partition))];
}
