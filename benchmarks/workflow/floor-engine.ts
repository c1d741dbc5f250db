import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { rowsOf } from "../command/changes.ts";
import { type RunsContender, runsContender, type WorkflowSetting } from "./runs.ts";

const schema = (role: string) => `
CREATE ROLE "${role}" LOGIN;
CREATE SCHEMA floor;
GRANT USAGE ON SCHEMA floor TO "${role}";
CREATE TABLE floor.executions (
  tenant text COLLATE "C", id text COLLATE "C", definition text NOT NULL, input jsonb NOT NULL, worker text, fence int NOT NULL,
  length int NOT NULL, ended jsonb, PRIMARY KEY (tenant, id)) WITH (fillfactor = 70);
CREATE TABLE floor.journal (
  tenant text COLLATE "C", id text COLLATE "C", number int, entry jsonb NOT NULL, PRIMARY KEY (tenant, id, number));
CREATE TABLE floor.events (
  position bigint GENERATED ALWAYS AS IDENTITY, tenant text COLLATE "C", id text COLLATE "C", type text NOT NULL,
  execution text COLLATE "C" NOT NULL, time timestamptz NOT NULL, body jsonb NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE floor.outbox (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text COLLATE "C" NOT NULL, event_id text NOT NULL);
CREATE TABLE floor.audit (
  tenant text COLLATE "C", id text COLLATE "C", time timestamptz NOT NULL, actor text NOT NULL, operation text NOT NULL,
  body jsonb NOT NULL, PRIMARY KEY (tenant, id));
${["executions", "journal", "events", "outbox", "audit"]
  .map(
    (table) => `
ALTER TABLE floor.${table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE floor.${table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON floor.${table} USING (tenant = current_setting('floor.tenant', true));
GRANT SELECT, INSERT, UPDATE ON floor.${table} TO "${role}";`,
  )
  .join("")}

CREATE FUNCTION floor.tell(p_tenant text, p_id text, p_type text, p_time timestamptz, p_event_id text, p_event jsonb,
  p_actor text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO floor.events (tenant, id, type, execution, time, body)
    VALUES (p_tenant, p_event_id, p_type, p_id, p_time, p_event);
  INSERT INTO floor.outbox (tenant, event_id) VALUES (p_tenant, p_event_id);
  INSERT INTO floor.audit VALUES (p_tenant, p_event_id, p_time, p_actor, p_type, p_event);
END $$;

CREATE FUNCTION floor.start(p_tenant text, p_id text, p_input jsonb, p_worker text, p_time timestamptz, p_event_id text,
  p_event jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE ignored text;
BEGIN
  ignored := set_config('floor.tenant', p_tenant, true);
  INSERT INTO floor.executions VALUES (p_tenant, p_id, 'adding', p_input, p_worker, 1, 0, NULL);
  PERFORM floor.tell(p_tenant, p_id, 'workflow.started', p_time, p_event_id, p_event, 'ann');
END $$;

CREATE FUNCTION floor.record(p_tenant text, p_id text, p_fence int, p_number int, p_entry jsonb)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE ignored text;
BEGIN
  ignored := set_config('floor.tenant', p_tenant, true);
  UPDATE floor.executions SET length = p_number + 1
    WHERE tenant = p_tenant AND id = p_id AND fence = p_fence AND length = p_number AND worker IS NOT NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lost';
  END IF;
  INSERT INTO floor.journal VALUES (p_tenant, p_id, p_number, p_entry);
END $$;

CREATE FUNCTION floor.finish(p_tenant text, p_id text, p_fence int, p_number int, p_entry jsonb, p_end jsonb,
  p_time timestamptz, p_event_id text, p_event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM floor.record(p_tenant, p_id, p_fence, p_number, p_entry);
  UPDATE floor.executions SET ended = p_end, worker = NULL WHERE tenant = p_tenant AND id = p_id;
  PERFORM floor.tell(p_tenant, p_id, 'workflow.completed', p_time, p_event_id, p_event, 'workflows.executions');
END $$;`;

const START = { name: "start", text: "SELECT floor.start($1, $2, $3, $4, $5, $6, $7)" };
const RECORD = { name: "record", text: "SELECT floor.record($1, $2, $3, $4, $5)" };
const FINISH = { name: "finish", text: "SELECT floor.finish($1, $2, $3, $4, $5, $6, $7, $8, $9)" };

/**
 * By hand, as quick as can be: who starts a workflow goes on with it at once; each result is in the journal, under a
 * fence, before the next activity begins, and the last one together with the end, its event, outbox entry and audit row.
 */
export async function floorEngine(setting: WorkflowSetting): Promise<RunsContender> {
  const { database, connections, activities } = setting;
  const role = `${database.name}_floor`;
  await database.pool.query(schema(role));
  const url = new URL(database.url);
  url.username = role;
  const pool = new Pool({ connectionString: url.href, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const run = async (value: number) => {
    const [tenant, id, fence] = ["acme", randomUUID(), 1];
    const told = () => {
      const event = { executionId: id, correlationId: id, traceId: randomUUID(), actor: { type: "user", id: "ann" } };
      return [new Date().toISOString(), randomUUID(), event];
    };
    await pool.query({ ...START, values: [tenant, id, { value }, "worker", ...told()] });
    let sum = { value };
    for (let position = 0; position < activities; position += 1) {
      sum = await add(sum);
      const entry = { position, kind: "activity", name: "add", at: Date.now(), outcome: { type: "value", value: sum } };
      const values = [tenant, id, fence, position, entry];
      if (position < activities - 1) await pool.query({ ...RECORD, values });
      else await pool.query({ ...FINISH, values: [...values, { status: "completed", result: sum }, ...told()] });
    }
    return sum.value;
  };
  return runsContender(setting, {
    subject: "floor",
    note: "by hand: goes on with what it starts at once; fences, but no signals, timers, retries, cancel, take-over",
    run,
    written: () => rowsOf(database.pool, ["floor.executions WHERE ended IS NOT NULL", "floor.journal"]),
    close: () => pool.end(),
  });
}

const add = async ({ value }: { readonly value: number }) => ({ value: value + 1 });
