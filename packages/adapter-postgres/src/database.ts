import { compareText, type StoredAggregate } from "@armature/core";
import type { CommitAnswer, CommitPayload, CommitRefusal } from "./commit-payload.ts";
import { breaksConnection, StoreFailed, sqlState, typedError } from "./errors.ts";
import { contextSchema } from "./identifier.ts";
import { type Came, Together } from "./together.ts";

export interface QueryConfig {
  readonly text: string;
  /** Makes it a prepared statement, kept by the connection under this name. */
  readonly name?: string;
  readonly values?: unknown[];
}

/** As much of node-postgres as is used: what runs a statement. */
export interface Queryable {
  query(config: QueryConfig): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
}

/** What another connection has told. */
export interface Notification {
  readonly channel: string;
  readonly payload?: string | undefined;
}

export interface PoolClient extends Queryable {
  release(destroy?: boolean): void;
  on?(event: "notification", listener: (notification: Notification) => void): unknown;
  on?(event: "error" | "end", listener: (error: Error) => void): unknown;
  off?(event: "notification", listener: (notification: Notification) => void): unknown;
  off?(event: "error" | "end", listener: (error: Error) => void): unknown;
}

/** A `pg.Pool`, by what is used of it. */
export interface ConnectionPool {
  connect(): Promise<PoolClient>;
  /** How many connections it may have, where it says so. */
  readonly options?: { readonly max?: number | undefined };
  on?(event: "error", listener: (error: Error) => void): unknown;
  off?(event: "error", listener: (error: Error) => void): unknown;
}

/** An aggregate that is asked for. */
export interface Load {
  readonly tenant: string;
  readonly context: string;
  readonly type: string;
  readonly id: string;
}

/** An aggregate as the database gives it. */
export type LoadAnswer = Pick<StoredAggregate, "version" | "stateVersion" | "state">;

/** Calls our functions, one statement each. */
export interface Functions {
  /** The JSON that the function answers; undefined where it answers nothing. */
  call(context: string, schema: string, name: string, values: unknown[]): Promise<unknown>;
  /** An aggregate, if there is one. */
  load(load: Load): Promise<LoadAnswer | undefined>;
  /** Has the parts of a commit written, all or none. */
  commit(tenant: string, parts: readonly CommitPayload[]): Promise<CommitAnswer | undefined>;
}

interface CommitCall {
  readonly tenant: string;
  readonly parts: readonly CommitPayload[];
  readonly json: string;
}

/** Characters of a commit that may share its transaction with others. */
const MOST_SHARED = 65_536;

/** Whether it changes one aggregate and nothing else that others may hold, and is soon done. */
function mayShare({ parts, json }: CommitCall): boolean {
  const [part] = parts;
  if (part?.only === undefined || parts.length > 1 || json.length > MOST_SHARED) return false;
  if (part.counters !== undefined || part.timers !== undefined || part.letters !== undefined) return false;
  // Nobody else wants one that is begun, or is written of by the worker that holds it.
  return (part.executions ?? []).every(({ step }) => step === "start" || step === "write");
}

function inLockOrder(a: CommitCall, b: CommitCall): number {
  const [one, other] = [a.parts[0]!, b.parts[0]!];
  return (
    compareText(a.tenant, b.tenant) ||
    compareText(one.context, other.context) ||
    compareText(one.only!.type, other.only!.type) ||
    compareText(one.only!.id, other.only!.id)
  );
}

/** The functions on connections of a pool; what a driver throws becomes a typed error. */
export class Database implements Functions {
  readonly #pool: () => Promise<ConnectionPool>;
  /** Whether statements are prepared by name. */
  readonly prepare: boolean;
  readonly #statements = new Map<string, QueryConfig>();
  /** Errors that the server answered a statement with, on a connection that is still of use. */
  readonly #refused = new WeakSet<object>();
  readonly #loads: Together<Load, LoadAnswer | undefined> | undefined;
  readonly #commits: Together<CommitCall, CommitAnswer | undefined> | undefined;

