import { definer, type FunctionText } from "./function-text.ts";
import { contextSchema, quoteIdentifier } from "./identifier.ts";
import type { Roles } from "./roles.ts";

/** While more messages than this wait, nothing is pruned: relays have enough to do, and each is compared with. */
const MOST_WAITING = 10_000;

/** What the oldest rows are found by. */
export function retentionIndexes(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE INDEX inbox_by_age ON ${schema}.inbox (handled_at)`,
    `CREATE INDEX idempotency_by_age ON ${schema}.idempotency (created_at)`,
  ];
}

/** Which consumers have handled a message, over all contexts: a consumer's row is in the consumer's own context. */
export function inboxOfAll(contexts: readonly string[], roles: Roles): readonly string[] {
  const selects = contexts.map((name) => `SELECT tenant, message_id, consumer FROM ${contextSchema(name)}.inbox`);
  return [
    `CREATE OR REPLACE VIEW armature.inbox WITH (security_invoker = true) AS\n${selects.join("\nUNION ALL\n")}`,
    "REVOKE ALL ON armature.inbox FROM PUBLIC",
    `GRANT SELECT ON armature.inbox TO ${quoteIdentifier(roles.relay)}`,
  ];
}

/** What waits in the outboxes of all contexts, and what is parked: a consumer of any context may get it yet. */
export function unfinishedOfAll(contexts: readonly string[], roles: Roles): readonly string[] {
  const view = (name: string, table: string) => {
    const selects = contexts.map((each) => `SELECT tenant, message_id, command FROM ${contextSchema(each)}.${table}`);
    return `CREATE OR REPLACE VIEW armature.${name} WITH (security_invoker = true) AS\n${selects.join("\nUNION ALL\n")}`;
  };
  return [
    view("waiting", "outbox"),
    view("parked", "dead_letters"),
    "REVOKE ALL ON armature.waiting, armature.parked FROM PUBLIC",
    `GRANT SELECT ON armature.waiting, armature.parked TO ${quoteIdentifier(roles.relay)}`,
  ];
}

/** What the relay's role forgets, over all tenants. */
export function retentionFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    // Whether something waits or is parked, and that it goes if not, is one statement: a replay moves a message from
    // the one to the other. What has been neither for so long is never delivered again: new messages have new ids.
    // NOT IN is looked up in a table of hashes, whatever the server takes the outboxes to hold.
    definer(
      `${schema}.prune`,
      "p_older_than_ms bigint, p_limit int, p_inbox boolean",
      `
DECLARE
  cutoff timestamptz := clock_timestamp() - p_older_than_ms * interval '1 millisecond';
  cutoff_ms bigint := floor(extract(epoch FROM cutoff) * 1000);
  handled bigint := 0;
  recorded bigint := 0;
BEGIN
  IF NOT (p_inbox AND EXISTS (SELECT FROM ${schema}.inbox WHERE handled_at <= cutoff))
      AND NOT EXISTS (SELECT FROM ${schema}.idempotency WHERE created_at <= cutoff) THEN
    RETURN '0';
  END IF;
  IF (SELECT count(*) FROM (SELECT FROM armature.waiting LIMIT ${MOST_WAITING} + 1) AS first) > ${MOST_WAITING} THEN
    RETURN '0';
  END IF;
  IF p_inbox THEN
    DELETE FROM ${schema}.inbox AS held
      USING (SELECT tenant, message_id, consumer FROM ${schema}.inbox AS old
        WHERE old.handled_at <= cutoff
          AND (old.tenant, old.message_id) NOT IN (SELECT tenant, message_id FROM armature.waiting)
          AND NOT EXISTS (SELECT FROM armature.parked AS letter
            WHERE letter.tenant = old.tenant AND letter.message_id = old.message_id)
        ORDER BY old.handled_at LIMIT p_limit) AS gone
      WHERE held.tenant = gone.tenant AND held.message_id = gone.message_id AND held.consumer = gone.consumer;
    GET DIAGNOSTICS handled = ROW_COUNT;
  END IF;
  IF handled < p_limit THEN
    WITH sent AS MATERIALIZED (
      SELECT tenant, command ->> 'operation' AS operation, min((command ->> 'time')::timestamptz) AS since
        FROM (SELECT tenant, command FROM armature.waiting UNION ALL SELECT tenant, command FROM armature.parked) AS each
        WHERE command IS NOT NULL GROUP BY 1, 2)
    DELETE FROM ${schema}.idempotency AS held
      USING (SELECT tenant, key FROM ${schema}.idempotency AS old
        WHERE old.created_at <= cutoff AND old.claimed_until <= cutoff_ms
          AND NOT EXISTS (SELECT FROM sent
            WHERE sent.tenant = old.tenant AND sent.operation = split_part(old.key, ' ', 1)
              AND sent.since <= old.created_at + interval '1 day')
        ORDER BY old.created_at LIMIT p_limit - handled) AS gone
      WHERE held.tenant = gone.tenant AND held.key = gone.key
        -- Looked at again where another attempt has begun meanwhile.
        AND held.claimed_until <= cutoff_ms;
    GET DIAGNOSTICS recorded = ROW_COUNT;
  END IF;
  RETURN (handled + recorded)::text;
END`,
    ),
  ];
}
