import { writeExecution, writeVariables } from "./executions-sql.ts";
import { definer, type FunctionText } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";

/** What the relay's role does with executions, over all tenants. */
export function executionRelayFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    ...takeFunctions(schema),
    definer(
      `${schema}.executions_write`,
      "p_writes jsonb",
      `
DECLARE
  item jsonb;
  answers text := '';
  ${writeVariables}
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_writes) - 1 LOOP
    item := p_writes -> i;
    ${writeExecution(schema, "item ->> 'tenant'")}
    IF outcome = 'ahead' THEN
      UPDATE ${schema}.executions SET worker = NULL
        WHERE tenant = item ->> 'tenant' AND id = item ->> 'id' AND fence = (item ->> 'fence')::bigint;
    END IF;
    answers := answers || CASE outcome WHEN 'written' THEN ',1' ELSE ',0' END;
  END LOOP;
  RETURN '[' || substr(answers, 2) || ']';
END`,
    ),
    definer(
      `${schema}.executions_signals`,
      "p_tenant text, p_id text",
      `
BEGIN
  RETURN (SELECT ${signalsOf(schema, "p_tenant", "p_id")})::text;
END`,
    ),
    // Whoever has it go on again meanwhile is waited for, and keeps it.
    definer(
      `${schema}.executions_prune`,
      "p_ended_by bigint, p_limit int",
      `
DECLARE
  tenants text[];
  ids text[];
BEGIN
  WITH gone AS (
    DELETE FROM ${schema}.executions AS held
      USING (SELECT tenant, id FROM ${schema}.executions WHERE ended_at <= p_ended_by
        ORDER BY ended_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS old
      WHERE held.tenant = old.tenant AND held.id = old.id
      RETURNING held.tenant, held.id)
  SELECT array_agg(tenant), array_agg(id) INTO tenants, ids FROM gone;
${["inputs", "journal", "signals"]
  .map(
    (part) => `  DELETE FROM ${schema}.execution_${part} AS held USING unnest(tenants, ids) AS gone (tenant, id)
    WHERE held.tenant = gone.tenant AND held.id = gone.id;`,
  )
  .join("\n")}
  RETURN coalesce(cardinality(ids), 0)::text;
END`,
      nestedLoops,
    ),
  ];
}

// Whatever the planner believes of the sizes: few rows are looked up by their key, among very many.
const nestedLoops = ["enable_hashjoin = off", "enable_mergejoin = off"];

