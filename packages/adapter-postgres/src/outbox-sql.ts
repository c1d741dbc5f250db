import { PARTITIONS } from "@armature/core";
import { definer, type FunctionText, inner } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";

/** Before every position that there can be, as text. */
export const FIRST = "-9223372036854775808";

/** No entry is looked up twice for a page, so that remembering them would only cost. */
const NOTHING_TWICE = ["enable_memoize = off"];

// Asked once for the whole page, in the same statement, so of the same moment. Mostly there is none.
function ifAny(table: string, list: string, type = "text"): string {
  return `CASE WHEN (SELECT EXISTS (SELECT FROM ${table})) THEN ${list} ELSE ARRAY[]::${type}[] END`;
}

// What is asked of an entry that somebody consumes; of the others it would cost more than all the rest.
function marks(schema: string): string {
  const letters = `${schema}.dead_letters`;
  return `json_build_object(
          'command', entry.command,
          'only', entry.only_for,
          'done', ARRAY(
            SELECT handled.consumer FROM armature.inbox AS handled
              WHERE handled.tenant = entry.tenant AND handled.message_id = entry.message_id)
            || ${ifAny(
              letters,
              `ARRAY(
            SELECT letter.consumer FROM ${letters} AS letter
              WHERE letter.tenant = entry.tenant AND letter.message_id = entry.message_id)`,
            )},
          'parked', ${ifAny(
            letters,
            `ARRAY(
            SELECT DISTINCT letter.consumer FROM ${letters} AS letter
              WHERE letter.tenant = entry.tenant AND letter.aggregate_type = event.aggregate_type
                AND letter.aggregate_id = event.aggregate_id)`,
          )},
          'failures', ${ifAny(
            `${schema}.failures`,
            `ARRAY(
            SELECT json_build_object('consumer', failed.consumer, 'attempts', failed.attempts, 'nextAt', failed.next_at)
              FROM ${schema}.failures AS failed
              WHERE failed.tenant = entry.tenant AND failed.position = entry.position)`,
            "json",
          )})`;
}

// Where the entries are that lists name, each looked up by its key. A join is for the planner to turn around: it plans
// while the outbox is empty, as it mostly is, and would go through all of a long one for every name. Not with a limit.
function placesOf(schema: string, partitions: string, positions: string): string {
  return `ARRAY(
        SELECT found.place FROM unnest(${partitions}, ${positions}) AS named (partition, position)
          CROSS JOIN LATERAL (
            SELECT ctid AS place FROM ${schema}.outbox AS present
              WHERE present.partition = named.partition AND present.position = named.position LIMIT 1) AS found
          WHERE named.partition = ANY (held))`;
}

