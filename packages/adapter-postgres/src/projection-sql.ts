import type { StoredContext } from "@armature/core";
import { findFunction } from "./find-sql.ts";
import { definer, type FunctionText, forTenant } from "./function-text.ts";
import { contextSchema, indexColumn, quoteIdentifier, quoteLiteral } from "./identifier.ts";
import type { Roles } from "./roles.ts";

/** A projection's name and a generation, as one text. */
const GENERATION = "projection || ' ' || generation::text";

/** What a context needs for its projections before there can be functions. */
export function projectionSteps(context: StoredContext, roles: Roles) {
  return [
    { name: "projections", once: true, sql: projectionTables(context.name) },
    { name: "access to projections", once: false, sql: projectionAccess(context.name, roles) },
    ...projectionIndexes(context),
  ];
}

/**
 * What projections are kept in. `projections` and `projection_positions` hold nothing of a tenant: how far all of them
 * were read. They are two, so that a batch of events waits for nobody but who pauses, rebuilds or switches.
 */
function projectionTables(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE TABLE ${schema}.projections (
  name text COLLATE "C" PRIMARY KEY,
  revision bigint NOT NULL,
  serving int,
  body jsonb NOT NULL
)`,
    `CREATE TABLE ${schema}.projection_positions (
  projection text COLLATE "C" NOT NULL,
  generation int NOT NULL,
  positions jsonb NOT NULL,
  PRIMARY KEY (projection, generation)
) WITH (fillfactor = 50)`,
    `CREATE TABLE ${schema}.projection_rows (
  tenant text COLLATE "C" NOT NULL,
  projection text COLLATE "C" NOT NULL,
  generation int NOT NULL,
  id text COLLATE "C" NOT NULL,
  body jsonb NOT NULL,
  idx jsonb NOT NULL,
  PRIMARY KEY (tenant, projection, generation, id)
) WITH (fillfactor = 85)`,
    // For a generation that is over, which goes a batch at a time. By an expression that nothing else asks for: over
    // its plain columns a planner without statistics would look up single rows in it.
    `CREATE INDEX ON ${schema}.projection_rows ((${GENERATION}))`,
    ...["projections", "projection_positions", "projection_rows"].flatMap((table) => [
      `ALTER TABLE ${schema}.${table} ENABLE ROW LEVEL SECURITY`,
      `ALTER TABLE ${schema}.${table} FORCE ROW LEVEL SECURITY`,
    ]),
    `CREATE POLICY tenant ON ${schema}.projection_rows
  USING (tenant = nullif(current_setting('armature.tenant', true), ''))
  WITH CHECK (tenant = nullif(current_setting('armature.tenant', true), ''))`,
  ];
}

/** Tenants' calls read rows of their tenant and which generation is read; only the relay's role writes. */
function projectionAccess(context: string, roles: Roles): readonly string[] {
  const schema = contextSchema(context);
  const [owner, relay] = [quoteIdentifier(roles.owner), quoteIdentifier(roles.relay)];
  return [
    `GRANT SELECT ON ${schema}.projections, ${schema}.projection_rows TO ${owner}`,
    `DROP POLICY IF EXISTS owner ON ${schema}.projections`,
    `CREATE POLICY owner ON ${schema}.projections FOR SELECT TO ${owner} USING (true)`,
    ...["projections", "projection_positions", "projection_rows"].flatMap((table) => [
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.${table} TO ${relay}`,
      `DROP POLICY IF EXISTS relay ON ${schema}.${table}`,
      `CREATE POLICY relay ON ${schema}.${table} FOR ALL TO ${relay} USING (true)`,
    ]),
  ];
}

/** What makes each index field of each projection findable: a column, for the reason that aggregates' are. */
function projectionIndexes({ name: context, projections = [] }: StoredContext) {
  const table = `${contextSchema(context)}.projection_rows`;
  return projections.flatMap(({ name, index }) =>
    index.map((field) => {
      const column = quoteIdentifier(indexColumn(field));
      const sql = [
        `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${column} text COLLATE "C"
  GENERATED ALWAYS AS (coalesce(idx ->> ${quoteLiteral(field)}, '')) STORED`,
        `CREATE INDEX ON ${table} (tenant, generation, ${column}, id) WHERE projection = ${quoteLiteral(name)}`,
      ];
      return { name: `index of projection ${name} ${indexColumn(field)}`, once: true, sql };
    }),
  );
}

