import {
  type HostTransaction,
  HostTransactionUnusable,
  type TransactionClient,
  type TransactionOutcome,
} from "@armature/core";
import type { CommitAnswer, CommitPayload, CommitRefusal } from "./commit-payload.ts";
import {
  answerOf,
  type Database,
  executionLost,
  type Functions,
  type Load,
  type LoadAnswer,
  type QueryConfig,
} from "./database.ts";
import { sqlState, sqlStateOf, typedError } from "./errors.ts";
import { contextSchema } from "./identifier.ts";
import { TenantStore } from "./tenant-store.ts";

/** Joins the transaction that a client has open. Every statement then makes sure that it still runs in that one. */
export async function joinTransaction(client: TransactionClient, database: Database): Promise<HostTransaction> {
  const id = await transactionId(client);
  // Outside of a transaction every statement is one of its own.
  if ((await transactionId(client)) !== id) throw new HostTransactionUnusable({ reason: "not-open" });
  const functions = new FunctionsWithin(client, id, database.prepare);
  return {
    store: new TenantStore(functions),
    leave: () => functions.leave(),
    outcome: async () => outcomeOf(await database.query("armature", "outcome", { text: OUTCOME, values: [id] })),
  };
}

/** What each client is at. Calls take turns: a connection runs one statement at a time. */
const lastOf = new WeakMap<TransactionClient, Promise<unknown>>();

/** The functions inside of one transaction of the host's. */
class FunctionsWithin implements Functions {
  readonly #client: TransactionClient;
  readonly #id: string;
  readonly #prepare: boolean;
  #left = false;

  constructor(client: TransactionClient, id: string, prepare: boolean) {
    this.#client = client;
    this.#id = id;
    this.#prepare = prepare;
  }

  async call(context: string, schema: string, name: string, values: unknown[]): Promise<unknown> {
    const parameters = values.map((_, index) => `$${index + 2}`).join(", ");
    const text = `SELECT CASE WHEN pg_current_xact_id()::text = $1 THEN ${schema}.${name}(${parameters}) ELSE '${ELSEWHERE}' END AS answer`;
    return this.#run(context, name, { name: `@@${schema}.${name}`.replaceAll('"', ""), text, values });
  }

  async load({ tenant, context, type, id }: Load): Promise<LoadAnswer | undefined> {
    const answer = await this.call(context, contextSchema(context), "load_one", [tenant, type, id]);
    return answer as LoadAnswer | undefined;
  }

  async commit(tenant: string, parts: readonly CommitPayload[]): Promise<CommitAnswer | undefined> {
    const answer = (await this.#run("armature", "commit", {
      name: "@@armature.commit_within",
      text: "SELECT armature.commit_within($1, $2, $3) AS answer",
      values: [tenant, JSON.stringify(parts)],
    })) as CommitAnswer | CommitRefusal | undefined;
    if (answer?.status === "refused" && answer.code === sqlState.executionLost) return executionLost;
    if (answer?.status === "refused") throw typedError(answer, "armature", "commit");
    return answer;
  }

  async leave(): Promise<void> {
    this.#left = true;
    await lastOf.get(this.#client);
  }

  async #run(context: string, operation: string, { name, text, values = [] }: QueryConfig): Promise<unknown> {
    const statement = { text, values: [this.#id, ...values], ...(this.#prepare ? { name: name! } : {}) };
    const turn = (lastOf.get(this.#client) ?? Promise.resolve()).then(async () => {
      if (this.#left) throw new HostTransactionUnusable({ reason: "left" });
      return (await this.#client.query(statement)).rows;
    });
    lastOf.set(
      this.#client,
      turn.catch(() => undefined),
    );
    const answer = answerOf(
      await turn.catch((error: unknown) => {
        throw typedErrorWithin(error, context, operation);
      }),
    );
    if ((answer as { readonly status?: string } | undefined)?.status === "elsewhere")
      throw new HostTransactionUnusable({ reason: "not-open" });
    return answer;
  }
}

const ELSEWHERE = '{"status":"elsewhere"}';
const OUTCOME = "SELECT pg_catalog.pg_xact_status($1::xid8) AS outcome";

async function transactionId(client: TransactionClient): Promise<string> {
  try {
    const { rows } = await client.query({ text: "SELECT pg_catalog.pg_current_xact_id()::text AS id" });
    return String(rows[0]?.["id"]);
  } catch (error) {
    throw typedErrorWithin(error, "armature", "within");
  }
}

function typedErrorWithin(error: unknown, context: string, operation: string): Error {
  if (sqlStateOf(error) === "25P02") return new HostTransactionUnusable({ reason: "failed" });
  return typedError(error, context, operation);
}

function outcomeOf([row]: readonly Record<string, unknown>[]): TransactionOutcome {
  if (row?.["outcome"] === "in progress") return "open";
  // One so old that the server has forgotten it is null.
  return row?.["outcome"] === "committed" ? "committed" : "rolled-back";
}
