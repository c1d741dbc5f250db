import { sqlState } from "./errors.ts";
import { type FunctionText, forTenant, inner } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";
import { partitionOf } from "./partitions-sql.ts";
import { storedEvent } from "./query-sql.ts";

/** What a consumer is to have again stands before everything that waits. Positions stay whole numbers of JavaScript. */
const BEFORE_ALL = 2 ** 52;

/** What a tenant does with its own parked messages. */
export function deadLetterFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    forTenant(`${schema}.list_dead_letters`, "p_consumer text, p_message text, p_after bigint, p_limit int", {
      body: `
  SELECT coalesce(json_agg(page.letter ORDER BY page.number), '[]')::text INTO answer FROM (
    SELECT letter.number, json_build_object(
        'number', letter.number::text,
        'command', letter.command,
        'letter', letter.body || jsonb_build_object('consumer', letter.consumer),
        'event', (SELECT ${storedEvent(context, "event")} FROM ${schema}.events AS event
          WHERE letter.command IS NULL AND event.tenant = letter.tenant AND event.id = letter.message_id)) AS letter
      FROM ${schema}.dead_letters AS letter
      WHERE letter.tenant = p_tenant AND letter.number > p_after AND NOT letter.replaying
        AND (p_consumer IS NULL OR letter.consumer = p_consumer)
        AND (p_message IS NULL OR letter.message_id = p_message)
      ORDER BY letter.number
      LIMIT p_limit + 1) AS page;`,
    }),
    inner(
      `${schema}.write_letters`,
      "p_tenant text, p_changes jsonb",
      `
DECLARE
  change jsonb;
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_changes) - 1 LOOP
    change := p_changes -> i;
    IF change ->> 'step' = 'retry' THEN
      UPDATE ${schema}.dead_letters SET replaying = true
        WHERE tenant = p_tenant AND consumer = change ->> 'consumer' AND NOT replaying
          AND aggregate_type = change #>> '{sequence,type}' AND aggregate_id = change #>> '{sequence,id}';
    ELSIF change ->> 'step' = 'skip' THEN
      DELETE FROM ${schema}.dead_letters
        WHERE tenant = p_tenant AND message_id = change ->> 'messageId' AND consumer = change ->> 'consumer'
          AND NOT replaying;
    END IF;
    IF change ->> 'step' <> 'redeliver' AND NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = '${sqlState.versionConflict}', MESSAGE = 'version conflict',
        DETAIL = json_build_object('type', 'dead letter', 'id', change -> 'consumer');
    END IF;
    IF change ->> 'step' = 'skip' THEN
      INSERT INTO ${schema}.inbox (tenant, message_id, consumer)
        VALUES (p_tenant, change ->> 'messageId', change ->> 'consumer') ON CONFLICT DO NOTHING;
    ELSIF change ->> 'step' = 'redeliver' THEN
      INSERT INTO ${schema}.outbox AS entry (position, tenant, message_id, aggregate_id, partition, published, only_for)
        OVERRIDING SYSTEM VALUE
        SELECT event.position - ${BEFORE_ALL}, p_tenant, event.id, event.aggregate_id,
            ${partitionOf("p_tenant", "event.aggregate_id")}, true,
            ARRAY[change ->> 'consumer']
          FROM jsonb_array_elements_text(change -> 'events') AS wanted
            JOIN ${schema}.events AS event ON event.tenant = p_tenant AND event.id = wanted
          ORDER BY event.position
        ON CONFLICT (partition, position) DO UPDATE SET only_for = entry.only_for || excluded.only_for;
    END IF;
  END LOOP;
  RETURN NULL;
END`,
    ),
  ];
}
