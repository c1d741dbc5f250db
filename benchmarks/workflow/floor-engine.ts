import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { rowsOf } from "../command/changes.ts";
import { type RunsContender, runsContender } from "../runs.ts";
import type { WorkflowSetting } from "./workflow.ts";

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
 * A journal by hand, as quick as can be: each entry is written under a fence, and the last one together with the end, its event,
 * outbox entry and audit row, as the start is with its own.
 */
export async function floorJournal({ name, url, pool: owner }: FreshDatabase, connections: number) {
  const role = `${name}_floor`;
  await owner.query(schema(role));
  const address = new URL(url);
  address.username = role;
  const pool = new Pool({ connectionString: address.href, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const [tenant, fence] = ["acme", 1];
  const told = (id: string) => {
    const event = { executionId: id, correlationId: id, traceId: randomUUID(), actor: { type: "user", id: "ann" } };
    return [new Date().toISOString(), randomUUID(), event];
  };
  return {
    /** Whoever starts one goes on with it. */
    start: (id: string, input: object) => pool.query({ ...START, values: [tenant, id, input, "worker", ...told(id)] }),
    record: (id: string, position: number, name: string, value: object) =>
      pool.query({ ...RECORD, values: [tenant, id, fence, position, entryOf(position, name, value)] }),
    finish: (id: string, position: number, name: string, value: object) => {
      const end = { status: "completed", result: value };
      const values = [tenant, id, fence, position, entryOf(position, name, value), end, ...told(id)];
      return pool.query({ ...FINISH, values });
    },
    written: () => rowsOf(owner, ["floor.executions WHERE ended IS NOT NULL", "floor.journal"]),
    close: () => pool.end(),
  };
}

const entryOf = (position: number, name: string, value: object) => ({
  ...{ position, kind: "activity", name, at: Date.now(), outcome: { type: "value", value } },
});

/** Each result is in the journal before the next activity begins. */
export async function floorEngine(setting: WorkflowSetting): Promise<RunsContender> {
  const { database, connections, steps } = setting;
  const { start, record, finish, written, close } = await floorJournal(database, connections);
  const run = async (value: number) => {
    const id = randomUUID();
    let sum = { value };
    await start(id, sum);
    for (let position = 0; position < steps; position += 1) {
      sum = await add(sum);
      await (position < steps - 1 ? record : finish)(id, position, "add", sum);
    }
    return sum.value;
  };
  return runsContender(setting, {
    subject: "floor",
    note: "by hand: goes on with what it starts at once; fences, but no signals, timers, retries, cancel, take-over",
    ...{ run, written, close },
  });
}

const add = async ({ value }: { readonly value: number }) => ({ value: value + 1 });
