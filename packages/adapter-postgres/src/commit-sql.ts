import { sqlState } from "./errors.ts";
import { type FunctionText, forTenant, inner } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";
import { partitionOf } from "./partitions-sql.ts";
import { COUNTER_SHARDS } from "./schema-sql.ts";

/**
 * How a context writes. `guard` claims the inbox row and the idempotency key and says what stands in the way, before
 * anything else is written; `write` does the rest; `commit` is both for a commit of one part with at most one guard.
 */
export function commitFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    inner(
      `${schema}.guard`,
      "p_tenant text, p_part jsonb",
      `
DECLARE
  message jsonb := p_part -> 'inbox';
  claim jsonb := p_part -> 'idempotency';
  p_attempt int;
  answer text;
BEGIN
  IF message IS NOT NULL THEN
    INSERT INTO ${schema}.inbox (tenant, message_id, consumer)
    VALUES (p_tenant, message ->> 'messageId', message ->> 'consumer')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      RETURN '{"status":"handled-before"}';
    END IF;
  END IF;
  IF claim IS NULL THEN
    RETURN NULL;
  END IF;

  p_attempt := (claim ->> 'attempt')::int;
  IF p_attempt = 1 AND claim ->> 'step' = 'claim' THEN
    INSERT INTO ${schema}.idempotency (tenant, key, input_hash, attempt, claimed_until)
    VALUES (p_tenant, claim ->> 'key', claim ->> 'inputHash', 1, (claim ->> 'claimedUntil')::bigint)
    ON CONFLICT DO NOTHING;
  ELSIF p_attempt = 1 AND claim ->> 'step' = 'settle' THEN
    INSERT INTO ${schema}.idempotency AS present (tenant, key, input_hash, attempt, claimed_until, outcome)
    VALUES (p_tenant, claim ->> 'key', claim ->> 'inputHash', 1, (claim ->> 'claimedUntil')::bigint, claim ->> 'outcome')
    ON CONFLICT (tenant, key) DO UPDATE
      SET input_hash = excluded.input_hash, claimed_until = excluded.claimed_until, outcome = excluded.outcome
      WHERE present.attempt = 1 AND present.outcome IS NULL;
  ELSE
    UPDATE ${schema}.idempotency
      SET input_hash = claim ->> 'inputHash', attempt = p_attempt,
          claimed_until = (claim ->> 'claimedUntil')::bigint, outcome = claim ->> 'outcome'
      WHERE tenant = p_tenant AND key = claim ->> 'key' AND outcome IS NULL
        AND attempt = CASE claim ->> 'step' WHEN 'claim' THEN p_attempt - 1 ELSE p_attempt END;
  END IF;
  IF FOUND THEN
    RETURN NULL;
  END IF;
  SELECT json_build_object('status', 'key-taken', 'record', json_build_object('key', key, 'inputHash', input_hash,
           'attempt', attempt, 'claimedUntil', claimed_until, 'outcome', outcome))::text
    INTO answer
    FROM ${schema}.idempotency WHERE tenant = p_tenant AND key = claim ->> 'key';
  RETURN coalesce(answer, '{"status":"key-gone"}');
END`,
    ),
    // Aggregates come first and in the order that every commit keeps: their rows are the locks. The outbox rows of an
    // aggregate therefore get their positions while nobody else can write it, in the order of its versions.
    inner(
      `${schema}.write`,
      "p_tenant text, p_part jsonb",
      `
DECLARE
  items jsonb := p_part -> 'aggregates';
  item jsonb;
  written jsonb;
  expected int;
  ignored text;
BEGIN
  -- What most commands do, without a loop: every statement here counts.
  item := p_part -> 'only';
  IF item IS NOT NULL THEN
    IF item ->> 'expectedVersion' = '0' THEN
      INSERT INTO ${schema}.aggregates (tenant, type, id, version, state_version, state, idx)
      VALUES (p_tenant, item ->> 'type', item ->> 'id', (item ->> 'version')::int, (item ->> 'stateVersion')::int,
        item -> 'state', item -> 'index')
      ON CONFLICT DO NOTHING;
    ELSE
      UPDATE ${schema}.aggregates
        SET version = (item ->> 'version')::int, state_version = (item ->> 'stateVersion')::int,
            state = item -> 'state', idx = item -> 'index'
        WHERE tenant = p_tenant AND type = item ->> 'type' AND id = item ->> 'id'
          AND version = (item ->> 'expectedVersion')::int;
    END IF;
    IF NOT FOUND THEN
      ${conflict}
    END IF;
    item := p_part -> 'event';
    ${insertEvent(schema)}
    item := p_part -> 'entry';
    IF item IS NOT NULL THEN
      ${insertAudit(schema)}
    END IF;
  END IF;
  -- Behind the aggregates and before everything else, in either form: what is locked is locked in one order.
  IF items IS NULL THEN
    items := p_part -> 'executions';
    IF items IS NOT NULL THEN
      ignored := ${schema}.write_executions(p_tenant, items);
    END IF;
    RETURN NULL;
  END IF;

  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    written := item -> 'write';
    expected := (item ->> 'expectedVersion')::int;
    IF expected = 0 THEN
      -- What was looked for and not found is held with a row too, until the check is done.
      INSERT INTO ${schema}.aggregates (tenant, type, id, version, state_version, state, idx)
      VALUES (p_tenant, item ->> 'type', item ->> 'id', coalesce((written ->> 'version')::int, 0),
        coalesce((written ->> 'stateVersion')::int, 0), coalesce(written -> 'state', '{}'), coalesce(written -> 'index', '{}'))
      ON CONFLICT DO NOTHING;
    ELSIF written IS NULL THEN
      PERFORM FROM ${schema}.aggregates
        WHERE tenant = p_tenant AND type = item ->> 'type' AND id = item ->> 'id' AND version = expected
        FOR SHARE;
    ELSE
      UPDATE ${schema}.aggregates
        SET version = (written ->> 'version')::int, state_version = (written ->> 'stateVersion')::int,
            state = written -> 'state', idx = written -> 'index'
        WHERE tenant = p_tenant AND type = item ->> 'type' AND id = item ->> 'id' AND version = expected;
    END IF;
    IF NOT FOUND THEN
      ${conflict}
    END IF;
    IF expected = 0 AND written IS NULL THEN
      DELETE FROM ${schema}.aggregates WHERE tenant = p_tenant AND type = item ->> 'type' AND id = item ->> 'id';
    END IF;
  END LOOP;

  items := p_part -> 'executions';
  IF items IS NOT NULL THEN
    ignored := ${schema}.write_executions(p_tenant, items);
  END IF;
  items := p_part -> 'aggregates';

  -- Who follows the log counts on it that whoever takes a position has its transaction's id by then.
  IF jsonb_array_length(items) = 0 THEN
    PERFORM pg_current_xact_id();
  END IF;
  items := p_part -> 'events';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    ${insertEvent(schema)}
  END LOOP;

  items := p_part -> 'messages';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    INSERT INTO ${schema}.outbox (tenant, message_id, command, partition)
    VALUES (p_tenant, item ->> 'id', item, ${partitionOf("p_tenant", "item ->> 'id'")});
  END LOOP;

  items := p_part -> 'audit';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    ${insertAudit(schema)}
  END LOOP;

  items := p_part -> 'timers';
  IF items IS NOT NULL THEN
    ignored := ${schema}.write_timers(p_tenant, items);
  END IF;

  items := p_part -> 'letters';
  IF items IS NOT NULL THEN
    ignored := ${schema}.write_letters(p_tenant, items);
  END IF;

  -- Last, so that their rows are held no longer than the rest of the commit takes.
  items := p_part -> 'counters';
  IF items IS NOT NULL THEN
    FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
      item := items -> i;
      INSERT INTO ${schema}.counters AS held (tenant, key, shard, numbers)
      VALUES (p_tenant, item ->> 'key', pg_backend_pid() % ${COUNTER_SHARDS}, item -> 'numbers')
      ON CONFLICT (tenant, key, shard) DO UPDATE
        SET numbers = held.numbers || (
          SELECT jsonb_object_agg(added.key, coalesce((held.numbers ->> added.key)::numeric, 0) + added.value::numeric)
            FROM jsonb_each_text(excluded.numbers) AS added);
    END LOOP;
  END IF;
  RETURN NULL;
END`,
    ),
    forTenant(`${schema}.commit`, "p_part jsonb", {
      body: `
  IF ${guarded("p_part")} THEN
    answer := ${schema}.guard(p_tenant, p_part);
  END IF;
  IF answer IS NULL THEN
    ignored := ${schema}.write(p_tenant, p_part);
  END IF;`,
    }),
    forTenant(`${schema}.idempotency_record`, "p_key text", {
      body: `
  SELECT json_build_object('key', key, 'inputHash', input_hash, 'attempt', attempt, 'claimedUntil', claimed_until,
           'outcome', outcome)::text
    INTO answer
    FROM ${schema}.idempotency WHERE tenant = p_tenant AND key = p_key;`,
    }),
  ];
}