  /** @param together whether calls that come at the same time share round trips: not where there is one connection */
  constructor(pool: () => Promise<ConnectionPool>, prepare: boolean, together: boolean) {
    this.#pool = pool;
    this.prepare = prepare;
    if (!together) return;
    this.#loads = new Together({
      one: (load) => this.#load(load),
      many: (loads) => this.#loadTogether(loads).catch((error) => this.#eachAlone(loads, error)),
    });
    this.#commits = new Together({
      one: (commit) => this.#commit(commit),
      many: (commits) => this.#commitTogether(commits).catch((error) => this.#eachAlone(commits, error)),
    });
  }

  async call(context: string, schema: string, name: string, values: unknown[]): Promise<unknown> {
    return answerOf(await this.query(context, name, this.#statement(schema, name, values)));
  }

  load(load: Load): Promise<LoadAnswer | undefined> {
    return this.#loads?.ask(load) ?? this.#load(load);
  }

  commit(tenant: string, parts: readonly CommitPayload[]): Promise<CommitAnswer | undefined> {
    const commit = { tenant, parts, json: JSON.stringify(parts) };
    return this.#commits !== undefined && mayShare(commit) ? this.#commits.ask(commit) : this.#commit(commit);
  }

  async #load({ tenant, context, type, id }: Load): Promise<LoadAnswer | undefined> {
    const answer = await this.call(context, contextSchema(context), "load_one", [tenant, type, id]);
    return answer as LoadAnswer | undefined;
  }

  async #loadTogether(loads: readonly Load[]): Promise<readonly Came<LoadAnswer | undefined>[]> {
    const answers = await this.call("armature", "armature", "load_together", [JSON.stringify(loads)]);
    return (answers as readonly (LoadAnswer | null)[]).map((answer) => ({ answer: answer ?? undefined }));
  }

  async #commit({ tenant, parts, json }: CommitCall): Promise<CommitAnswer | undefined> {
    const [first] = parts;
    // Several contexts, or two guards in one: the function that can take a guard back.
    const simple =
      first !== undefined && parts.length === 1 && (first.inbox === undefined || first.idempotency === undefined);
    const answer = (
      simple
        ? this.call(first.context, contextSchema(first.context), "commit", [tenant, json.slice(1, -1)])
        : this.call("armature", "armature", "commit", [tenant, json])
    ).catch((error: unknown) => {
      if (error instanceof StoreFailed && error.details.sqlState === sqlState.executionLost) return executionLost;
      throw error;
    });
    return (await answer) as CommitAnswer | undefined;
  }

  async #commitTogether(commits: readonly CommitCall[]): Promise<readonly Came<CommitAnswer | undefined>[]> {
    // In the order that every commit keeps, so that two transactions cannot wait for each other.
    const places = commits.map((_, at) => at).sort((a, b) => inLockOrder(commits[a]!, commits[b]!));
    const all = places.map((at) => `{"tenant":${JSON.stringify(commits[at]!.tenant)},"parts":${commits[at]!.json}}`);
    const answers = (await this.call("armature", "armature", "commit_together", [`[${all.join(",")}]`])) as readonly (
      | CommitAnswer
      | CommitRefusal
      | null
    )[];
    const came: Came<CommitAnswer | undefined>[] = [];
    for (const [index, at] of places.entries()) {
      const answer = answers[index];
      if (answer?.status !== "refused") came[at] = { answer: answer ?? undefined };
      else if (answer.code === sqlState.executionLost) came[at] = { answer: executionLost };
      // What waited too long for a row waits by itself.
      else if (answer.code === sqlState.lockTimeout) came[at] = "alone";
      else came[at] = { error: typedError(answer, commits[at]!.parts[0]!.context, "commit") };
    }
    return came;
  }

  // What the server refused has written nothing, and the one that it was refused for must not be felt by the others.
  #eachAlone(all: readonly unknown[], error: unknown): readonly "alone"[] {
    if (!this.#refused.has(error as object)) throw error;
    return all.map(() => "alone");
  }

  async query(context: string, operation: string, config: QueryConfig): Promise<readonly Record<string, unknown>[]> {
    let client: PoolClient;
    try {
      client = await (await this.#pool()).connect();
    } catch (error) {
      throw typedError(error, context, operation);
    }
    // Not `pool.query`: that closes the connection on every error, so each lost race would cost a new connection.
    let broken = false;
    // A connection that breaks says so to its query and emits an error as well: without a listener, which the pool has
    // only while it holds the connection, that would end the process.
    client.on?.("error", heardOfByItsQuery);
    try {
      return (await client.query(config)).rows;
    } catch (error) {
      broken = breaksConnection(error);
      const typed = typedError(error, context, operation);
      if (!broken) this.#refused.add(typed);
      throw typed;
    } finally {
      client.off?.("error", heardOfByItsQuery);
      client.release(broken);
    }
  }

  #statement(schema: string, name: string, values: unknown[]): QueryConfig {
    const key = `${schema}.${name}`;
    let statement = this.#statements.get(key);
    if (statement === undefined) {
      const parameters = values.map((_, index) => `$${index + 1}`).join(", ");
      const text = `SELECT ${key}(${parameters}) AS answer`;
      // At most 63 characters, and not a name that a host would give a statement of its own.
      statement = this.prepare ? { name: `@${key.replaceAll('"', "")}`, text } : { text };
      this.#statements.set(key, statement);
    }
    return { ...statement, values };
  }
}

/** What is answered for a commit whose function has raised that it is so: nothing of it is written. */
export const executionLost: CommitAnswer = { status: "execution-lost" };

function heardOfByItsQuery(): void {}

/** Every function answers one text, mostly JSON, or nothing. */
export function answerOf([row]: readonly Record<string, unknown>[]): unknown {
  const answer = row?.["answer"];
  return typeof answer === "string" ? JSON.parse(answer) : undefined;
}
