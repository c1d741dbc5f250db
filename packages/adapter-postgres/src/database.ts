import type { CommitAnswer, CommitPayload } from "./commit-payload.ts";
import { breaksConnection, typedError } from "./errors.ts";
import { contextSchema } from "./identifier.ts";

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

/** Calls our functions, one statement each. */
export interface Functions {
  /** The JSON that the function answers; undefined where it answers nothing. */
  call(context: string, schema: string, name: string, values: unknown[]): Promise<unknown>;
  /** Has the parts of a commit written, all or none. */
  commit(tenant: string, parts: readonly CommitPayload[]): Promise<CommitAnswer | undefined>;
}

/** The functions on connections of a pool; what a driver throws becomes a typed error. */
export class Database implements Functions {
  readonly #pool: () => Promise<ConnectionPool>;
  /** Whether statements are prepared by name. */
  readonly prepare: boolean;
  readonly #statements = new Map<string, QueryConfig>();

  constructor(pool: () => Promise<ConnectionPool>, prepare: boolean) {
    this.#pool = pool;
    this.prepare = prepare;
  }

  async call(context: string, schema: string, name: string, values: unknown[]): Promise<unknown> {
    return answerOf(await this.query(context, name, this.#statement(schema, name, values)));
  }

  async commit(tenant: string, parts: readonly CommitPayload[]): Promise<CommitAnswer | undefined> {
    const [first] = parts;
    // Several contexts, or two guards in one: the function that can take a guard back.
    const alone =
      first !== undefined && parts.length === 1 && (first.inbox === undefined || first.idempotency === undefined);
    const answer = await (alone
      ? this.call(first.context, contextSchema(first.context), "commit", [tenant, JSON.stringify(first)])
      : this.call("armature", "armature", "commit", [tenant, JSON.stringify(parts)]));
    return answer as CommitAnswer | undefined;
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
      throw typedError(error, context, operation);
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

function heardOfByItsQuery(): void {}

/** Every function answers one text, mostly JSON, or nothing. */
export function answerOf([row]: readonly Record<string, unknown>[]): unknown {
  const answer = row?.["answer"];
  return typeof answer === "string" ? JSON.parse(answer) : undefined;
}
