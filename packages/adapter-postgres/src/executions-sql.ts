import { sqlState } from "./errors.ts";
import { type FunctionText, forTenant, inner } from "./function-text.ts";
import { contextSchema } from "./identifier.ts";
import { executionTableNames, ofOneTenant } from "./schema-sql.ts";

/**
 * Durable executions of one context. What changes with every step is apart from what an execution was begun with, so
 * that each step rewrites a narrow row; and no index knows of what a step changes while its worker goes on.
 */
export function executionTables(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    // It is under way until `ended_at`, and held while it has a worker.
    `CREATE TABLE ${schema}.executions (
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  definition text COLLATE "C" NOT NULL,
  version int NOT NULL,
  started_at bigint NOT NULL,
  due_at bigint,
  worker text COLLATE "C",
  fence bigint NOT NULL DEFAULT 0,
  takes int NOT NULL DEFAULT 0,
  retries int NOT NULL DEFAULT 0,
  length int NOT NULL DEFAULT 0,
  signals int NOT NULL DEFAULT 0,
  attempts jsonb NOT NULL DEFAULT '{}',
  ended jsonb,
  ended_at bigint,
  PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70)`,
    `CREATE TABLE ${schema}.execution_inputs (
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  body jsonb NOT NULL,
  PRIMARY KEY (tenant, id)
)`,
    `CREATE TABLE ${schema}.execution_journal (
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  number int NOT NULL,
  entry jsonb NOT NULL,
  PRIMARY KEY (tenant, id, number)
)`,
    `CREATE TABLE ${schema}.execution_signals (
  tenant text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  number int NOT NULL,
  payload jsonb NOT NULL,
  PRIMARY KEY (tenant, id, name)
)`,
    `CREATE TABLE ${schema}.execution_workers (
  id text COLLATE "C" PRIMARY KEY,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 25)`,
    // Those that wait for a signal alone, are held or have ended are in none that is looked through for what is due.
    `CREATE INDEX executions_due ON ${schema}.executions (definition, version, due_at)
  WHERE worker IS NULL AND due_at IS NOT NULL`,
    `CREATE INDEX executions_held ON ${schema}.executions (definition, tenant, worker) WHERE worker IS NOT NULL`,
    `CREATE INDEX executions_signaled ON ${schema}.executions (worker) WHERE worker IS NOT NULL AND signals > 0`,
    `CREATE INDEX executions_ended ON ${schema}.executions (ended_at) WHERE ended_at IS NOT NULL`,
    ...executionTableNames.flatMap((table) => ofOneTenant(schema, table)),
    // They say nothing of any tenant, and only the relay's role may see them.
    `ALTER TABLE ${schema}.execution_workers ENABLE ROW LEVEL SECURITY`,
    `ALTER TABLE ${schema}.execution_workers FORCE ROW LEVEL SECURITY`,
  ];
}