/** What the relay's role does in a context, over all tenants. */
export function relayFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    // Replays that were asked for are carried out when a pass starts and not when they were asked for, so that a relay
    // in the middle of one cannot meet a later event of the aggregate first.
    definer(
      `${schema}.outbox_read`,
      "p_partitions int[], p_fences bigint[], p_after bigint[], p_limit int, p_consumed text[]",
      `
DECLARE
  answer text;
  held int[];
BEGIN
  IF EXISTS (SELECT FROM ${schema}.dead_letters WHERE replaying) THEN
    held := ${schema}.relay_held((
      SELECT coalesce(jsonb_agg(jsonb_build_array(claim.partition, claim.fence)), '[]')
        FROM unnest(p_partitions, p_fences) AS claim (partition, fence)));
    WITH letters AS (
      DELETE FROM ${schema}.dead_letters AS letter
        USING unnest(p_partitions, p_fences, p_after) AS cursor (partition, fence, after)
        WHERE letter.replaying AND (cursor.fence IS NULL OR cursor.partition = ANY (held)) AND cursor.after = ${FIRST} AND cursor.partition = letter.partition
        RETURNING letter.partition, letter.position, letter.tenant, letter.message_id, letter.command, letter.aggregate_id,
          letter.consumer
    )
    INSERT INTO ${schema}.outbox AS entry
      (partition, position, tenant, message_id, aggregate_id, command, published, only_for)
    OVERRIDING SYSTEM VALUE
    SELECT partition, position, tenant, message_id, CASE WHEN command IS NULL THEN aggregate_id END, command, true,
        array_agg(consumer)
      FROM letters GROUP BY partition, position, tenant, message_id, aggregate_id, command
    ON CONFLICT (partition, position) DO UPDATE
      SET only_for = CASE WHEN entry.only_for IS NULL THEN NULL ELSE entry.only_for || excluded.only_for END;
  END IF;
  SELECT coalesce(json_agg(json_build_array(
        entry.partition, entry.position, entry.published, event.id, event.tenant, event.type, event.aggregate_type,
        event.aggregate_id, event.aggregate_version, date_part('epoch', event.time), event.body,
        CASE WHEN event.type IS NULL OR entry.only_for IS NOT NULL OR p_consumed IS NULL OR event.type = ANY (p_consumed)
          THEN ${marks(schema)} END)), '[]')::text
    INTO answer
    FROM unnest(p_partitions, p_after) AS cursor (partition, after)
      CROSS JOIN LATERAL (
        SELECT * FROM ${schema}.outbox AS waiting
          WHERE waiting.partition = cursor.partition AND waiting.position > cursor.after
          ORDER BY waiting.position LIMIT p_limit) AS entry
      LEFT JOIN LATERAL (
        SELECT * FROM ${schema}.events AS told
          WHERE entry.command IS NULL AND told.tenant = entry.tenant AND told.id = entry.message_id
          LIMIT 1) AS event ON true;
  RETURN answer;
END`,
      NOTHING_TWICE,
    ),
    definer(
      `${schema}.outbox_settle`,
      "p_claims jsonb, p_published bigint[], p_published_in int[], p_finished bigint[], p_finished_in int[]",
      `
DECLARE
  held int[] := ${schema}.relay_held(p_claims);
  ignored text;
BEGIN
  -- What the server forgets of this when it falls down is published again, and handled before.
  ignored := set_config('synchronous_commit', 'off', true);
  IF cardinality(p_published) > 0 THEN
    UPDATE ${schema}.outbox SET published = true
      WHERE ctid = ANY (${placesOf(schema, "p_published_in", "p_published")}) AND NOT published;
  END IF;
  IF cardinality(p_finished) > 0 THEN
    WITH gone AS (
      DELETE FROM ${schema}.outbox AS entry
        WHERE ctid = ANY (${placesOf(schema, "p_finished_in", "p_finished")})
        RETURNING entry.tenant, entry.position)
    DELETE FROM ${schema}.failures AS failed USING gone
      WHERE (SELECT EXISTS (SELECT FROM ${schema}.failures))
        AND failed.tenant = gone.tenant AND failed.position = gone.position;
  END IF;
  RETURN (SELECT coalesce(json_agg(claim -> 0), '[]') FROM jsonb_array_elements(p_claims) AS claim
    WHERE NOT (claim ->> 0)::int = ANY (held))::text;
END`,
      NOTHING_TWICE,
    ),
    definer(
      `${schema}.outbox_failed`,
      "p_claims jsonb, p_position bigint, p_consumer text, p_attempts int, p_next_at bigint",
      `
BEGIN
  IF ${schema}.relay_held(p_claims) = '{}' THEN
    RETURN 'false';
  END IF;
  INSERT INTO ${schema}.failures (tenant, position, consumer, attempts, next_at)
    SELECT tenant, position, p_consumer, p_attempts, p_next_at FROM ${schema}.outbox
      WHERE partition = (p_claims #>> '{0,0}')::int AND position = p_position
    ON CONFLICT (tenant, position, consumer) DO UPDATE SET attempts = p_attempts, next_at = p_next_at;
  RETURN 'true';
END`,
    ),
    // A letter that comes while the aggregate's replay is pending is replayed with the others, behind them.
    definer(
      `${schema}.outbox_park`,
      "p_claims jsonb, p_position bigint, p_letter jsonb",
      `
DECLARE
  ahead boolean;
  pending boolean;
BEGIN
  IF ${schema}.relay_held(p_claims) = '{}' THEN
    RETURN '"lost"';
  END IF;
  SELECT count(*) > 0, coalesce(bool_or(replaying), false) INTO ahead, pending FROM ${schema}.dead_letters
    WHERE tenant = p_letter ->> 'tenant' AND consumer = p_letter ->> 'consumer'
      AND aggregate_type = p_letter ->> 'aggregateType' AND aggregate_id = p_letter ->> 'aggregateId';
  IF NOT ahead AND (p_letter #>> '{body,attempts}')::int = 0 THEN
    RETURN '"nothing-ahead"';
  END IF;
  INSERT INTO ${schema}.dead_letters (tenant, message_id, consumer, partition, position, aggregate_type, aggregate_id,
      command, replaying, body)
    VALUES (p_letter ->> 'tenant', p_letter ->> 'messageId', p_letter ->> 'consumer', (p_claims #>> '{0,0}')::int,
      p_position, p_letter ->> 'aggregateType', p_letter ->> 'aggregateId', p_letter -> 'command', pending,
      p_letter -> 'body')
    ON CONFLICT DO NOTHING;
  DELETE FROM ${schema}.failures
    WHERE tenant = p_letter ->> 'tenant' AND position = p_position AND consumer = p_letter ->> 'consumer';
  RETURN '"parked"';
END`,
    ),
    definer(
      `${schema}.outbox_size`,
      "p_partitions int[], p_most int",
      `
BEGIN
  IF p_partitions IS NULL THEN
    RETURN (SELECT count(*) FROM (SELECT FROM ${schema}.outbox LIMIT p_most) AS waiting)::text;
  END IF;
  RETURN (SELECT count(*) FROM (
    SELECT FROM unnest(p_partitions) AS asked (partition) CROSS JOIN LATERAL (
      SELECT FROM ${schema}.outbox AS present WHERE present.partition = asked.partition LIMIT p_most) AS waiting
      LIMIT p_most) AS counted)::text;
END`,
    ),
    ...claimFunctions(schema),
  ];
}

