import { sqlState } from "./errors.ts";
import { definer, type FunctionText, forTenant, inner } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";
import { partitionOf } from "./partitions-sql.ts";
import { ofOneTenant } from "./schema-sql.ts";

/** Delayed and recurring commands of one context until they are due. */
export function timerTable(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE TABLE ${schema}.timers (
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  due_at bigint NOT NULL,
  recurrence jsonb,
  command jsonb NOT NULL,
  PRIMARY KEY (tenant, key)
)`,
    // The one that fires looks over all tenants.
    `CREATE INDEX timers_due ON ${schema}.timers (due_at, tenant, key)`,
    `CREATE INDEX timers_of_tenant ON ${schema}.timers (tenant, due_at, key)`,
    ...ofOneTenant(schema, "timers"),
  ];
}

/** What a tenant's commits and lists do with its timers. */
export function timerFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    inner(
      `${schema}.write_timers`,
      "p_tenant text, p_changes jsonb",
      `
DECLARE
  change jsonb;
  timer jsonb;
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_changes) - 1 LOOP
    change := p_changes -> i;
    IF change ->> 'step' = 'set' THEN
      timer := change -> 'timer';
      INSERT INTO ${schema}.timers AS held (tenant, key, due_at, recurrence, command)
      VALUES (p_tenant, timer ->> 'key', (timer ->> 'dueAt')::bigint, timer -> 'recurrence', timer -> 'command')
      ON CONFLICT (tenant, key) DO UPDATE
        SET due_at = CASE WHEN held.recurrence = excluded.recurrence THEN held.due_at ELSE excluded.due_at END,
            recurrence = excluded.recurrence, command = excluded.command;
    ELSE
      DELETE FROM ${schema}.timers WHERE tenant = p_tenant AND key = change ->> 'key';
      IF NOT FOUND AND (change ->> 'required')::boolean THEN
        RAISE EXCEPTION USING ERRCODE = '${sqlState.versionConflict}', MESSAGE = 'version conflict',
          DETAIL = json_build_object('type', 'timer', 'id', change -> 'key');
      END IF;
    END IF;
  END LOOP;
  RETURN NULL;
END`,
    ),
    // Between contexts the order is that of their names, so a page goes on at the same key in those behind.
    forTenant(`${schema}.list_timers`, "p_key text, p_due bigint, p_after text, p_same boolean, p_limit int", {
      body: `
  IF p_key IS NULL THEN
    ${listed(schema, "true")}
  ELSE
    ${listed(schema, "key = p_key")}
  END IF;`,
    }),
  ];
}

// One condition for both would be planned for neither.
function listed(schema: string, condition: string): string {
  return `SELECT coalesce(json_agg(json_build_object('key', page.key, 'dueAt', page.due_at, 'recurrence', page.recurrence,
        'command', page.command) ORDER BY page.due_at, page.key), '[]')::text
      INTO answer
      FROM (SELECT key, due_at, recurrence, command FROM ${schema}.timers
        WHERE tenant = p_tenant AND ${condition}
          AND due_at >= p_due AND (due_at > p_due OR key > p_after OR (p_same AND key = p_after))
        ORDER BY due_at, key LIMIT p_limit) AS page;`;
}

/** What the relay's role does with timers, over all tenants. */
export function timerRelayFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    definer(
      `${schema}.timers_due`,
      "p_now bigint, p_limit int",
      `
BEGIN
  RETURN json_build_object(
    'nextAt', (SELECT min(due_at) FROM ${schema}.timers WHERE due_at > p_now),
    'timers', (SELECT coalesce(json_agg(json_build_object('key', page.key, 'dueAt', page.due_at,
        'recurrence', page.recurrence, 'command', page.command) ORDER BY page.due_at, page.tenant, page.key), '[]')
      FROM (SELECT tenant, key, due_at, recurrence, command FROM ${schema}.timers
        WHERE due_at <= p_now ORDER BY due_at, tenant, key LIMIT p_limit) AS page))::text;
END`,
    ),
    // What was fired, set or removed since it was read has another time or another command, or is gone. The locks are
    // taken in the order in which commits take them, and the messages get their positions in the order of the times.
    definer(
      `${schema}.timers_fire`,
      "p_firings jsonb",
      `
DECLARE
  firing jsonb;
  fired int := 0;
BEGIN
  FOR firing IN SELECT each.value FROM jsonb_array_elements(p_firings) AS each(value)
    ORDER BY each.value ->> 'tenant' COLLATE "C", each.value ->> 'key' COLLATE "C"
  LOOP
    PERFORM FROM ${schema}.timers WHERE tenant = firing ->> 'tenant' AND key = firing ->> 'key' FOR UPDATE;
  END LOOP;
  FOR i IN 0 .. jsonb_array_length(p_firings) - 1 LOOP
    firing := p_firings -> i;
    IF firing ? 'nextAt' THEN
      UPDATE ${schema}.timers SET due_at = (firing ->> 'nextAt')::bigint
        WHERE tenant = firing ->> 'tenant' AND key = firing ->> 'key'
          AND due_at = (firing ->> 'dueAt')::bigint AND command ->> 'id' = firing ->> 'id';
    ELSE
      DELETE FROM ${schema}.timers
        WHERE tenant = firing ->> 'tenant' AND key = firing ->> 'key'
          AND due_at = (firing ->> 'dueAt')::bigint AND command ->> 'id' = firing ->> 'id';
    END IF;
    IF FOUND THEN
      IF firing ? 'message' THEN
        INSERT INTO ${schema}.outbox (tenant, message_id, command, partition)
        VALUES (firing ->> 'tenant', firing -> 'message' ->> 'id', firing -> 'message',
          ${partitionOf("firing ->> 'tenant'", "firing -> 'message' ->> 'id'")});
      END IF;
      fired := fired + 1;
    END IF;
  END LOOP;
  RETURN fired::text;
END`,
    ),
  ];
}
