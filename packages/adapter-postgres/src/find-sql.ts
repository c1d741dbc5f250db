import { type FunctionText, forTenant } from "./function-text.ts";

interface Search {
  readonly name: string;
  readonly table: string;
  /** Worked out first. */
  readonly before?: string;
  /** Worked out last: it may take the answer back. */
  readonly after?: string;
  readonly declare?: string;
  /** Which of the tenant's rows are searched, by the parameters from $3 on. */
  readonly among: string;
  /** What the parameters from $3 on are, as expressions. */
  readonly values: string;
  /** What is found, as an expression over the table. */
  readonly found: string;
}

/**
 * A search by index fields. The statement is put together from what is asked: names by `%I`, values only as parameters.
 * One row more than the page holds tells whether there is another page. "key" is where the next one starts.
 */
export function findFunction({
  name,
  table,
  before = "",
  after = "",
  declare = "",
  among,
  values,
  found,
}: Search): FunctionText {
  return forTenant(name, "p_query jsonb", {
    declare: `
  conditions text := 'tenant = $1 AND ${among}';
  sorted text := '''''';
  ordering text := 'id';
  beyond text := CASE p_query ->> 'direction' WHEN 'desc' THEN '<' ELSE '>' END;
  field text;
  ${declare}`,
    body: `
  ${before}
  FOR field IN SELECT jsonb_object_keys(p_query -> 'where') LOOP
    conditions := conditions || format(' AND %I = ($2 -> ''where'' ->> %L)', 'ix_' || field, field);
  END LOOP;
  IF p_query ? 'range' THEN
    field := 'ix_' || (p_query -> 'range' ->> 'field');
    -- Every encoded value is at or above '0'; a row that was stored before the field was declared is not.
    conditions := conditions || format(' AND %I >= coalesce($2 -> ''range'' ->> ''gte'', ''0'')', field);
    IF p_query -> 'range' ? 'lt' THEN
      conditions := conditions || format(' AND %I < ($2 -> ''range'' ->> ''lt'')', field);
    END IF;
  END IF;
  IF p_query ? 'orderBy' THEN
    sorted := format('%I', 'ix_' || (p_query ->> 'orderBy'));
    ordering := sorted || ', id';
    IF p_query ? 'after' THEN
      conditions := conditions || format(' AND (%s, id) %s ($2 -> ''after'' ->> 0, $2 -> ''after'' ->> 1)', sorted, beyond);
    END IF;
  ELSIF p_query ? 'after' THEN
    conditions := conditions || format(' AND id %s ($2 -> ''after'' ->> 1)', beyond);
  END IF;
  IF beyond = '<' THEN
    ordering := replace(ordering, ', id', ' DESC, id') || ' DESC';
  END IF;
  EXECUTE format('SELECT coalesce(json_agg(json_build_object(''key'', page.key, ''found'', page.found)), ''[]'')::text FROM (
      SELECT json_build_array(%s, id) AS key, ${found.replaceAll("'", "''")} AS found
        FROM ${table} WHERE %s ORDER BY %s LIMIT ($2 ->> ''limit'')::int + 1) AS page',
      sorted, conditions, ordering)
    INTO answer USING p_tenant, p_query, ${values};
  ${after}`,
  });
}
