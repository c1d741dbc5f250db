import type {
  EventLog,
  Executions,
  HostTransaction,
  Lease,
  Outbox,
  ProjectionStore,
  PruneQuery,
  Records,
  StoreAdapter,
  StoredContext,
  Timers,
  TransactionClient,
} from "@armature/core";
import type { Database } from "./database.ts";
import { joinTransaction } from "./host-transaction.ts";
import { contextSchema } from "./identifier.ts";
import { PostgresExecutions } from "./postgres-executions.ts";
import { PostgresLease } from "./postgres-lease.ts";
import { PostgresLog } from "./postgres-log.ts";
import { PostgresOutbox } from "./postgres-outbox.ts";
import { PostgresProjections } from "./postgres-projections.ts";
import { PostgresRecords } from "./postgres-records.ts";
import { PostgresTimers } from "./postgres-timers.ts";
import type { Signals } from "./signals.ts";
import { TenantStore } from "./tenant-store.ts";

/** What differs between a server and an embedded database. */
export interface Lifecycle {
  readonly embedded: boolean;
  readonly lasting: boolean;
  migrate(contexts: readonly StoredContext[]): Promise<void>;
  pendingMigration(contexts: readonly StoredContext[]): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** The port on PostgreSQL. */
export class PostgresStore extends TenantStore implements StoreAdapter {
  readonly outbox: Outbox;
  readonly timers: Timers;
  readonly executions: Executions;
  readonly log: EventLog;
  readonly projections: ProjectionStore;
  readonly records: Records;
  readonly lease: Lease;
  readonly embedded: boolean;
  readonly lasting: boolean;
  readonly within?: (client: TransactionClient) => Promise<HostTransaction>;
  readonly #database: Database;
  readonly #lifecycle: Lifecycle;

  constructor(database: Database, signals: Signals, lifecycle: Lifecycle) {
    super(database);
    this.#database = database;
    this.#lifecycle = lifecycle;
    this.embedded = lifecycle.embedded;
    this.lasting = lifecycle.lasting;
    this.outbox = new PostgresOutbox(database, signals, lifecycle.embedded);
    this.timers = new PostgresTimers(database);
    this.executions = new PostgresExecutions(database, lifecycle.embedded);
    this.log = new PostgresLog(database);
    this.projections = new PostgresProjections(database);
    this.records = new PostgresRecords(database);
    this.lease = new PostgresLease(database);
    // An embedded database has one connection, and that is ours: the host has none that could have a transaction open.
    if (!lifecycle.embedded) this.within = (client) => joinTransaction(client, database);
  }

  migrate(contexts: readonly StoredContext[]): Promise<void> {
    return this.#lifecycle.migrate(contexts);
  }

  pendingMigration(contexts: readonly StoredContext[]): Promise<readonly string[]> {
    return this.#lifecycle.pendingMigration(contexts);
  }

  async prune(context: string, { olderThanMs, limit, inbox }: PruneQuery): Promise<number> {
    return (await this.#database.call(context, contextSchema(context), "prune", [olderThanMs, limit, inbox])) as number;
  }

  async ping(): Promise<void> {
    await this.#database.query("armature", "ping", { text: "SELECT 1" });
  }

  close(): Promise<void> {
    return this.#lifecycle.close();
  }
}
