import { findFunction } from "./find-sql.ts";
import { type FunctionText, forTenant } from "./function-text.ts";
import { contextSchema, quoteLiteral } from "./identifier.ts";
import { COUNTER_SHARDS } from "./schema-sql.ts";

/** A time as `Instant`. */
function instant(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

/** A row of a context's events as `StoredEvent`. */
export function storedEvent(context: string, row: string): string {
  return `(jsonb_build_object('id', ${row}.id, 'tenant', ${row}.tenant, 'context', ${quoteLiteral(context)},
    'type', ${row}.type, 'aggregateType', ${row}.aggregate_type, 'aggregateId', ${row}.aggregate_id,
    'aggregateVersion', ${row}.aggregate_version, 'time', ${instant(`${row}.time`)}) || ${row}.body)`;
}

/** A row of a context's audit as `AuditRow`. */
function auditRow(context: string, row: string): string {
  return `(jsonb_build_object('id', ${row}.id, 'tenant', ${row}.tenant, 'context', ${quoteLiteral(context)},
    'time', ${instant(`${row}.time`)}, 'operation', ${row}.operation, 'outcome', ${row}.outcome) || ${row}.body)`;
}

/** Puts an aggregate that there is into `answer`, without what whoever asks for it knows. Built by hand: it is read at every command. */
export function loaded(schema: string, tenant: string, type: string, id: string): string {
  return `SELECT '{"version":' || version || ',"stateVersion":' || state_version || ',"state":' || state || '}'
      INTO answer
      FROM ${schema}.aggregates
      WHERE tenant = ${tenant} AND type = ${type} AND id = ${id}`;
}

/**
 * How a context reads. Where the conditions vary, the statement is put together from what is asked: names by `%I`,
 * values only as parameters.
 */
export function queryFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    forTenant(`${schema}.load_one`, "p_type text, p_id text", {
      body: `${loaded(schema, "p_tenant", "p_type", "p_id")};`,
    }),
    // One lookup for each. Joined to the list instead, row-level security would keep the planner from looking up by
    // type and id: `->>` on a column is not leakproof, on a variable it does not matter.
    forTenant(`${schema}.load`, "p_refs jsonb", {
      declare: `
  ref jsonb;
  found_all text[] := '{}';`,
      body: `
  FOR i IN 0 .. jsonb_array_length(p_refs) - 1 LOOP
    ref := p_refs -> i;
    answer := NULL;
    ${loaded(schema, "p_tenant", "ref ->> 'type'", "ref ->> 'id'")};
    found_all := found_all || coalesce(answer, 'null');
  END LOOP;
  answer := '[' || array_to_string(found_all, ',') || ']';`,
    }),
    findFunction({
      name: `${schema}.find`,
      table: `${schema}.aggregates`,
      among: "type = $3",
      values: "p_query ->> 'type'",
      found: `json_build_object('type', type, 'id', id, 'version', version,
          'stateVersion', state_version, 'state', state)`,
    }),
    forTenant(`${schema}.list_events`, "p_query jsonb", {
      declare: `
  conditions text := 'tenant = $1';
  beyond text := CASE p_query ->> 'direction' WHEN 'desc' THEN '<' ELSE '>' END;
  sorted text := CASE WHEN p_query ? 'aggregate' THEN 'aggregate_version' ELSE 'id' END;`,
      body: `
  IF p_query ? 'aggregate' THEN
    conditions := conditions || ' AND aggregate_type = ($2 -> ''aggregate'' ->> ''type'')'
      || ' AND aggregate_id = ($2 -> ''aggregate'' ->> ''id'')';
  END IF;
  IF p_query ? 'types' THEN
    conditions := conditions || ' AND type = ANY (ARRAY(SELECT jsonb_array_elements_text($2 -> ''types'')))';
  END IF;
  IF p_query ? 'after' THEN
    conditions := conditions || format(' AND %I %s ($2 ->> ''after'')%s', sorted, beyond,
      CASE sorted WHEN 'id' THEN '' ELSE '::int' END);
  END IF;
  EXECUTE format('SELECT coalesce(json_agg(page.event), ''[]'')::text FROM (
      SELECT ${storedEvent(context, "events").replaceAll("'", "''")} AS event
        FROM ${schema}.events WHERE %s ORDER BY %I %s LIMIT ($2 ->> ''limit'')::int + 1) AS page',
      conditions, sorted, CASE beyond WHEN '<' THEN 'DESC' ELSE 'ASC' END)
    INTO answer USING p_tenant, p_query;`,
    }),
    forTenant(`${schema}.list_audit`, "p_query jsonb", {
      declare: `
  conditions text := 'tenant = $1';
  ascending boolean := p_query ->> 'direction' = 'asc';`,
      body: `
  IF p_query ? 'after' THEN
    conditions := conditions || format(' AND id %s ($2 ->> ''after'')', CASE WHEN ascending THEN '>' ELSE '<' END);
  END IF;
  IF p_query ? 'actorId' THEN conditions := conditions || ' AND actor_id = ($2 ->> ''actorId'')'; END IF;
  IF p_query ? 'operation' THEN conditions := conditions || ' AND operation = ($2 ->> ''operation'')'; END IF;
  IF p_query ? 'outcome' THEN conditions := conditions || ' AND outcome = ($2 ->> ''outcome'')'; END IF;
  IF p_query ? 'since' THEN conditions := conditions || ' AND time >= ($2 ->> ''since'')::timestamptz'; END IF;
  IF p_query ? 'until' THEN conditions := conditions || ' AND time < ($2 ->> ''until'')::timestamptz'; END IF;
  EXECUTE format('SELECT coalesce(json_agg(page.entry), ''[]'')::text FROM (
      SELECT ${auditRow(context, "audit").replaceAll("'", "''")} AS entry
        FROM ${schema}.audit WHERE %s ORDER BY id %s LIMIT ($2 ->> ''limit'')::int + 1) AS page',
      conditions, CASE WHEN ascending THEN 'ASC' ELSE 'DESC' END)
    INTO answer USING p_tenant, p_query;`,
    }),
    // A counter has at most COUNTER_SHARDS rows, so these hold all of the page's counters; one that is cut off comes behind.
    forTenant(`${schema}.list_counters`, "p_gte text, p_lt text, p_after text, p_limit int", {
      body: `
  SELECT coalesce(json_agg(json_build_object('key', sums.key, 'numbers', sums.numbers) ORDER BY sums.key), '[]')::text
    INTO answer
    FROM (SELECT named.key, json_object_agg(named.name, named.total) AS numbers
      FROM (SELECT held.key, each.key AS name, sum(each.value::numeric) AS total
        FROM (SELECT key, numbers FROM ${schema}.counters
            WHERE tenant = p_tenant AND key >= p_gte AND key < p_lt AND key > p_after
            ORDER BY key LIMIT p_limit * ${COUNTER_SHARDS}) AS held
          CROSS JOIN jsonb_each_text(held.numbers) AS each
        GROUP BY held.key, each.key) AS named
      GROUP BY named.key ORDER BY named.key LIMIT p_limit) AS sums;`,
    }),
    ...recordFunctions(schema),
  ];
}