function takeFunctions(schema: string): readonly FunctionText[] {
  const served = `unnest(p_names, p_versions, p_of_all, p_of_tenant) AS served (name, version, of_all, of_tenant)`;
  const due = (wanted: string, condition: string) => `
      SELECT found.tenant, found.id, found.definition, found.due_at, served.of_all, served.of_tenant
        FROM ${served} CROSS JOIN LATERAL (
          SELECT waiting.tenant, waiting.id, waiting.definition, waiting.due_at FROM ${schema}.executions AS waiting
            WHERE waiting.definition = served.name AND waiting.version = served.version AND waiting.worker IS NULL
              AND waiting.due_at <= p_now ${condition}
            ORDER BY waiting.due_at LIMIT ${wanted} FOR NO KEY UPDATE SKIP LOCKED) AS found`;
  const soonest = (condition: string) => `SELECT min(soonest.due_at) INTO next_at FROM ${served} CROSS JOIN LATERAL (
    SELECT waiting.due_at FROM ${schema}.executions AS waiting
      WHERE waiting.definition = served.name AND waiting.version = served.version AND waiting.worker IS NULL
        AND waiting.due_at IS NOT NULL ${condition}
      ORDER BY waiting.due_at LIMIT 1) AS soonest;`;
  const take = (from: string) => `
      UPDATE ${schema}.executions AS held SET worker = p_worker, fence = held.fence + 1, takes = held.takes + 1
        FROM ${from} WHERE held.tenant = due.tenant AND held.id = due.id
        RETURNING held.tenant, held.id`;
  return [
    // A definition is there once for each of its versions. Limits are null where there are none.
    definer(
      `${schema}.executions_take`,
      "p_worker text, p_ttl_ms bigint, p_clock bigint, p_now bigint, p_limit int, p_names text[], p_versions int[], p_of_all int[], p_of_tenant int[]",
      `
DECLARE
  moment timestamptz := coalesce(to_timestamp(p_clock / 1000.0), clock_timestamp());
  until timestamptz := moment + p_ttl_ms * interval '1 millisecond';
  signaled text;
  freed int := 0;
  tenants text[] := '{}';
  ids text[] := '{}';
  more_tenants text[];
  more_ids text[];
  next_at bigint;
  executions text := '[]';
  limited text;
  ignored text;
BEGIN
  INSERT INTO ${schema}.execution_workers AS worker (id, expires_at) VALUES (p_worker, until)
    ON CONFLICT (id) DO UPDATE SET expires_at = until;
  IF EXISTS (SELECT FROM ${schema}.execution_workers WHERE expires_at <= moment) THEN
    -- What one of them writes at this moment is let go of the next time: until then the worker is known.
    WITH dead AS MATERIALIZED (
      SELECT id FROM ${schema}.execution_workers WHERE expires_at <= moment FOR UPDATE SKIP LOCKED),
    theirs AS (
      SELECT held.tenant, held.id FROM ${schema}.executions AS held JOIN dead ON dead.id = held.worker
        WHERE held.worker IS NOT NULL FOR NO KEY UPDATE OF held SKIP LOCKED),
    free AS (
      UPDATE ${schema}.executions AS held SET worker = NULL FROM theirs
        WHERE held.tenant = theirs.tenant AND held.id = theirs.id RETURNING 1)
    SELECT count(*) INTO freed FROM free;
    DELETE FROM ${schema}.execution_workers WHERE id IN (
      SELECT worker.id FROM ${schema}.execution_workers AS worker
        WHERE worker.expires_at <= moment AND NOT EXISTS (
          SELECT FROM ${schema}.executions AS held WHERE held.worker = worker.id AND held.worker IS NOT NULL)
        FOR UPDATE SKIP LOCKED);
  END IF;

  SELECT coalesce(json_agg(json_build_object('tenant', tenant, 'id', id, 'signals', signals)), '[]')::text INTO signaled
    FROM ${schema}.executions WHERE worker = p_worker AND signals > 0;

  -- Mostly nothing is due, and this is all that there is to do.
  ${soonest("")}
  IF next_at <= p_now THEN
    ${soonest("AND waiting.due_at > p_now")}
  ELSE
    p_limit := 0;
  END IF;
  IF p_limit > 0 AND num_nonnulls(VARIADIC p_of_all || p_of_tenant) = 0 THEN
    WITH due AS MATERIALIZED (${due("p_limit", "")} ORDER BY found.due_at LIMIT p_limit),
    taken AS (${take("due")})
    SELECT array_agg(tenant), array_agg(id) INTO tenants, ids FROM taken;
  ELSIF p_limit > 0 THEN
    -- Whoever counts what is held of a definition waits for whoever is about to hold more of it.
    FOR limited IN SELECT DISTINCT name FROM ${served} WHERE of_all IS NOT NULL OR of_tenant IS NOT NULL ORDER BY name LOOP
      PERFORM pg_advisory_xact_lock(hashtextextended('${schema.replaceAll('"', "")} executions ' || limited, 0));
    END LOOP;
    -- Each time round those are passed over that have come to have no room; what is behind them comes to the fore.
    LOOP
      WITH counted AS MATERIALIZED (
        SELECT held.definition, held.tenant, count(*) AS held
          FROM (SELECT DISTINCT name FROM ${served} WHERE of_all IS NOT NULL OR of_tenant IS NOT NULL) AS served
            JOIN ${schema}.executions AS held ON held.definition = served.name AND held.worker IS NOT NULL
          GROUP BY held.definition, held.tenant),
      found AS MATERIALIZED (${due(
        "p_limit - cardinality(ids)",
        `AND (served.of_all IS NULL
                OR served.of_all > (SELECT coalesce(sum(held), 0) FROM counted WHERE definition = served.name))
              AND (served.of_tenant IS NULL OR NOT EXISTS (
                SELECT FROM counted WHERE counted.definition = served.name AND counted.tenant = waiting.tenant
                  AND counted.held >= served.of_tenant))`,
      )}),
      placed AS (
        SELECT tenant, id, due_at, of_all, of_tenant,
            row_number() OVER (PARTITION BY definition ORDER BY due_at)
              + (SELECT coalesce(sum(held), 0) FROM counted WHERE counted.definition = found.definition) AS place,
            row_number() OVER (PARTITION BY definition, tenant ORDER BY due_at)
              + (SELECT coalesce(sum(held), 0) FROM counted
                  WHERE counted.definition = found.definition AND counted.tenant = found.tenant) AS place_of_tenant
          FROM found),
      due AS MATERIALIZED (
        SELECT tenant, id FROM placed
          WHERE (of_all IS NULL OR place <= of_all) AND (of_tenant IS NULL OR place_of_tenant <= of_tenant)
          ORDER BY due_at LIMIT p_limit - cardinality(ids)),
      taken AS (${take("due")})
      SELECT array_agg(tenant), array_agg(id) INTO more_tenants, more_ids FROM taken;
      EXIT WHEN more_ids IS NULL;
      tenants := tenants || more_tenants;
      ids := ids || more_ids;
      EXIT WHEN cardinality(ids) >= p_limit;
    END LOOP;
  END IF;

  IF coalesce(cardinality(ids), 0) = 0 THEN
    -- That a worker is alive is no loss when the server loses it.
    IF freed = 0 THEN
      ignored := set_config('synchronous_commit', 'off', true);
    END IF;
  ELSE
    -- A statement of its own: it sees what was written until the rows were locked, and nobody writes more.
    SELECT json_agg(json_build_object('tenant', held.tenant, 'id', held.id, 'definition', held.definition,
          'version', held.version, 'startedAt', held.started_at, 'fence', held.fence, 'takes', held.takes, 'retries', held.retries,
          'attempts', held.attempts, 'body', begun.body,
          'signals', CASE WHEN held.signals = 0 THEN '[]' ELSE (SELECT ${signalsOf(schema, "held.tenant", "held.id")}) END,
          'journal', CASE WHEN held.length = 0 THEN '[]' ELSE (
            SELECT json_agg(entry ORDER BY number) FROM ${schema}.execution_journal AS journal
              WHERE journal.tenant = held.tenant AND journal.id = held.id) END) ORDER BY held.due_at)::text
      INTO executions
      FROM unnest(tenants, ids) AS taken (tenant, id)
        JOIN ${schema}.executions AS held ON held.tenant = taken.tenant AND held.id = taken.id
        JOIN ${schema}.execution_inputs AS begun ON begun.tenant = taken.tenant AND begun.id = taken.id;
  END IF;
  RETURN '{"signaled":' || signaled || ',"nextAt":' || coalesce(next_at::text, 'null') || ',"executions":' || executions || '}';
END`,
      nestedLoops,
    ),
    definer(
      `${schema}.executions_leave`,
      "p_worker text",
      `
BEGIN
  PERFORM FROM ${schema}.executions WHERE worker = p_worker ORDER BY tenant, id FOR NO KEY UPDATE;
  UPDATE ${schema}.executions SET worker = NULL WHERE worker = p_worker;
  DELETE FROM ${schema}.execution_workers WHERE id = p_worker;
  RETURN NULL;
END`,
    ),
  ];
}

const signalsOf = (schema: string, tenant: string, id: string) => `coalesce(json_agg(
    json_build_object('name', signal.name, 'payload', signal.payload) ORDER BY signal.number), '[]')
  FROM ${schema}.execution_signals AS signal WHERE signal.tenant = ${tenant} AND signal.id = ${id}`;
