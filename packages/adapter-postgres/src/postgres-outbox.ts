import type {
  AggregateRef,
  DeadLetter,
  Outbox,
  OutboxEntry,
  Page,
  Scope,
  SentCommand,
  StoredEvent,
} from "@armature/core";
import { decodeNumber, encodeCursor, page } from "./cursor.ts";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";

interface EntryRow extends Omit<OutboxEntry, "message" | "only"> {
  readonly only: readonly string[] | null;
  readonly command: SentCommand | null;
  readonly event: StoredEvent | null;
}

/** Messages that wait, and the events that consumers could not handle. */
export class PostgresOutbox implements Outbox {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async read(
    context: string,
    query: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<readonly OutboxEntry[]> {
    const rows = await this.#call(context, "outbox_read", [query.after ?? null, query.limit]);
    return (rows as readonly EntryRow[]).map(toEntry);
  }

  async published(context: string, positions: readonly string[]): Promise<void> {
    if (positions.length > 0) await this.#call(context, "outbox_published", [positions]);
  }

  async failed(
    context: string,
    failure: {
      readonly position: string;
      readonly consumer: string;
      readonly attempts: number;
      readonly nextAt: number;
    },
  ): Promise<void> {
    const { position, consumer, attempts, nextAt } = failure;
    await this.#call(context, "outbox_failed", [position, consumer, attempts, nextAt]);
  }

  async park(context: string, position: string, letter: DeadLetter): Promise<void> {
    const { event, consumer, ...body } = letter;
    const row = {
      tenant: event.tenant,
      eventId: event.id,
      aggregateType: event.aggregateType,
      aggregateId: event.aggregateId,
      consumer,
      body,
    };
    await this.#call(context, "outbox_park", [position, JSON.stringify(row)]);
  }

  async parked(context: string, tenant: string, consumer: string, aggregate: AggregateRef): Promise<boolean> {
    const { type, id } = aggregate;
    return (await this.#call(context, "outbox_parked", [tenant, consumer, type, id])) as boolean;
  }

  async remove(context: string, positions: readonly string[]): Promise<void> {
    if (positions.length > 0) await this.#call(context, "outbox_remove", [positions]);
  }

  async size(context: string): Promise<number> {
    return (await this.#call(context, "outbox_size", [])) as number;
  }

  async deadLetters(
    scope: Scope,
    query: { readonly consumer?: string | undefined; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<DeadLetter>> {
    const { tenant, context } = scope;
    const after = query.after === undefined ? "0" : decodeNumber("dead-letters", query.after);
    const values = [tenant, query.consumer ?? null, after, query.limit];
    const rows = (await this.#call(context, "list_dead_letters", values)) as readonly {
      readonly number: string;
      readonly letter: DeadLetter;
    }[];
    const { items, next } = page(rows, query.limit, (row) => encodeCursor("dead-letters", [row.number]));
    return { items: items.map((row) => row.letter), next };
  }

  async replay(scope: Scope, consumer: string, aggregate: AggregateRef): Promise<number> {
    const values = [scope.tenant, consumer, aggregate.type, aggregate.id];
    return (await this.#call(scope.context, "replay_dead_letters", values)) as number;
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}

function toEntry({ event, command, only, ...entry }: EntryRow): OutboxEntry {
  const message = command === null ? { kind: "event" as const, event: event! } : { kind: "command" as const, command };
  return { ...entry, message, ...(only === null ? {} : { only }) };
}
