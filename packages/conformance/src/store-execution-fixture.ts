import type {
  CommitPart,
  ExecutionChange,
  ExecutionEnd,
  ExecutionTakeRequest,
  ExecutionWrite,
  JournalEntry,
  NewExecution,
  Signal,
  Store,
  TakenExecution,
} from "@armature/core";
import { fresh } from "./expectations.ts";
import { ALPHA, newId, part } from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

export const TTL_MS = 60_000;

export function newExecution(tenant: string, definition: string, more: Partial<NewExecution> = {}): NewExecution {
  return {
    ...{ id: newId("exe"), definition, version: 1, input: { order: 7 } },
    principal: { tenant, actor: { type: "user", id: "ann" } },
    ...{ correlationId: "cor_1", causationId: "call_1" },
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    startedAt: 1_000,
    ...more,
  };
}

export function entry(position: number, more: Partial<JournalEntry> = {}): JournalEntry {
  const outcome = { type: "value", value: { at: position } } as const;
  return { position, kind: "activity", name: "charge", at: 5_000 + position, outcome, attempts: 1, ...more };
}

/** A write of an execution as it was taken: these entries behind those that it had. */
export function writeOf(
  { tenant, id, fence, journal }: TakenExecution,
  more: Partial<ExecutionWrite> = {},
): ExecutionWrite {
  return { tenant, id, fence, length: journal.length, entries: [], ...more };
}

type Then = NonNullable<ExecutionWrite["next"]>;
const followed = (next: Then) => ({ next });
export const waiting = (dueAt?: number, seen = 0) => followed({ type: "wait", dueAt, seen });
export const ended = (end: ExecutionEnd, at = 9_000) => followed({ type: "end", at, end });
export const completed = (at?: number) => ended({ status: "completed", result: { ok: true } }, at);
export const failed = (retryFrom?: number) => {
  const error = { code: "card.declined", kind: "conflict", message: "The card was declined.", details: {} } as const;
  return ended({ status: "failed", error, retryFrom });
};

/** What tests of executions do; each with a definition of its own, which no other test's executions have. */
export function executing(register: RegisterTest, store: () => Store, backend: () => RelayBackend) {
  let now = Date.now();
  const workers = new Set<string>();
  const test: RegisterTest = (name, run, timeoutMs) =>
    register(
      name,
      async (context) => {
        try {
          await run(context);
        } finally {
          for (const worker of workers) await store().executions.leave(ALPHA, worker);
          workers.clear();
        }
      },
      timeoutMs,
    );

  const worker = () => {
    const name = newId("worker");
    workers.add(name);
    return name;
  };
  const commit = (tenant: string, executions: readonly ExecutionChange[], more: Partial<CommitPart> = {}) =>
    store().commit(tenant, { parts: [part(ALPHA, { executions, ...more })] });
  const start = async (tenant: string, definition: string, more: Partial<NewExecution> = {}) => {
    const execution = newExecution(tenant, definition, more);
    await commit(tenant, [{ step: "start", execution }]);
    return execution;
  };
  const signal = (tenant: string, id: string, given: Signal) => commit(tenant, [{ step: "signal", id, signal: given }]);
  const take = (name: string, definition: string, more: Partial<ExecutionTakeRequest> = {}, of: Store = store()) =>
    of.executions.take(ALPHA, {
      ...{ worker: name, ttlMs: TTL_MS, now, limit: 100 },
      definitions: [{ name: definition, versions: [1] }],
      ...more,
    });
  /** The one that is due. */
  const takeOne = async (name: string, definition: string): Promise<TakenExecution> => {
    const { executions } = await take(name, definition);
    if (executions.length !== 1) throw new Error(`${executions.length} are due, not one.`);
    return executions[0]!;
  };
  const write = (...writes: readonly ExecutionWrite[]) => store().executions.write(ALPHA, writes);
  const scopeOf = (tenant: string) => ({ tenant, context: ALPHA });
  const view = (tenant: string, id: string) => store().execution(scopeOf(tenant), id);
  const journalOf = async (tenant: string, id: string) =>
    (await store().journal(scopeOf(tenant), { id, limit: 200 })).items;
  const signalsOf = (tenant: string, id: string) => store().executions.signals(scopeOf(tenant), id);
  /** One that a worker has. */
  const taken = async (tenant = fresh("t")) => {
    const [name, mine] = [fresh("def"), worker()];
    await start(tenant, name);
    return { tenant, name, mine, it: await takeOne(mine, name) };
  };

  return {
    ...{ taken, signalsOf, test, worker, commit, start, signal, take, takeOne, write, scopeOf, view, journalOf },
    instances: () => [store(), backend().elsewhere ?? store()] as const,
    definition: () => fresh("def"),
    now: () => now,
    pass: async (ms: number) => {
      now += ms;
      await backend().pass?.(ms);
    },
  };
}
