import {
  type AggregateRef,
  type AuditQuery,
  type AuditRow,
  type Commit,
  type CommitResult,
  type Counter,
  type CounterQuery,
  compareText,
  type EventQuery,
  type FindQuery,
  type IdempotencyRecord,
  type Page,
  type Scope,
  type StoredAggregate,
  type StoredEvent,
  type TransactionStore,
} from "@armature/core";
import { commitResult, payloadOf, type RecordRow, recordOf } from "./commit-payload.ts";
import { decodeCursor, decodeNumber, encodeCursor, page } from "./cursor.ts";
import type { Functions } from "./database.ts";
import { contextSchema } from "./identifier.ts";

/** What is done for one tenant: every call is one call of one function of the context's schema. */
export class TenantStore implements TransactionStore {
  readonly #functions: Functions;

  constructor(functions: Functions) {
    this.#functions = functions;
  }

  async load(scope: Scope, refs: readonly AggregateRef[]): Promise<readonly (StoredAggregate | undefined)[]> {
    const wanted = JSON.stringify(refs.map(({ type, id }) => ({ type, id })));
    const found = (await this.#call(scope, "load", [wanted])) as readonly (StoredAggregate | null)[];
    return found.map((each) => each ?? undefined);
  }

  async find(scope: Scope, query: FindQuery): Promise<Page<StoredAggregate>> {
    const { type, where = {}, range, orderBy, direction = "asc", limit } = query;
    const listing = `find ${type} ${orderBy ?? ""} ${direction}`;
    const after = query.after === undefined ? undefined : decodeCursor(listing, 2, query.after);
    const asked = JSON.stringify({ type, where, range, orderBy, direction, limit, after });
    const rows = (await this.#call(scope, "find", [asked])) as readonly {
      readonly key: readonly string[];
      readonly aggregate: StoredAggregate;
    }[];
    const { items, next } = page(rows, limit, (row) => encodeCursor(listing, row.key));
    return { items: items.map((row) => row.aggregate), next };
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
    const after = query.after === undefined ? undefined : decode(query.after);
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

  #call(scope: Scope, name: string, values: unknown[]): Promise<unknown> {
    return this.#functions.call(scope.context, contextSchema(scope.context), name, [scope.tenant, ...values]);
  }

  /** The rows of all contexts, one call each; the caller sorts them. */
  async #everywhere<T>(tenant: string, contexts: readonly string[], name: string, query: object): Promise<T[]> {
    const asked = JSON.stringify(query);
    const rows = await Promise.all(contexts.map((context) => this.#call({ tenant, context }, name, [asked])));
    return (rows as T[][]).flat();
  }
}
