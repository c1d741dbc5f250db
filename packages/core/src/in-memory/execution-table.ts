import type {
  ActivityAttempts,
  ExecutionEnd,
  ExecutionStatus,
  JournalEntry,
  NewExecution,
  Signal,
} from "../kernel/executions.ts";

export interface ExecutionRow {
  readonly tenant: string;
  readonly execution: NewExecution;
  status: ExecutionStatus;
  /** Absent: it waits for a signal, or has ended. */
  dueAt: number | undefined;
  worker: string | undefined;
  fence: number;
  takes: number;
  retries: number;
  readonly journal: JournalEntry[];
  attempts: Readonly<Record<string, ActivityAttempts>>;
  signals: Signal[];
  end: ExecutionEnd | undefined;
  endedAt: number | undefined;
}

/** Executions, and of those that are under way who is worked on and who has a time to go on: all that others look for. */
export class ExecutionTable {
  readonly #rows = new Map<string, ExecutionRow>();
  readonly #held = new Set<ExecutionRow>();
  readonly #due = new Set<ExecutionRow>();

  get(place: string): ExecutionRow | undefined {
    return this.#rows.get(place);
  }

  add(place: string, row: ExecutionRow): void {
    this.#rows.set(place, row);
    this.changed(row);
  }

  /** Only of those that have ended. */
  delete(place: string): void {
    this.#rows.delete(place);
  }

  entries(): Iterable<[string, ExecutionRow]> {
    return this.#rows;
  }

  /** Somebody's. */
  get held(): Iterable<ExecutionRow> {
    return this.#held;
  }

  /** Nobody's, with a time to go on, whether or not that has come. */
  get due(): Iterable<ExecutionRow> {
    return this.#due;
  }

  /** To be told of each change of a row's status, worker or time. */
  changed(row: ExecutionRow): void {
    const { status, worker, dueAt } = row;
    if (status === "running" && worker !== undefined) this.#held.add(row);
    else this.#held.delete(row);
    if (status === "running" && worker === undefined && dueAt !== undefined) this.#due.add(row);
    else this.#due.delete(row);
  }
}
