import { CANCEL_SIGNAL } from "../kernel/execution.ts";
import type {
  ExecutionChange,
  ExecutionReads,
  Executions,
  ExecutionWrite,
  JournalEntry,
  ServedDefinition,
  Signal,
  StoredExecution,
  TakenExecution,
  TakenExecutions,
  TakeRequest,
} from "../kernel/executions.ts";
import { frozenCopy } from "../kernel/json-copy.ts";
import type { Page } from "../kernel/paging.ts";
import type { Scope } from "../kernel/scope.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import type { ExecutionRow } from "./execution-table.ts";
import { type ContextTables, keyOf, type Tables } from "./tables.ts";

/** Durable executions, their journals and signals. */
export class InMemoryExecutions implements Executions, ExecutionReads {
  readonly #tables: Tables;
  readonly #now: () => number;

  constructor(tables: Tables, now: () => number) {
    this.#tables = tables;
    this.#now = now;
  }

  async take(context: string, { worker, ttlMs, now, limit, definitions }: TakeRequest): Promise<TakenExecutions> {
    const tables = this.#tables.context(context);
    tables.workers.set(worker, this.#now() + ttlMs);
    for (const [name, until] of tables.workers) if (until < this.#now()) letGo(tables, name);
    const { executions } = tables;
    const signaled: { tenant: string; id: string; signals: number }[] = [];
    const held: ExecutionRow[] = [];
    for (const row of executions.held) {
      held.push(row);
      const { tenant, execution, signals } = row;
      if (row.worker === worker && signals.length > 0)
        signaled.push({ tenant, id: execution.id, signals: signals.length });
    }
    const due: ExecutionRow[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const row of executions.due) {
      if (!isServed(row, definitions)) continue;
      if (row.dueAt! <= now) due.push(row);
      else nextAt = Math.min(nextAt, row.dueAt!);
    }
    const taken: TakenExecution[] = [];
    for (const row of due.sort((a, b) => a.dueAt! - b.dueAt!)) {
      if (taken.length >= limit) break;
      if (!hasRoom(held, row, definitions)) continue;
      row.worker = worker;
      row.fence += 1;
      row.takes += 1;
      executions.changed(row);
      held.push(row);
      taken.push(toTaken(row));
    }
    return { executions: taken, signaled, nextAt: Number.isFinite(nextAt) ? nextAt : undefined };
  }

  async leave(context: string, worker: string): Promise<void> {
    letGo(this.#tables.context(context), worker);
  }

  async signals({ tenant, context }: Scope, id: string): Promise<readonly Signal[]> {
    return [...(this.#tables.context(context).executions.get(keyOf(tenant, id))?.signals ?? [])];
  }

  async write(context: string, writes: readonly ExecutionWrite[]): Promise<readonly ("written" | "lost")[]> {
    const tables = this.#tables.context(context);
    return writes.map((write) => {
      const row = tables.executions.get(keyOf(write.tenant, write.id));
      if (row === undefined || !isHolder(row, write)) return "lost";
      const isWritten = fits(row, write);
      if (isWritten) apply(row, frozenCopy(write));
      else row.worker = undefined;
      tables.executions.changed(row);
      return isWritten ? "written" : "lost";
    });
  }

  async prune(context: string, query: { readonly now: number; readonly olderThanMs: number; readonly limit: number }) {
    const { executions } = this.#tables.context(context);
    let removed = 0;
    for (const [place, { endedAt }] of executions.entries()) {
      if (removed === query.limit) break;
      if (endedAt === undefined || endedAt > query.now - query.olderThanMs) continue;
      executions.delete(place);
      removed += 1;
    }
    return removed;
  }

  async execution({ tenant, context }: Scope, id: string): Promise<StoredExecution | undefined> {
    const row = this.#tables.context(context).executions.get(keyOf(tenant, id));
    if (row === undefined) return undefined;
    const { definition, version, startedAt } = row.execution;
    const { status, endedAt, worker, dueAt, end, attempts, journal } = row;
    const held = worker !== undefined;
    return frozenCopy({
      id,
      definition,
      version,
      startedAt,
      status,
      endedAt,
      held,
      dueAt,
      end,
      attempts,
      length: journal.length,
    });
  }

  async journal(
    { tenant, context }: Scope,
    { id, limit, after }: { readonly id: string; readonly limit: number; readonly after?: string | undefined },
  ): Promise<Page<JournalEntry>> {
    const listing = keyOf("journal", id);
    const from = after === undefined ? 0 : Number(decodeCursor(listing, 1, after, /^\d{1,9}$/)[0]);
    const journal = this.#tables.context(context).executions.get(keyOf(tenant, id))?.journal ?? [];
    const items = journal.slice(from, from + limit);
    const next = from + limit < journal.length ? encodeCursor(listing, [String(from + limit)]) : undefined;
    return next === undefined ? { items } : { items, next };
  }

  /** Whether a commit may do this: all is checked before anything is written. */
  may({ tenant, context }: Scope, change: ExecutionChange): boolean {
    if (change.step !== "write") return true;
    const row = this.#tables.context(context).executions.get(keyOf(tenant, change.write.id));
    return row !== undefined && isHolder(row, change.write) && fits(row, change.write);
  }

  change({ tenant, context }: Scope, given: ExecutionChange): void {
    const { executions } = this.#tables.context(context);
    const change = frozenCopy(given);
    if (change.step === "start") {
      const { execution } = change;
      const place = keyOf(tenant, execution.id);
      if (executions.get(place) === undefined) executions.add(place, newRow(tenant, execution));
      return;
    }
    const row = executions.get(keyOf(tenant, change.step === "write" ? change.write.id : change.id));
    if (row === undefined) return;
    if (change.step === "write") apply(row, change.write);
    else if (change.step === "signal") {
      if (row.status !== "running" || row.signals.some(({ name }) => name === change.signal.name)) return;
      row.signals.push(change.signal);
      if (row.worker === undefined) row.dueAt = 0;
    } else if (row.end !== undefined && row.end.status === "failed" && row.end.retryFrom !== undefined) {
      row.journal.length = row.end.retryFrom;
      Object.assign(row, { status: "running", end: undefined, endedAt: undefined, dueAt: change.at, takes: 0 });
      row.retries += 1;
      row.signals = row.signals.filter(({ name }) => name !== CANCEL_SIGNAL);
      row.attempts = {};
    }
    executions.changed(row);
  }
}

function newRow(tenant: string, execution: ExecutionRow["execution"]): ExecutionRow {
  return {
    tenant,
    execution,
    status: "running",
    dueAt: execution.startedAt,
    worker: undefined,
    fence: 0,
    takes: 0,
    retries: 0,
    journal: [],
    attempts: {},
    signals: [],
    end: undefined,
    endedAt: undefined,
  };
}

function toTaken({
  tenant,
  execution,
  fence,
  takes,
  retries,
  journal,
  attempts,
  signals,
}: ExecutionRow): TakenExecution {
  return { ...execution, tenant, fence, takes, retries, journal: [...journal], attempts, signals: [...signals] };
}

function isHolder(row: ExecutionRow, { fence }: Pick<ExecutionWrite, "fence">): boolean {
  return row.status === "running" && row.worker !== undefined && row.fence === fence;
}

/** Whether the journal is as long as the worker believes, or as some of the write's own entries make it. */
function fits({ journal }: ExecutionRow, { length, entries }: Pick<ExecutionWrite, "length" | "entries">): boolean {
  if (entries.length === 0) return true;
  return journal.length >= length && journal.length <= length + entries.length;
}

function apply(row: ExecutionRow, { length, entries, attempts, next }: Omit<ExecutionWrite, "tenant">): void {
  row.journal.push(...entries.slice(Math.max(0, row.journal.length - length)));
  if (entries.length > 0 || next !== undefined) row.takes = 0;
  if (attempts !== undefined) row.attempts = attempts;
  if (next === undefined) return;
  row.worker = undefined;
  if (next.type === "wait") row.dueAt = row.signals.length > next.seen ? 0 : next.dueAt;
  else Object.assign(row, { status: next.end.status, end: next.end, endedAt: next.at, dueAt: undefined, attempts: {} });
}

function letGo({ workers, executions }: ContextTables, worker: string): void {
  workers.delete(worker);
  for (const row of [...executions.held]) {
    if (row.worker !== worker) continue;
    row.worker = undefined;
    executions.changed(row);
  }
}

function isServed({ execution: { definition, version } }: ExecutionRow, served: readonly ServedDefinition[]): boolean {
  return served.some(({ name, versions }) => name === definition && versions.includes(version));
}

function hasRoom(
  held: readonly ExecutionRow[],
  { tenant, execution: { definition } }: ExecutionRow,
  served: readonly ServedDefinition[],
): boolean {
  const { concurrency, concurrencyPerTenant } = served.find(({ name }) => name === definition)!;
  if (concurrency === undefined && concurrencyPerTenant === undefined) return true;
  const others = held.filter((row) => row.execution.definition === definition);
  return (
    others.length < (concurrency ?? Number.POSITIVE_INFINITY) &&
    others.filter((row) => row.tenant === tenant).length < (concurrencyPerTenant ?? Number.POSITIVE_INFINITY)
  );
}