const conflict = `RAISE EXCEPTION USING ERRCODE = '${sqlState.versionConflict}', MESSAGE = 'version conflict',
        DETAIL = json_build_object('type', item -> 'type', 'id', item -> 'id');`;

const insertEvent = (schema: string) => `INSERT INTO ${schema}.events
      (tenant, id, type, aggregate_type, aggregate_id, aggregate_version, time, body)
    VALUES (p_tenant, item ->> 'id', item ->> 'type', item ->> 'aggregateType', item ->> 'aggregateId',
      (item ->> 'aggregateVersion')::int, (item ->> 'time')::timestamptz, item -> 'body');
    INSERT INTO ${schema}.outbox (tenant, message_id, aggregate_id, partition)
    VALUES (p_tenant, item ->> 'id', item ->> 'aggregateId', ${partitionOf("p_tenant", "item ->> 'aggregateId'")});`;

const insertAudit = (
  schema: string,
) => `INSERT INTO ${schema}.audit (tenant, id, time, actor_id, operation, outcome, body)
    VALUES (p_tenant, item ->> 'id', (item ->> 'time')::timestamptz, item ->> 'actorId', item ->> 'operation',
      item ->> 'outcome', item -> 'body');`;

/** Whether a part claims something that may be taken. */
export const guarded = (part: string) => `(${part} ? 'inbox' OR ${part} ? 'idempotency')`;
