import { guarded } from "./commit-sql.ts";
import { sqlState } from "./errors.ts";
import { definer, type FunctionText, inner } from "./function-text.ts";
import { contextSchema, quoteLiteral } from "./identifier.ts";
import { loaded } from "./query-sql.ts";

/**
 * One commit over several contexts, in one statement. Its guards run in a block of their own: when one of them is
 * taken, the ones claimed before it are undone and nothing has been written.
 */
function commitOfAll(contexts: readonly string[]): FunctionText {
  return inner(
    "armature.commit_parts",
    "p_tenant text, p_parts jsonb",
    `
DECLARE
  part jsonb;
  answer text;
  ignored text;
  claims bool := false;
BEGIN
  ignored := set_config('armature.tenant', p_tenant, true);
  FOR i IN 0 .. jsonb_array_length(p_parts) - 1 LOOP
    part := p_parts -> i;
    claims := claims OR ${guarded("part")};
  END LOOP;
  IF claims THEN
    BEGIN
      FOR i IN 0 .. jsonb_array_length(p_parts) - 1 LOOP
        part := p_parts -> i;${dispatch("part", contexts, (schema) => `answer := ${schema}.guard(p_tenant, part)`)}
        IF answer IS NOT NULL THEN
          RAISE EXCEPTION USING ERRCODE = '${sqlState.refused}';
        END IF;
      END LOOP;
    EXCEPTION WHEN SQLSTATE '${sqlState.refused}' THEN
      NULL;
    END;
  END IF;
  IF answer IS NULL THEN
    FOR i IN 0 .. jsonb_array_length(p_parts) - 1 LOOP
      part := p_parts -> i;${dispatch("part", contexts, (schema) => `ignored := ${schema}.write(p_tenant, part)`)}
    END LOOP;
  END IF;
  ignored := set_config('armature.tenant', '', true);
  RETURN answer;
END`,
  );
}

const sharedCommit: FunctionText = definer(
  "armature.commit",
  "p_tenant text, p_parts jsonb",
  `
BEGIN
  RETURN armature.commit_parts(p_tenant, p_parts);
END`,
);

/** The same as part of something larger: an error is undone up to here and given as an answer, without a value of a row. */
const tryCommit: FunctionText = inner(
  "armature.try_commit",
  "p_tenant text, p_parts jsonb",
  `
DECLARE
  state text;
  detail text;
  schema_name text;
  table_name text;
  constraint_name text;
BEGIN
  BEGIN
    RETURN armature.commit_parts(p_tenant, p_parts);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, schema_name = SCHEMA_NAME,
      table_name = TABLE_NAME, constraint_name = CONSTRAINT_NAME;
  END;
  RETURN json_build_object('status', 'refused', 'code', state, 'schema', schema_name, 'table', table_name,
    'constraint', constraint_name, 'detail', CASE state WHEN '${sqlState.versionConflict}' THEN detail ELSE '' END);
END`,
);

/** Inside a transaction of the host's, and in no other: what the host did before must not go when we are refused. */
const commitWithin: FunctionText = definer(
  "armature.commit_within",
  "p_transaction text, p_tenant text, p_parts jsonb",
  `
BEGIN
  IF pg_current_xact_id()::text <> p_transaction THEN
    RETURN '{"status":"elsewhere"}';
  END IF;
  RETURN armature.try_commit(p_tenant, p_parts);
END`,
);

/** How long calls that share a round trip wait for a lock, all of them together; then those that need it go by themselves. */
const LOCK_TIMEOUT_MS = 100;

/**
 * Commits of several calls, each all or nothing. They are durable together, and hold their locks until then: so none of
 * them waits long for another transaction's.
 */
const commitTogether: FunctionText = definer(
  "armature.commit_together",
  "p_commits jsonb",
  `
DECLARE
  each jsonb;
  answer text;
  answers text[] := '{}';
  ignored text;
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_commits) - 1 LOOP
    each := p_commits -> i;
    answer := armature.try_commit(each ->> 'tenant', each -> 'parts');
    IF answer IS NULL THEN
      answer := 'null';
    ELSIF position('"${sqlState.lockTimeout}"' in answer) > 0 THEN
      -- One has waited for all of them. The setting is the function's own, and goes with it.
      ignored := set_config('lock_timeout', '1', true);
    END IF;
    answers := answers || answer;
  END LOOP;
  RETURN '[' || array_to_string(answers, ',') || ']';
END`,
  [`lock_timeout = ${LOCK_TIMEOUT_MS}`],
);

/** Loads of several calls, an aggregate each. */
function loadTogether(contexts: readonly string[]): FunctionText {
  return definer(
    "armature.load_together",
    "p_loads jsonb",
    `
DECLARE
  each jsonb;
  answer text;
  answers text[] := '{}';
  ignored text;
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_loads) - 1 LOOP
    each := p_loads -> i;
    answer := NULL;
    ignored := set_config('armature.tenant', each ->> 'tenant', true);
    ${dispatch("each", contexts, (schema) => loaded(schema, "each ->> 'tenant'", "each ->> 'type'", "each ->> 'id'"))}
    answers := answers || coalesce(answer, 'null');
  END LOOP;
  ignored := set_config('armature.tenant', '', true);
  RETURN '[' || array_to_string(answers, ',') || ']';
END`,
    [`lock_timeout = ${LOCK_TIMEOUT_MS}`],
  );
}

/** What is called of all contexts together, and what of it a host's role may call. */
export function functionsOfAll(contexts: readonly string[]) {
  const functions = [
    commitOfAll(contexts),
    sharedCommit,
    tryCommit,
    commitWithin,
    commitTogether,
    loadTogether(contexts),
  ];
  return { functions, forHosts: [commitWithin] };
}

/** Goes on with the function of the context that `part` names. */
function dispatch(part: string, contexts: readonly string[], call: (schema: string) => string): string {
  return `
      CASE ${part} ->> 'context'
${contexts.map((context) => `        WHEN ${quoteLiteral(context)} THEN ${call(contextSchema(context))};`).join("\n")}
        ELSE RAISE EXCEPTION USING ERRCODE = '${sqlState.unknownContext}', MESSAGE = 'unknown context';
      END CASE;`;
}
