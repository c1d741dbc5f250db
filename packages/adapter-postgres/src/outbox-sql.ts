import { definer, type FunctionText, forTenant } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";
import { storedEvent } from "./query-sql.ts";

/** What the relay's role does in a context, over all tenants. */
export function relayFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    // A pass starts without p_after. Replays that were asked for are carried out then and not when they were asked
    // for, so that a relay in the middle of a pass cannot meet a later event of the aggregate first.
    definer(
      `${schema}.outbox_read`,
      "p_after bigint, p_limit int",
      `
DECLARE
  answer text;
BEGIN
  IF p_after IS NULL THEN
    WITH letters AS (
      DELETE FROM ${schema}.dead_letters WHERE replaying RETURNING position, tenant, event_id, consumer
    )
    INSERT INTO ${schema}.outbox AS entry (position, tenant, message_id, published, only_for)
    OVERRIDING SYSTEM VALUE
    SELECT position, tenant, event_id, true, array_agg(consumer) FROM letters GROUP BY position, tenant, event_id
    ON CONFLICT (position, tenant) DO UPDATE
      SET only_for = CASE WHEN entry.only_for IS NULL THEN NULL ELSE entry.only_for || excluded.only_for END;
  END IF;
  SELECT coalesce(json_agg(page.entry ORDER BY page.position), '[]')::text INTO answer FROM (
    SELECT entry.position, json_build_object(
        'position', entry.position::text,
        'published', entry.published,
        'only', entry.only_for,
        'command', entry.command,
        'event', (SELECT ${storedEvent(context, "event")} FROM ${schema}.events AS event
          WHERE entry.command IS NULL AND event.tenant = entry.tenant AND event.id = entry.message_id),
        'done', ARRAY(
          SELECT handled.consumer FROM armature.inbox AS handled
            WHERE handled.tenant = entry.tenant AND handled.message_id = entry.message_id
          UNION
          SELECT parked.consumer FROM ${schema}.dead_letters AS parked
            WHERE parked.tenant = entry.tenant AND parked.event_id = entry.message_id),
        'failures', ARRAY(
          SELECT json_build_object('consumer', failed.consumer, 'attempts', failed.attempts, 'nextAt', failed.next_at)
            FROM ${schema}.failures AS failed
            WHERE failed.tenant = entry.tenant AND failed.position = entry.position)) AS entry
      FROM ${schema}.outbox AS entry
      WHERE entry.position > coalesce(p_after, 0)
      ORDER BY entry.position
      LIMIT p_limit) AS page;
  RETURN answer;
END`,
    ),
    definer(
      `${schema}.outbox_published`,
      "p_positions bigint[]",
      `
BEGIN
  UPDATE ${schema}.outbox SET published = true WHERE position = ANY (p_positions) AND NOT published;
  RETURN NULL;
END`,
    ),
    definer(
      `${schema}.outbox_failed`,
      "p_position bigint, p_consumer text, p_attempts int, p_next_at bigint",
      `
BEGIN
  INSERT INTO ${schema}.failures (tenant, position, consumer, attempts, next_at)
    SELECT tenant, position, p_consumer, p_attempts, p_next_at FROM ${schema}.outbox WHERE position = p_position
    ON CONFLICT (tenant, position, consumer) DO UPDATE SET attempts = p_attempts, next_at = p_next_at;
  RETURN NULL;
END`,
    ),
    // A letter that comes while the aggregate's replay is pending is replayed with the others, behind them.
    definer(
      `${schema}.outbox_park`,
      "p_position bigint, p_letter jsonb",
      `
BEGIN
  INSERT INTO ${schema}.dead_letters
      (tenant, event_id, consumer, position, aggregate_type, aggregate_id, replaying, body)
    SELECT p_letter ->> 'tenant', p_letter ->> 'eventId', p_letter ->> 'consumer', p_position,
        p_letter ->> 'aggregateType', p_letter ->> 'aggregateId', EXISTS (
          SELECT FROM ${schema}.dead_letters
            WHERE tenant = p_letter ->> 'tenant' AND consumer = p_letter ->> 'consumer' AND replaying
              AND aggregate_type = p_letter ->> 'aggregateType' AND aggregate_id = p_letter ->> 'aggregateId'),
        p_letter -> 'body'
    ON CONFLICT DO NOTHING;
  DELETE FROM ${schema}.failures
    WHERE tenant = p_letter ->> 'tenant' AND position = p_position AND consumer = p_letter ->> 'consumer';
  RETURN NULL;
END`,
    ),
    definer(
      `${schema}.outbox_parked`,
      "p_tenant text, p_consumer text, p_type text, p_id text",
      `
BEGIN
  RETURN EXISTS (SELECT FROM ${schema}.dead_letters
    WHERE tenant = p_tenant AND consumer = p_consumer AND aggregate_type = p_type AND aggregate_id = p_id)::text;
END`,
    ),
    definer(
      `${schema}.outbox_remove`,
      "p_positions bigint[]",
      `
BEGIN
  WITH gone AS (DELETE FROM ${schema}.outbox WHERE position = ANY (p_positions) RETURNING tenant, position)
  DELETE FROM ${schema}.failures AS failed USING gone
    WHERE failed.tenant = gone.tenant AND failed.position = gone.position;
  RETURN NULL;
END`,
    ),
    definer(
      `${schema}.outbox_size`,
      "",
      `
BEGIN
  RETURN (SELECT count(*) FROM ${schema}.outbox)::text;
END`,
    ),
  ];
}

/** What a tenant does with its own parked events. */
export function deadLetterFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    forTenant(`${schema}.list_dead_letters`, "p_consumer text, p_after bigint, p_limit int", {
      body: `
  SELECT coalesce(json_agg(page.letter ORDER BY page.number), '[]')::text INTO answer FROM (
    SELECT letter.number, json_build_object(
        'number', letter.number::text,
        'letter', letter.body || jsonb_build_object('consumer', letter.consumer, 'event', (
          SELECT ${storedEvent(context, "event")} FROM ${schema}.events AS event
            WHERE event.tenant = letter.tenant AND event.id = letter.event_id))) AS letter
      FROM ${schema}.dead_letters AS letter
      WHERE letter.tenant = p_tenant AND letter.number > p_after AND NOT letter.replaying
        AND (p_consumer IS NULL OR letter.consumer = p_consumer)
      ORDER BY letter.number
      LIMIT p_limit + 1) AS page;`,
    }),
    forTenant(`${schema}.replay_dead_letters`, "p_consumer text, p_type text, p_id text", {
      declare: "changed bigint;",
      body: `
  UPDATE ${schema}.dead_letters SET replaying = true
    WHERE tenant = p_tenant AND consumer = p_consumer AND aggregate_type = p_type AND aggregate_id = p_id
      AND NOT replaying;
  GET DIAGNOSTICS changed = ROW_COUNT;
  answer := changed::text;`,
    }),
  ];
}
