import { contextSchema, indexColumn, quoteIdentifier, quoteLiteral } from "./identifier.ts";
import type { Roles } from "./roles.ts";

// Text that is compared or ordered is COLLATE "C": bytes of UTF-8, which is code-point order, on every server.

/** Tables of one context. Every key starts with the tenant, so that no unique index tells of another tenant's rows. */
export function contextTables(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE SCHEMA IF NOT EXISTS ${schema}`,
    `CREATE TABLE ${schema}.aggregates (
  tenant text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  version int NOT NULL,
  state_version int NOT NULL,
  state jsonb NOT NULL,
  idx jsonb NOT NULL,
  PRIMARY KEY (tenant, type, id)
) WITH (fillfactor = 85)`,
    // A position is taken while the row of its aggregate is locked: per aggregate they are in the order of versions.
    `CREATE TABLE ${schema}.events (
  position bigint GENERATED ALWAYS AS IDENTITY,
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  aggregate_type text COLLATE "C" NOT NULL,
  aggregate_id text COLLATE "C" NOT NULL,
  aggregate_version int NOT NULL,
  time timestamptz NOT NULL,
  body jsonb NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, aggregate_type, aggregate_id, aggregate_version)
)`,
    // An event's row points at the log; a command's row carries it. The relay reads in order of position over all
    // tenants, and positions are ours, so this one key may start with them.
    `CREATE TABLE ${schema}.outbox (
  position bigint GENERATED ALWAYS AS IDENTITY,
  tenant text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  command jsonb,
  published boolean NOT NULL DEFAULT false,
  only_for text[],
  PRIMARY KEY (position, tenant)
) WITH (fillfactor = 85)`,
    `CREATE TABLE ${schema}.failures (
  tenant text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  consumer text COLLATE "C" NOT NULL,
  attempts int NOT NULL,
  next_at bigint NOT NULL,
  PRIMARY KEY (tenant, position, consumer)
)`,
    `CREATE TABLE ${schema}.dead_letters (
  number bigint GENERATED ALWAYS AS IDENTITY,
  tenant text COLLATE "C" NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  consumer text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  aggregate_type text COLLATE "C" NOT NULL,
  aggregate_id text COLLATE "C" NOT NULL,
  replaying boolean NOT NULL,
  body jsonb NOT NULL,
  PRIMARY KEY (tenant, event_id, consumer)
)`,
    `CREATE INDEX dead_letters_by_age ON ${schema}.dead_letters (tenant, number)`,
    `CREATE INDEX dead_letters_by_aggregate ON ${schema}.dead_letters (tenant, consumer, aggregate_type, aggregate_id)`,
    `CREATE INDEX dead_letters_replaying ON ${schema}.dead_letters (position) WHERE replaying`,
    `CREATE TABLE ${schema}.inbox (
  tenant text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  consumer text COLLATE "C" NOT NULL,
  handled_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, message_id, consumer)
)`,
    // The outcome is JSON kept as text: it may hold \u0000, which jsonb refuses.
    `CREATE TABLE ${schema}.idempotency (
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  input_hash text NOT NULL,
  attempt int NOT NULL,
  claimed_until bigint NOT NULL,
  outcome text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, key)
)`,
    `CREATE TABLE ${schema}.audit (
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  time timestamptz NOT NULL,
  actor_id text COLLATE "C" NOT NULL,
  operation text COLLATE "C" NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  body jsonb NOT NULL,
  PRIMARY KEY (tenant, id)
)`,
    `CREATE TABLE ${schema}.records (
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  version int NOT NULL,
  value jsonb NOT NULL,
  PRIMARY KEY (tenant, key)
)`,
    ...firstTables.flatMap((table) => ofOneTenant(schema, table)),
  ];
}

/** Rows of one counter. */
export const COUNTER_SHARDS = 8;

/**
 * Counters of one context. Each has a row or more, one for each group of connections: who adds to it holds a row until
 * the commit is durable, and a single one would put all commits of a busy counter in a line. Readers see the sum.
 */
export function counterTable(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE TABLE ${schema}.counters (
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  shard int NOT NULL,
  numbers jsonb NOT NULL,
  PRIMARY KEY (tenant, key, shard)
) WITH (fillfactor = 50)`,
    ...ofOneTenant(schema, "counters"),
  ];
}

/** What lets nobody see rows but those of the tenant that is bound. */
export function ofOneTenant(schema: string, table: Table): readonly string[] {
  return [
    `ALTER TABLE ${schema}.${table} ENABLE ROW LEVEL SECURITY`,
    `ALTER TABLE ${schema}.${table} FORCE ROW LEVEL SECURITY`,
    // After a transaction-local setting the value is '' and not null.
    `CREATE POLICY tenant ON ${schema}.${table}
  USING (tenant = nullif(current_setting('armature.tenant', true), ''))
  WITH CHECK (tenant = nullif(current_setting('armature.tenant', true), ''))`,
  ];
}