/**
 * Who works on which partitions. Rows are locked in their order; a commit of a relay's holds the ones that it counts
 * on until it is durable, so a partition cannot change hands in between.
 */
function claimFunctions(schema: string): readonly FunctionText[] {
  return [
    // The partitions of these claims, `[[partition, fence], …]`, that hold; they do until the transaction ends.
    inner(
      `${schema}.relay_held`,
      "p_claims jsonb",
      `
BEGIN
  RETURN (SELECT coalesce(array_agg(locked.partition), '{}') FROM (
    SELECT held.partition FROM ${schema}.relay_claims AS held
      JOIN jsonb_array_elements(p_claims) AS claim
        ON held.partition = (claim ->> 0)::int AND held.fence = (claim ->> 1)::bigint
      ORDER BY held.partition FOR SHARE OF held) AS locked)::text;
END`,
    ),
    definer(
      `${schema}.relay_claim`,
      "p_member text, p_keep int[], p_ttl_ms bigint, p_now bigint",
      `
DECLARE
  moment timestamptz := coalesce(to_timestamp(p_now / 1000.0), clock_timestamp());
  until timestamptz := moment + p_ttl_ms * interval '1 millisecond';
  alive int;
  mine int;
BEGIN
  INSERT INTO ${schema}.relay_members AS member (id, expires_at) VALUES (p_member, until)
    ON CONFLICT (id) DO UPDATE SET expires_at = until;
  DELETE FROM ${schema}.relay_members WHERE id IN (
    SELECT id FROM ${schema}.relay_members WHERE expires_at <= moment ORDER BY id FOR UPDATE SKIP LOCKED);
  SELECT count(*) INTO alive FROM ${schema}.relay_members WHERE expires_at > moment;
  PERFORM FROM ${schema}.relay_claims WHERE member = p_member ORDER BY partition FOR UPDATE;
  UPDATE ${schema}.relay_claims
    SET expires_at = CASE WHEN p_keep IS NULL OR partition = ANY (p_keep) THEN until ELSE '-infinity' END
    WHERE member = p_member AND expires_at > moment;
  SELECT count(*) INTO mine FROM ${schema}.relay_claims WHERE member = p_member AND expires_at > moment;
  UPDATE ${schema}.relay_claims SET member = p_member, fence = fence + 1, expires_at = until
    WHERE partition IN (
      SELECT partition FROM ${schema}.relay_claims WHERE expires_at <= moment
        ORDER BY partition LIMIT greatest(0, ceil(${PARTITIONS} / alive::numeric)::int - mine) FOR UPDATE SKIP LOCKED);
  RETURN json_build_object('members', alive, 'claims', (
    SELECT coalesce(json_agg(json_build_object('partition', partition, 'fence', fence) ORDER BY partition), '[]')
      FROM ${schema}.relay_claims WHERE member = p_member AND expires_at > moment))::text;
END`,
    ),
    definer(
      `${schema}.relay_leave`,
      "p_member text",
      `
BEGIN
  DELETE FROM ${schema}.relay_members WHERE id = p_member;
  PERFORM FROM ${schema}.relay_claims WHERE member = p_member ORDER BY partition FOR UPDATE;
  UPDATE ${schema}.relay_claims SET expires_at = '-infinity' WHERE member = p_member;
  RETURN NULL;
END`,
    ),
  ];
}
