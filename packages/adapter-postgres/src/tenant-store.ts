import {
  type AggregateRef,
  type AuditQuery,
  type AuditRow,
  type Commit,
  type CommitResult,
  type Counter,
  type CounterQuery,
  compareText,
  type DeadLetter,
  type DeadLetterQuery,
  type EventQuery,
  type FindQuery,
  type IdempotencyRecord,
  type JournalEntry,
  type JsonObject,
  type Page,
  type RowQuery,
  type ScheduledQuery,
  type Scope,
  type StoredAggregate,
  type StoredEvent,
  type StoredExecution,
  type StoredRow,
  type Timer,
  type TransactionStore,
} from "@armature/core";
import { commitResult, payloadOf, type RecordRow, recordOf } from "./commit-payload.ts";
import { decodeCursor, decodeDue, decodeNumber, encodeCursor, page } from "./cursor.ts";
import type { Functions, LoadAnswer } from "./database.ts";
import { type ExecutionRow, toExecution } from "./execution-rows.ts";
import { contextSchema } from "./identifier.ts";
import { type MessageRow, messageOf } from "./postgres-outbox.ts";
import { type TimerRow, toTimer } from "./postgres-timers.ts";

interface LetterRow extends MessageRow {
  readonly number: string;
  readonly letter: Omit<DeadLetter, "message">;
}

/** What is done for one tenant: every call is one call of one function of the context's schema. */
export class TenantStore implements TransactionStore {
  readonly #functions: Functions;

  constructor(functions: Functions) {
    this.#functions = functions;
  }

