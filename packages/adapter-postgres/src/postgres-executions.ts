import {
  compareText,
  type Executions,
  type ExecutionTakeRequest,
  type ExecutionWrite,
  type Scope,
  type Signal,
  type SignalCount,
  type TakenExecutions,
} from "@armature/core";
import type { Database } from "./database.ts";
import { type TakenRow, writeRow } from "./execution-rows.ts";
import { contextSchema } from "./identifier.ts";

/** Durable executions, over all tenants. */
export class PostgresExecutions implements Executions {
  readonly #database: Database;
  /** Whether nobody else has the database, so that the caller's clock is as good as its own. */
  readonly #embedded: boolean;

  constructor(database: Database, embedded: boolean) {
    this.#database = database;
    this.#embedded = embedded;
  }

  async take(context: string, request: ExecutionTakeRequest): Promise<TakenExecutions> {
    const { worker, ttlMs, now, limit, definitions } = request;
    const served = definitions.flatMap(({ versions, ...definition }) =>
      versions.map((version) => ({ ...definition, version })),
    );
    const { executions, nextAt, signaled } = (await this.#call(context, "executions_take", [
      worker,
      ttlMs,
      this.#embedded ? now : null,
      now,
      limit,
      served.map(({ name }) => name),
      served.map(({ version }) => version),
      served.map(({ concurrency }) => concurrency ?? null),
      served.map(({ concurrencyPerTenant }) => concurrencyPerTenant ?? null),
    ])) as {
      readonly executions: readonly TakenRow[];
      readonly nextAt: number | null;
      readonly signaled: readonly SignalCount[];
    };
    return {
      executions: executions.map(({ body, ...row }) => ({ ...row, ...body })),
      signaled,
      nextAt: nextAt ?? undefined,
    };
  }

  async leave(context: string, worker: string): Promise<void> {
    await this.#call(context, "executions_leave", [worker]);
  }

  async signals({ tenant, context }: Scope, id: string): Promise<readonly Signal[]> {
    return (await this.#call(context, "executions_signals", [tenant, id])) as readonly Signal[];
  }

  async write(context: string, writes: readonly ExecutionWrite[]): Promise<readonly ("written" | "lost")[]> {
    if (writes.length === 0) return [];
    // In the order that commits keep too, so that two transactions cannot wait for each other.
    const places = writes
      .map((_, at) => at)
      .sort((a, b) => compareText(writes[a]!.tenant, writes[b]!.tenant) || compareText(writes[a]!.id, writes[b]!.id));
    const rows = JSON.stringify(places.map((at) => writeRow(writes[at]!)));
    const came = (await this.#call(context, "executions_write", [rows])) as readonly number[];
    const outcomes: ("written" | "lost")[] = [];
    for (const [index, at] of places.entries()) outcomes[at] = came[index] === 1 ? "written" : "lost";
    return outcomes;
  }

  async prune(
    context: string,
    { now, olderThanMs, limit }: { readonly now: number; readonly olderThanMs: number; readonly limit: number },
  ): Promise<number> {
    return (await this.#call(context, "executions_prune", [now - olderThanMs, limit])) as number;
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}