const firstTables = [
  "aggregates",
  "events",
  "outbox",
  "failures",
  "dead_letters",
  "inbox",
  "idempotency",
  "audit",
  "records",
] as const;
/** Those of executions that hold what is a tenant's. */
export const executionTableNames = [
  "executions",
  "execution_inputs",
  "execution_journal",
  "execution_signals",
] as const;
type RelayTable = "relay_members" | "relay_claims" | "execution_workers";
type Table = (typeof firstTables)[number] | "counters" | "timers" | (typeof executionTableNames)[number];

// What each role may do with a table: no more than its functions do.
const ownerGrants: Partial<Record<Table, string>> = {
  aggregates: "SELECT, INSERT, UPDATE, DELETE",
  events: "SELECT, INSERT",
  outbox: "SELECT, INSERT, UPDATE",
  dead_letters: "SELECT, UPDATE, DELETE",
  inbox: "SELECT, INSERT",
  idempotency: "SELECT, INSERT, UPDATE",
  audit: "SELECT, INSERT",
  records: "SELECT, INSERT, UPDATE, DELETE",
  counters: "SELECT, INSERT, UPDATE",
  timers: "SELECT, INSERT, UPDATE, DELETE",
  executions: "SELECT, INSERT, UPDATE",
  execution_inputs: "INSERT",
  execution_journal: "SELECT, INSERT, DELETE",
  execution_signals: "SELECT, INSERT, DELETE",
};
const relayGrants: Partial<Record<Table | RelayTable, string>> = {
  relay_members: "SELECT, INSERT, UPDATE, DELETE",
  relay_claims: "SELECT, UPDATE",
  events: "SELECT",
  outbox: "SELECT, INSERT, UPDATE, DELETE",
  failures: "SELECT, INSERT, UPDATE, DELETE",
  dead_letters: "SELECT, INSERT, DELETE",
  inbox: "SELECT, DELETE",
  // Not what calls came to.
  idempotency: "SELECT (tenant, key, created_at, claimed_until), DELETE",
  timers: "SELECT, UPDATE, DELETE",
  executions: "SELECT, UPDATE, DELETE",
  execution_inputs: "SELECT, DELETE",
  execution_journal: "SELECT, INSERT, DELETE",
  execution_signals: "SELECT, DELETE",
  execution_workers: "SELECT, INSERT, UPDATE, DELETE",
};

/** Who may do what in a context's schema. The relay's own policy lets it see all tenants in its tables. */
export function contextAccess(context: string, roles: Roles): readonly string[] {
  const schema = contextSchema(context);
  const [owner, relay] = [quoteIdentifier(roles.owner), quoteIdentifier(roles.relay)];
  return [
    `REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC`,
    `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM PUBLIC`,
    `GRANT USAGE ON SCHEMA ${schema} TO ${owner}, ${relay}`,
    ...grants(schema, ownerGrants, owner),
    ...grants(schema, relayGrants, relay),
    ...Object.entries(relayGrants).flatMap(([table, granted]) => [
      `DROP POLICY IF EXISTS relay ON ${schema}.${table}`,
      `CREATE POLICY relay ON ${schema}.${table} ${granted === "SELECT" ? "FOR SELECT" : "FOR ALL"} TO ${relay} USING (true)`,
    ]),
  ];
}

function grants(schema: string, granted: Readonly<Record<string, string>>, role: string): readonly string[] {
  return Object.entries(granted).map(([table, rights]) => `GRANT ${rights} ON ${schema}.${table} TO ${role}`);
}

/**
 * Makes an index field of an aggregate type findable. It is a column and not an expression over `idx`: under row-level
 * security PostgreSQL looks up only by what it knows to be leakproof, which a column is and `idx ->> 'field'` is not.
 */
export function indexField(context: string, type: string, field: string): readonly string[] {
  const table = `${contextSchema(context)}.aggregates`;
  const column = quoteIdentifier(indexColumn(field));
  return [
    `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${column} text COLLATE "C"
  GENERATED ALWAYS AS (coalesce(idx ->> ${quoteLiteral(field)}, '')) STORED`,
    `CREATE INDEX ON ${table} (tenant, ${column}, id) WHERE type = ${quoteLiteral(type)}`,
  ];
}

/** What all contexts of a database share. */
export const sharedTables: readonly string[] = [
  `CREATE SCHEMA IF NOT EXISTS armature`,
  `CREATE TABLE armature.migrations (
  scope text NOT NULL,
  name text NOT NULL,
  version int NOT NULL,
  fingerprint text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (scope, name)
)`,
  // A row stays when its lease is given back, so that the fence goes on growing.
  `CREATE TABLE armature.leases (
  key text COLLATE "C" PRIMARY KEY,
  owner text NOT NULL,
  fence bigint NOT NULL,
  expires_at timestamptz NOT NULL
)`,
];

export function sharedAccess(roles: Roles): readonly string[] {
  const [owner, relay] = [quoteIdentifier(roles.owner), quoteIdentifier(roles.relay)];
  return [
    `REVOKE ALL ON SCHEMA armature FROM PUBLIC`,
    `REVOKE ALL ON ALL TABLES IN SCHEMA armature FROM PUBLIC`,
    `GRANT USAGE ON SCHEMA armature TO ${owner}, ${relay}`,
    `GRANT SELECT, INSERT, UPDATE ON armature.leases TO ${owner}`,
  ];
}