  async load(scope: Scope, refs: readonly AggregateRef[]): Promise<readonly (StoredAggregate | undefined)[]> {
    const [ref, ...others] = refs;
    if (ref !== undefined && others.length === 0) {
      const { type, id } = ref;
      const found = await this.#functions.load({ ...scope, type, id });
      return [found === undefined ? undefined : { type, id, ...found }];
    }
    const wanted = JSON.stringify(refs.map(({ type, id }) => ({ type, id })));
    const found = (await this.#call(scope, "load", [wanted])) as readonly (LoadAnswer | null)[];
    return found.map((each, at) => (each === null ? undefined : { type: refs[at]!.type, id: refs[at]!.id, ...each }));
  }

  async find(scope: Scope, query: FindQuery): Promise<Page<StoredAggregate>> {
    const { type, ...how } = query;
    const found = await this.#found<StoredAggregate>(scope, "find", `find ${type}`, how, { type });
    return found ?? { items: [] };
  }

  rows(scope: Scope, query: RowQuery): Promise<Page<StoredRow> | undefined> {
    const { projection, ...how } = query;
    return this.#found<StoredRow>(scope, "find_rows", `rows ${projection}`, how, { projection });
  }

  async row(scope: Scope, projection: string, id: string) {
    const found = (await this.#call(scope, "one_row", [projection, id])) as
      | { readonly row: JsonObject | null }
      | undefined;
    return found === undefined ? undefined : { row: found.row ?? undefined };
  }

  async commit(tenant: string, commit: Commit): Promise<CommitResult> {
    // Every commit takes its locks in the same order, so that two of them cannot wait for each other.
    const parts = commit.parts.map(payloadOf).sort((a, b) => compareText(a.context, b.context));
    if (parts.length === 0) return { status: "committed" };
    return commitResult(await this.#functions.commit(tenant, parts), parts);
  }

  async idempotency(scope: Scope, key: string): Promise<IdempotencyRecord | undefined> {
    const row = (await this.#call(scope, "idempotency_record", [key])) as RecordRow | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  async events(tenant: string, query: EventQuery): Promise<Page<StoredEvent>> {
    const { contexts, aggregate, types, direction = "asc", limit } = query;
    const listing =
      aggregate === undefined ? `events ${direction}` : `history ${aggregate.type} ${aggregate.id} ${direction}`;
    const decode = (cursor: string) =>
      aggregate === undefined ? decodeCursor(listing, 1, cursor)[0] : decodeNumber(listing, cursor);
    const after = query.after === undefined ? query.above : decode(query.after);
    const rows = await this.#everywhere<StoredEvent>(tenant, contexts, "list_events", {
      aggregate,
      types,
      direction,
      limit,
      after,
    });
    const sign = direction === "asc" ? 1 : -1;
    rows.sort(
      (a, b) => sign * (aggregate === undefined ? compareText(a.id, b.id) : a.aggregateVersion - b.aggregateVersion),
    );
    return page(rows, limit, (row) =>
      encodeCursor(listing, [aggregate === undefined ? row.id : String(row.aggregateVersion)]),
    );
  }

  async audit(tenant: string, query: AuditQuery): Promise<Page<AuditRow>> {
    const { contexts, limit, direction = "desc", ...conditions } = query;
    const listing = `audit ${direction}`;
    const after = query.after === undefined ? undefined : decodeCursor(listing, 1, query.after)[0];
    const asked = { ...conditions, direction, limit, after };
    const rows = await this.#everywhere<AuditRow>(tenant, contexts, "list_audit", asked);
    const sign = direction === "asc" ? 1 : -1;
    rows.sort((a, b) => sign * compareText(a.id, b.id));
    return page(rows, limit, (row) => encodeCursor(listing, [row.id]));
  }

  async counters(scope: Scope, { gte, lt, limit, after }: CounterQuery): Promise<Page<Counter>> {
    const beyond = after === undefined ? "" : decodeCursor("counters", 1, after)[0];
    const rows = (await this.#call(scope, "list_counters", [gte, lt, beyond, limit + 1])) as readonly Counter[];
    return page(rows, limit, ({ key }) => encodeCursor("counters", [key]));
  }

  async deadLetters(scope: Scope, { consumer, messageId, limit, after }: DeadLetterQuery): Promise<Page<DeadLetter>> {
    const behind = after === undefined ? "0" : decodeNumber("dead-letters", after);
    const values = [consumer ?? null, messageId ?? null, behind, limit];
    const rows = (await this.#call(scope, "list_dead_letters", values)) as readonly LetterRow[];
    const { items, next } = page(rows, limit, (row) => encodeCursor("dead-letters", [row.number]));
    return { items: items.map((row) => ({ ...row.letter, message: messageOf(row) })), next };
  }

  async scheduled(tenant: string, { contexts, key, limit, after }: ScheduledQuery): Promise<Page<Timer>> {
    const [due, afterKey, afterContext] = after === undefined ? ["0", "", ""] : decodeDue(after);
    const pages = await Promise.all(
      contexts.map(async (context) => {
        const values = [key ?? null, due, afterKey, compareText(context, afterContext) > 0, limit + 1];
        const rows = (await this.#call({ tenant, context }, "list_timers", values)) as readonly TimerRow[];
        return rows.map((row) => ({ timer: toTimer(row), context }));
      }),
    );
    const rows = pages
      .flat()
      .sort(
        (a, b) =>
          a.timer.dueAt - b.timer.dueAt || compareText(a.timer.key, b.timer.key) || compareText(a.context, b.context),
      );
    const { items, next } = page(rows, limit, ({ timer, context }) =>
      encodeCursor("scheduled", [String(timer.dueAt), timer.key, context]),
    );
    return { items: items.map(({ timer }) => timer), next };
  }

  async execution(scope: Scope, id: string): Promise<StoredExecution | undefined> {
    const row = (await this.#call(scope, "execution", [id])) as ExecutionRow | undefined;
    return row === undefined ? undefined : toExecution(id, row);
  }

  async journal(
    scope: Scope,
    { id, limit, after }: { readonly id: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<JournalEntry>> {
    const listing = `journal ${id}`;
    const from = after === undefined ? 0 : Number(decodeNumber(listing, after));
    const entries = (await this.#call(scope, "list_journal", [id, from, limit + 1])) as readonly JournalEntry[];
    return page(entries, limit, () => encodeCursor(listing, [String(from + limit)]));
  }

  #call(scope: Scope, name: string, values: unknown[]): Promise<unknown> {
    return this.#functions.call(scope.context, contextSchema(scope.context), name, [scope.tenant, ...values]);
  }

  /** A page of what a search by index fields finds; undefined where the function has no answer. */
  async #found<T>(
    scope: Scope,
    name: string,
    searched: string,
    query: Omit<FindQuery, "type">,
    among: object,
  ): Promise<Page<T> | undefined> {
    const { where = {}, range, orderBy, direction = "asc", limit } = query;
    const listing = `${searched} ${orderBy ?? ""} ${direction}`;
    const after = query.after === undefined ? undefined : decodeCursor(listing, 2, query.after);
    const asked = JSON.stringify({ ...among, where, range, orderBy, direction, limit, after });
    const rows = (await this.#call(scope, name, [asked])) as
      | readonly { readonly key: readonly string[]; readonly found: T }[]
      | undefined;
    if (rows === undefined) return undefined;
    const { items, next } = page(rows, limit, (row) => encodeCursor(listing, row.key));
    return { items: items.map((row) => row.found), next };
  }

  /** The rows of all contexts, one call each; the caller sorts them. */
  async #everywhere<T>(tenant: string, contexts: readonly string[], name: string, query: object): Promise<T[]> {
    const asked = JSON.stringify(query);
    const rows = await Promise.all(contexts.map((context) => this.#call({ tenant, context }, name, [asked])));
    return (rows as T[][]).flat();
  }
}
