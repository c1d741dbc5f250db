import { PARTITIONS } from "@armature/core";
import { contextSchema } from "./identifier.ts";

/** Which partition of the outbox a sequence is in. */
export function partitionOf(tenant: string, id: string): string {
  return `(hashtextextended(${id}, hashtextextended(${tenant}, 0)) & ${PARTITIONS - 1})::smallint`;
}

/**
 * The outbox in partitions, for several relays, and who works on which. All of an aggregate is in one partition; a sent
 * command's depends on its own id. What stood in the outbox before is kept.
 */
export function partitions(context: string): readonly string[] {
  const schema = contextSchema(context);
  // Their owner must see all rows to bring them along, whoever's they are.
  const moved = ["outbox", "dead_letters", "events"].map((table) => `${schema}.${table}`);
  return [
    ...moved.map((table) => `ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY`),
    `ALTER TABLE ${schema}.outbox ADD COLUMN aggregate_id text COLLATE "C"`,
    `UPDATE ${schema}.outbox AS entry SET aggregate_id = event.aggregate_id FROM ${schema}.events AS event
  WHERE entry.command IS NULL AND event.tenant = entry.tenant AND event.id = entry.message_id`,
    `ALTER TABLE ${schema}.outbox
  ADD COLUMN partition smallint NOT NULL
    GENERATED ALWAYS AS (${partitionOf("tenant", "coalesce(aggregate_id, message_id)")}) STORED,
  DROP CONSTRAINT outbox_pkey,
  ADD PRIMARY KEY (partition, position)`,
    `ALTER TABLE ${schema}.dead_letters RENAME COLUMN event_id TO message_id`,
    `ALTER TABLE ${schema}.dead_letters
  ADD COLUMN command jsonb,
  ADD COLUMN partition smallint NOT NULL DEFAULT 0`,
    `UPDATE ${schema}.dead_letters SET partition = ${partitionOf("tenant", "aggregate_id")}`,
    `ALTER TABLE ${schema}.dead_letters ALTER COLUMN partition DROP DEFAULT`,
    `DROP INDEX ${schema}.dead_letters_by_aggregate, ${schema}.dead_letters_replaying`,
    `CREATE INDEX dead_letters_by_sequence
  ON ${schema}.dead_letters (tenant, aggregate_type, aggregate_id, consumer)`,
    `CREATE INDEX dead_letters_replaying ON ${schema}.dead_letters (partition) WHERE replaying`,
    `CREATE TABLE ${schema}.relay_members (
  id text COLLATE "C" PRIMARY KEY,
  expires_at timestamptz NOT NULL
)`,
    // A row stays when its claim is given up, so that the fence goes on growing.
    `CREATE TABLE ${schema}.relay_claims (
  partition smallint PRIMARY KEY,
  member text COLLATE "C" NOT NULL DEFAULT '',
  fence bigint NOT NULL DEFAULT 0,
  expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 25)`,
    `INSERT INTO ${schema}.relay_claims (partition) SELECT generate_series(0, ${PARTITIONS - 1})`,
    // They say nothing of any tenant, and only the relay's role may see them.
    ...["relay_members", "relay_claims"].flatMap((table) => [
      `ALTER TABLE ${schema}.${table} ENABLE ROW LEVEL SECURITY`,
      `ALTER TABLE ${schema}.${table} FORCE ROW LEVEL SECURITY`,
    ]),
    ...moved.map((table) => `ALTER TABLE ${table} FORCE ROW LEVEL SECURITY`),
    // Relays of older versions work on an outbox as a whole; without these they wait for their end.
    ...[
      "outbox_read(bigint, int)",
      "outbox_published(bigint[])",
      "outbox_failed(bigint, text, int, bigint)",
      "outbox_park(bigint, jsonb)",
      "outbox_parked(text, text, text, text)",
      "outbox_remove(bigint[])",
      "outbox_size()",
    ].map((signature) => `DROP FUNCTION IF EXISTS ${schema}.${signature}`),
  ];
}

/** From now on whoever writes an entry says where: PostgreSQL works out a generated column anew for each statement. */
export function partitionsWritten(context: string): readonly string[] {
  return [`ALTER TABLE ${contextSchema(context)}.outbox ALTER COLUMN partition DROP EXPRESSION`];
}