/** What a tenant's commits do with executions, and what it may see of them. */
export function executionFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    // Rows are locked in the order of ids, as workers lock them.
    inner(
      `${schema}.write_executions`,
      "p_tenant text, p_changes jsonb",
      `
DECLARE
  change jsonb;
  item jsonb;
  p_id text;
  kept_length int;
  ${writeVariables}
BEGIN
  FOR i IN 0 .. jsonb_array_length(p_changes) - 1 LOOP
    change := p_changes -> i;
    IF change ->> 'step' = 'start' THEN
      item := change -> 'execution';
      INSERT INTO ${schema}.executions (tenant, id, definition, version, started_at, due_at)
      VALUES (p_tenant, item ->> 'id', item ->> 'definition', (item ->> 'version')::int, (item ->> 'startedAt')::bigint,
        (item ->> 'startedAt')::bigint)
      ON CONFLICT DO NOTHING;
      IF FOUND THEN
        INSERT INTO ${schema}.execution_inputs (tenant, id, body) VALUES (p_tenant, item ->> 'id', item -> 'body');
      END IF;
    ELSIF change ->> 'step' = 'write' THEN
      item := change -> 'write';
      ${writeExecution(schema, "p_tenant")}
      IF outcome <> 'written' THEN
        RAISE EXCEPTION USING ERRCODE = '${sqlState.executionLost}', MESSAGE = 'execution lost';
      END IF;
    ELSIF change ->> 'step' = 'signal' THEN
      p_id := change ->> 'id';
      PERFORM FROM ${schema}.executions WHERE tenant = p_tenant AND id = p_id AND ended_at IS NULL FOR NO KEY UPDATE;
      IF FOUND THEN
        INSERT INTO ${schema}.execution_signals (tenant, id, name, number, payload)
        SELECT p_tenant, p_id, change #>> '{signal,name}', coalesce(max(number) + 1, 0), change #> '{signal,payload}'
          FROM ${schema}.execution_signals WHERE tenant = p_tenant AND id = p_id
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
          UPDATE ${schema}.executions
            SET signals = signals + 1, due_at = CASE WHEN worker IS NULL THEN 0 ELSE due_at END
            WHERE tenant = p_tenant AND id = p_id;
        END IF;
      END IF;
    ELSE
      p_id := change ->> 'id';
      UPDATE ${schema}.executions
        SET length = (ended ->> 'retryFrom')::int, ended = NULL, ended_at = NULL, due_at = (change ->> 'at')::bigint,
            takes = 0, retries = retries + 1
        WHERE tenant = p_tenant AND id = p_id AND ended ->> 'status' = 'failed' AND ended ? 'retryFrom'
        RETURNING length INTO kept_length;
      IF FOUND THEN
        DELETE FROM ${schema}.execution_journal WHERE tenant = p_tenant AND id = p_id AND number >= kept_length;
        DELETE FROM ${schema}.execution_signals WHERE tenant = p_tenant AND id = p_id AND name = '$cancel';
        IF FOUND THEN
          UPDATE ${schema}.executions SET signals = signals - 1 WHERE tenant = p_tenant AND id = p_id;
        END IF;
      END IF;
    END IF;
  END LOOP;
  RETURN NULL;
END`,
    ),
    forTenant(`${schema}.execution`, "p_id text", {
      body: `
  SELECT json_build_object('definition', definition, 'version', version, 'startedAt', started_at, 'dueAt', due_at,
      'held', worker IS NOT NULL, 'length', length, 'attempts', attempts, 'end', ended, 'endedAt', ended_at)::text
    INTO answer
    FROM ${schema}.executions WHERE tenant = p_tenant AND id = p_id;`,
    }),
    forTenant(`${schema}.list_journal`, "p_id text, p_from int, p_limit int", {
      body: `
  SELECT coalesce(json_agg(page.entry ORDER BY page.number), '[]')::text INTO answer
    FROM (SELECT number, entry FROM ${schema}.execution_journal
      WHERE tenant = p_tenant AND id = p_id AND number >= p_from ORDER BY number LIMIT p_limit) AS page;`,
    }),
  ];
}

/** What {@link writeExecution} works with, beside `item`, the write. */
export const writeVariables = `entries jsonb;
  added int;
  known int;
  outcome text;`;

/**
 * Writes `item` down, and says in `outcome` what came of it: `written`; `lost` when somebody else has it; `ahead`, which
 * is lost as well, when the journal is not as long as the worker believes. Entries that are there already are those of
 * a write whose answer the worker never got: nobody else can have written under its fence.
 */
export function writeExecution(schema: string, tenant: string): string {
  const held = `tenant = ${tenant} AND id = item ->> 'id' AND fence = (item ->> 'fence')::bigint AND worker IS NOT NULL`;
  return `entries := item -> 'entries';
      known := (item ->> 'length')::int;
      LOOP
        added := jsonb_array_length(entries);
        UPDATE ${schema}.executions
          SET length = length + added,
              takes = CASE WHEN added > 0 OR item ? 'seen' OR item ? 'ended' THEN 0 ELSE takes END,
              attempts = CASE WHEN item ? 'ended' THEN '{}' ELSE coalesce(item -> 'attempts', attempts) END,
              worker = CASE WHEN item ? 'seen' OR item ? 'ended' THEN NULL ELSE worker END,
              due_at = CASE WHEN item ? 'ended' THEN NULL WHEN NOT item ? 'seen' THEN due_at
                WHEN signals > (item ->> 'seen')::bigint THEN 0 ELSE (item ->> 'dueAt')::bigint END,
              ended = item -> 'ended', ended_at = (item ->> 'endedAt')::bigint
          WHERE ${held} AND (length = known OR added = 0);
        IF FOUND THEN
          IF added = 1 THEN
            INSERT INTO ${schema}.execution_journal (tenant, id, number, entry)
            VALUES (${tenant}, item ->> 'id', known, entries -> 0);
          ELSIF added > 0 THEN
            INSERT INTO ${schema}.execution_journal (tenant, id, number, entry)
            SELECT ${tenant}, item ->> 'id', known + each.place - 1, each.entry
              FROM jsonb_array_elements(entries) WITH ORDINALITY AS each (entry, place);
          END IF;
          outcome := 'written';
          EXIT;
        END IF;
        SELECT length - known INTO added FROM ${schema}.executions WHERE ${held} FOR NO KEY UPDATE;
        IF NOT FOUND THEN
          outcome := 'lost';
          EXIT;
        ELSIF added = 0 THEN
          NULL; -- It has come to be so since: once more.
        ELSIF added < 0 OR added > jsonb_array_length(entries) THEN
          outcome := 'ahead';
          EXIT;
        ELSE
          known := known + added;
          FOR written IN 1 .. added LOOP
            entries := entries - 0;
          END LOOP;
        END IF;
      END LOOP;`;
}
