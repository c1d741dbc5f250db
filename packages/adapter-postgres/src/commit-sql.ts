import { sqlState } from "./errors.ts";
import { definer, type FunctionText, forTenant, inner } from "./function-text.ts";
import { contextSchema, quoteLiteral } from "./identifier.ts";
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
      RAISE EXCEPTION USING ERRCODE = '${sqlState.versionConflict}', MESSAGE = 'version conflict',
        DETAIL = json_build_object('type', item -> 'type', 'id', item -> 'id');
    END IF;
    IF expected = 0 AND written IS NULL THEN
      DELETE FROM ${schema}.aggregates WHERE tenant = p_tenant AND type = item ->> 'type' AND id = item ->> 'id';
    END IF;
  END LOOP;

  -- Who follows the log counts on it that whoever takes a position has its transaction's id by then.
  IF jsonb_array_length(items) = 0 THEN
    PERFORM pg_current_xact_id();
  END IF;
  items := p_part -> 'events';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    INSERT INTO ${schema}.events (tenant, id, type, aggregate_type, aggregate_id, aggregate_version, time, body)
    VALUES (p_tenant, item ->> 'id', item ->> 'type', item ->> 'aggregateType', item ->> 'aggregateId',
      (item ->> 'aggregateVersion')::int, (item ->> 'time')::timestamptz, item -> 'body');
    INSERT INTO ${schema}.outbox (tenant, message_id, aggregate_id)
    VALUES (p_tenant, item ->> 'id', item ->> 'aggregateId');
  END LOOP;

  items := p_part -> 'messages';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    INSERT INTO ${schema}.outbox (tenant, message_id, command) VALUES (p_tenant, item ->> 'id', item);
  END LOOP;

  items := p_part -> 'audit';
  FOR i IN 0 .. jsonb_array_length(items) - 1 LOOP
    item := items -> i;
    INSERT INTO ${schema}.audit (tenant, id, time, actor_id, operation, outcome, body)
    VALUES (p_tenant, item ->> 'id', (item ->> 'time')::timestamptz, item ->> 'actorId', item ->> 'operation',
      item ->> 'outcome', item -> 'body');
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
  answer := ${schema}.guard(p_tenant, p_part);
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

/**
 * One commit over several contexts, in one statement. Its guards run in a block of their own: when one of them is
 * taken, the ones claimed before it are undone and nothing has been written.
 */
export function sharedCommit(contexts: readonly string[]): FunctionText {
  const dispatch = (call: (schema: string) => string) => `
      CASE part ->> 'context'
${contexts.map((context) => `        WHEN ${quoteLiteral(context)} THEN ${call(contextSchema(context))};`).join("\n")}
        ELSE RAISE EXCEPTION USING ERRCODE = '${sqlState.unknownContext}', MESSAGE = 'unknown context';
      END CASE;`;
  return forTenant("armature.commit", "p_parts jsonb", {
    declare: "part jsonb;",
    body: `
  BEGIN
    FOR i IN 0 .. jsonb_array_length(p_parts) - 1 LOOP
      part := p_parts -> i;${dispatch((schema) => `answer := ${schema}.guard(p_tenant, part)`)}
      IF answer IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '${sqlState.refused}';
      END IF;
    END LOOP;
  EXCEPTION WHEN SQLSTATE '${sqlState.refused}' THEN
    NULL;
  END;
  IF answer IS NULL THEN
    FOR i IN 0 .. jsonb_array_length(p_parts) - 1 LOOP
      part := p_parts -> i;${dispatch((schema) => `ignored := ${schema}.write(p_tenant, part)`)}
    END LOOP;
  END IF;`,
  });
}

/**
 * The same inside a transaction of the host's, and in no other: what the host did before must not go when we are
 * refused, so an error is undone up to here and given as an answer. A value of a row is never part of it.
 */
export const commitWithin: FunctionText = definer(
  "armature.commit_within",
  "p_transaction text, p_tenant text, p_parts jsonb",
  `
DECLARE
  state text;
  detail text;
  schema_name text;
  table_name text;
  constraint_name text;
BEGIN
  IF pg_current_xact_id()::text <> p_transaction THEN
    RETURN '{"status":"elsewhere"}';
  END IF;
  BEGIN
    RETURN armature.commit(p_tenant, p_parts);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, schema_name = SCHEMA_NAME,
      table_name = TABLE_NAME, constraint_name = CONSTRAINT_NAME;
  END;
  RETURN json_build_object('status', 'refused', 'code', state, 'schema', schema_name, 'table', table_name,
    'constraint', constraint_name, 'detail', CASE state WHEN '${sqlState.versionConflict}' THEN detail ELSE '' END);
END`,
);

/** Leases, by the database's clock. A fence grows with every holder of the key. */
export const leaseFunctions: readonly FunctionText[] = [
  definer(
    "armature.lease_acquire",
    "p_key text, p_owner text, p_ttl_ms bigint",
    `
DECLARE
  answer text;
BEGIN
  INSERT INTO armature.leases AS held (key, owner, fence, expires_at)
  VALUES (p_key, p_owner, 1, clock_timestamp() + p_ttl_ms * interval '1 millisecond')
  ON CONFLICT (key) DO UPDATE
    SET owner = p_owner, fence = held.fence + 1, expires_at = clock_timestamp() + p_ttl_ms * interval '1 millisecond'
    WHERE held.expires_at <= clock_timestamp()
  RETURNING held.fence::text INTO answer;
  RETURN answer;
END`,
  ),
  definer(
    "armature.lease_renew",
    "p_key text, p_owner text, p_ttl_ms bigint",
    `
BEGIN
  UPDATE armature.leases SET expires_at = clock_timestamp() + p_ttl_ms * interval '1 millisecond'
    WHERE key = p_key AND owner = p_owner AND expires_at > clock_timestamp();
  RETURN found::text;
END`,
  ),
  definer(
    "armature.lease_release",
    "p_key text, p_owner text",
    `
BEGIN
  UPDATE armature.leases SET expires_at = '-infinity' WHERE key = p_key AND owner = p_owner;
  RETURN found::text;
END`,
  ),
];
