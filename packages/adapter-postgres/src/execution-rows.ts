import {
  compareText,
  type ExecutionChange,
  type ExecutionWrite,
  type NewExecution,
  type StoredExecution,
  type TakenExecution,
} from "@armature/core";

/** What an execution is begun with that nothing is looked up by. */
export type Body = Omit<NewExecution, keyof Columns>;
type Columns = Pick<NewExecution, "id" | "definition" | "version" | "startedAt">;

/** An execution as the database gives it to whoever takes it. */
export type TakenRow = Omit<TakenExecution, keyof Body> & { readonly body: Body };

/** An execution as the database gives it to its tenant. */
export interface ExecutionRow extends Omit<StoredExecution, "id" | "status" | "dueAt" | "end" | "endedAt"> {
  readonly dueAt: number | null;
  readonly end: StoredExecution["end"] | null;
  readonly endedAt: number | null;
}

export function toExecution(id: string, { dueAt, end, endedAt, ...row }: ExecutionRow): StoredExecution {
  return {
    id,
    ...row,
    status: end?.status ?? "running",
    ...(dueAt === null ? {} : { dueAt }),
    ...(end == null ? {} : { end }),
    ...(endedAt === null ? {} : { endedAt }),
  };
}

/** What a commit does with executions, as the database takes it, in the order in which workers lock them. */
export function executionRows(changes: readonly ExecutionChange[]) {
  return [...changes].sort((a, b) => compareText(idOf(a), idOf(b))).map(executionRow);
}

function executionRow(change: ExecutionChange) {
  if (change.step === "write") return { step: change.step, write: writeRow(change.write) };
  if (change.step !== "start") return change;
  const { id, definition, version, startedAt, ...body } = change.execution;
  return { step: change.step, execution: { id, definition, version, startedAt, body } };
}

function idOf(change: ExecutionChange): string {
  if (change.step === "start") return change.execution.id;
  return change.step === "write" ? change.write.id : change.id;
}

/** What a worker writes, as the database takes it. */
export function writeRow<W extends Omit<ExecutionWrite, "tenant">>({ next, ...write }: W) {
  if (next === undefined) return write;
  return next.type === "wait"
    ? { ...write, seen: next.seen, dueAt: next.dueAt }
    : { ...write, ended: next.end, endedAt: next.at };
}