/** Single values with compare-and-set. */
function recordFunctions(schema: string): readonly FunctionText[] {
  return [
    forTenant(`${schema}.record_get`, "p_key text", {
      body: `
  SELECT json_build_object('version', version, 'value', value)::text INTO answer
    FROM ${schema}.records WHERE tenant = p_tenant AND key = p_key;`,
    }),
    forTenant(`${schema}.record_put`, "p_key text, p_value jsonb, p_expected int", {
      body: `
  IF p_expected = 0 THEN
    INSERT INTO ${schema}.records (tenant, key, version, value) VALUES (p_tenant, p_key, 1, p_value)
      ON CONFLICT DO NOTHING;
  ELSE
    UPDATE ${schema}.records SET version = p_expected + 1, value = p_value
      WHERE tenant = p_tenant AND key = p_key AND version = p_expected;
  END IF;
  answer := found::text;`,
    }),
    forTenant(`${schema}.record_delete`, "p_key text", {
      body: `DELETE FROM ${schema}.records WHERE tenant = p_tenant AND key = p_key;`,
    }),
    // No key with the prefix lies above the prefix followed by the highest of all characters to the full length.
    forTenant(`${schema}.record_list`, "p_prefix text, p_after text, p_limit int", {
      declare: "highest text := p_prefix || repeat(chr(1114111), 512);",
      body: `
  SELECT coalesce(json_agg(page.key), '[]')::text INTO answer FROM (
    SELECT key FROM ${schema}.records
      WHERE tenant = p_tenant AND key >= p_prefix AND key > p_after AND key <= highest
      ORDER BY key LIMIT p_limit) AS page;`,
    }),
  ];
}
