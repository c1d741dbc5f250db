import type { Lease } from "./ports.ts";
import type { Store, StoredContext } from "./store.ts";

/** What a store's package offers: the store, and leases kept in the same place. */
export interface StoreAdapter extends Store {
  readonly lease: Lease;
  /** Runs inside this process and is nobody else's: `createArmature` migrates it by itself. */
  readonly embedded: boolean;
  /** What `migrate` would do, as names of its steps; nothing when it is missing, or all is done. Changes nothing. */
  pendingMigration?(contexts: readonly StoredContext[]): Promise<readonly string[]>;
  /** Outlives this process: what seals the secrets in it must too. */
  readonly lasting: boolean;
  /**
   * Joins the transaction that the host has open on this client; absent where a store has no transactions to join.
   *
   * @throws {HostTransactionUnusable} the client is in no transaction, or in one that has failed
   */
  readonly within?: (client: TransactionClient) => Promise<HostTransaction>;
}

/** As much of a node-postgres client as is used: what runs a statement. */
export interface TransactionClient {
  query(config: {
    readonly text: string;
    /** Makes it a prepared statement, kept by the connection under this name. */
    readonly name?: string;
    readonly values?: unknown[];
  }): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
}

/** As much of a store as calls inside a transaction need. */
export type TransactionStore = Pick<
  Store,
  | "load"
  | "find"
  | "commit"
  | "idempotency"
  | "events"
  | "audit"
  | "counters"
  | "rows"
  | "row"
  | "scheduled"
  | "deadLetters"
  | "execution"
  | "journal"
>;

/** What became of a transaction. */
export type TransactionOutcome = "open" | "committed" | "rolled-back";

/** A transaction of the host's that a store has joined. */
export interface HostTransaction {
  /**
   * The store as this transaction sees it. What it commits is durable when the host commits, and a commit that it
   * refuses leaves the transaction usable. Throws `HostTransactionUnusable` once the transaction is over or was left.
   */
  readonly store: TransactionStore;
  /** Lets the statement under way end. After that nothing of ours reaches the client. */
  leave(): Promise<void>;
  /** What has become of it so far, asked on another connection. */
  outcome(): Promise<TransactionOutcome>;
}