/** What queries of a tenant read. Without a generation that is read there is no answer. */
export function projectionQueries(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    findFunction({
      name: `${schema}.find_rows`,
      table: `${schema}.projection_rows`,
      declare: "served int;",
      before: `SELECT serving INTO served FROM ${schema}.projections WHERE name = p_query ->> 'projection';`,
      after: "IF served IS NULL THEN answer := NULL; END IF;",
      among: "projection = $3 AND generation = $4",
      values: "p_query ->> 'projection', served",
      found: "json_build_object('id', id, 'row', body)",
    }),
    forTenant(`${schema}.one_row`, "p_projection text, p_id text", {
      declare: "served int;",
      body: `
  SELECT serving INTO served FROM ${schema}.projections WHERE name = p_projection;
  IF served IS NOT NULL THEN
    answer := json_build_object('row', (SELECT body FROM ${schema}.projection_rows
      WHERE tenant = p_tenant AND projection = p_projection AND generation = served AND id = p_id))::text;
  END IF;`,
    }),
  ];
}

/** What keeps projections up to date, over all tenants. */
export function projectionFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    definer(
      `${schema}.projection_read`,
      "p_name text",
      `
BEGIN
  RETURN (SELECT json_build_object('revision', revision, 'serving', serving, 'body', body, 'positions', (
      SELECT coalesce(json_object_agg(generation, positions), '{}') FROM ${schema}.projection_positions
        WHERE projection = p_name))::text
    FROM ${schema}.projections WHERE name = p_name);
END`,
    ),
    definer(
      `${schema}.projection_write`,
      "p_name text, p_expected bigint, p_serving int, p_body jsonb",
      `
BEGIN
  IF p_expected = 0 THEN
    INSERT INTO ${schema}.projections (name, revision, serving, body) VALUES (p_name, 1, p_serving, p_body)
      ON CONFLICT DO NOTHING;
  ELSE
    UPDATE ${schema}.projections SET revision = p_expected + 1, serving = p_serving, body = p_body
      WHERE name = p_name AND revision = p_expected;
  END IF;
  RETURN found::text;
END`,
    ),
    definer(
      `${schema}.projection_load`,
      "p_name text, p_generation int, p_refs jsonb",
      `
DECLARE
  ref jsonb;
  found_one text;
  found_all text[] := '{}';
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_refs) - 1 LOOP
    ref := p_refs -> i;
    SELECT body INTO found_one FROM ${schema}.projection_rows
      WHERE tenant = ref ->> 'tenant' AND projection = p_name AND generation = p_generation AND id = ref ->> 'id';
    found_all := found_all || coalesce(found_one, 'null');
  END LOOP;
  RETURN '[' || array_to_string(found_all, ',') || ']';
END`,
    ),
    // The positions are compared and written by one statement on one row, so of two writers with the same view one
    // waits and then finds that they have moved on. The revision is held until the end: who pauses or switches waits
    // for the batches under way, and those that come after it write nothing.
    definer(
      `${schema}.projection_commit`,
      "p_name text, p_batch jsonb",
      `
DECLARE
  which int := (p_batch ->> 'generation')::int;
  change jsonb;
BEGIN
  PERFORM FROM ${schema}.projections WHERE name = p_name AND revision = (p_batch ->> 'revision')::bigint FOR SHARE;
  IF NOT found THEN
    RETURN 'false';
  END IF;
  IF p_batch ? 'before' THEN
    UPDATE ${schema}.projection_positions SET positions = p_batch -> 'positions'
      WHERE projection = p_name AND generation = which AND positions = p_batch -> 'before';
  ELSE
    INSERT INTO ${schema}.projection_positions (projection, generation, positions)
      VALUES (p_name, which, p_batch -> 'positions') ON CONFLICT DO NOTHING;
  END IF;
  IF NOT found THEN
    RETURN 'false';
  END IF;
  FOR i IN 0 .. jsonb_array_length(p_batch -> 'rows') - 1 LOOP
    change := p_batch -> 'rows' -> i;
    IF change ? 'write' THEN
      INSERT INTO ${schema}.projection_rows (tenant, projection, generation, id, body, idx)
        VALUES (change ->> 'tenant', p_name, which, change ->> 'id', change -> 'write' -> 'row', change -> 'write' -> 'index')
        ON CONFLICT (tenant, projection, generation, id) DO UPDATE SET body = excluded.body, idx = excluded.idx;
    ELSE
      DELETE FROM ${schema}.projection_rows
        WHERE tenant = change ->> 'tenant' AND projection = p_name AND generation = which AND id = change ->> 'id';
    END IF;
  END LOOP;
  RETURN 'true';
END`,
    ),
    definer(
      `${schema}.projection_drop`,
      "p_name text, p_generation int, p_limit int",
      `
DECLARE
  dropped bigint;
BEGIN
  DELETE FROM ${schema}.projection_rows WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${schema}.projection_rows WHERE ${GENERATION} = p_name || ' ' || p_generation::text LIMIT p_limit));
  GET DIAGNOSTICS dropped = ROW_COUNT;
  IF dropped < p_limit THEN
    DELETE FROM ${schema}.projection_positions WHERE projection = p_name AND generation = p_generation;
  END IF;
  RETURN dropped::text;
END`,
    ),
  ];
}
