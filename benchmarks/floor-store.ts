import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import type { FreshDatabase } from "../packages/adapter-postgres/src/fresh-database.ts";
import { type CountInput, countInput, countOutput } from "./counters.ts";

const schema = (role: string) => `
CREATE ROLE "${role}" LOGIN;
CREATE SCHEMA floor;
GRANT USAGE ON SCHEMA floor TO "${role}";
CREATE TABLE floor.counters (
  tenant text COLLATE "C", id text COLLATE "C", version int NOT NULL, value int NOT NULL, note text NOT NULL,
  PRIMARY KEY (tenant, id)) WITH (fillfactor = 85);
CREATE TABLE floor.events (
  position bigint GENERATED ALWAYS AS IDENTITY,
  tenant text COLLATE "C", id text COLLATE "C", type text NOT NULL, counter_id text COLLATE "C" NOT NULL,
  version int NOT NULL, time timestamptz NOT NULL, body jsonb NOT NULL,
  PRIMARY KEY (tenant, id), UNIQUE (tenant, counter_id, version));
CREATE TABLE floor.outbox (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text COLLATE "C" NOT NULL, event_id text NOT NULL);
CREATE TABLE floor.audit (
  tenant text COLLATE "C", id text COLLATE "C", time timestamptz NOT NULL, actor text NOT NULL, operation text NOT NULL,
  outcome text NOT NULL, body jsonb NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE floor.api_keys (hash text PRIMARY KEY, tenant text NOT NULL, actor text NOT NULL);
GRANT SELECT ON floor.api_keys TO "${role}";
${["counters", "events", "outbox", "audit"]
  .map(
    (table) => `
ALTER TABLE floor.${table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE floor.${table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON floor.${table} USING (tenant = current_setting('floor.tenant', true));
GRANT SELECT, INSERT, UPDATE ON floor.${table} TO "${role}";`,
  )
  .join("")}

CREATE FUNCTION floor.load(p_tenant text, p_id text, OUT version int, OUT value int) LANGUAGE plpgsql AS $$
DECLARE ignored text;
BEGIN
  ignored := set_config('floor.tenant', p_tenant, true);
  SELECT counter.version, counter.value INTO version, value
    FROM floor.counters AS counter WHERE counter.tenant = p_tenant AND counter.id = p_id;
END $$;

CREATE FUNCTION floor.commit(
  p_tenant text, p_id text, p_expected int, p_value int, p_note text, p_time timestamptz, p_event_id text, p_event jsonb,
  p_audit_id text, p_actor text, p_audit jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE ignored text;
BEGIN
  ignored := set_config('floor.tenant', p_tenant, true);
  IF p_expected = 0 THEN
    INSERT INTO floor.counters VALUES (p_tenant, p_id, 1, p_value, p_note) ON CONFLICT DO NOTHING;
  ELSE
    UPDATE floor.counters SET version = p_expected + 1, value = p_value, note = p_note
      WHERE tenant = p_tenant AND id = p_id AND version = p_expected;
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'version conflict' USING ERRCODE = '40001';
  END IF;
  INSERT INTO floor.events (tenant, id, type, counter_id, version, time, body)
    VALUES (p_tenant, p_event_id, 'counter.counted', p_id, p_expected + 1, p_time, p_event);
  INSERT INTO floor.outbox (tenant, event_id) VALUES (p_tenant, p_event_id);
  INSERT INTO floor.audit VALUES (p_tenant, p_audit_id, p_time, p_actor, 'counters.count', 'succeeded', p_audit);
END $$;`;

const LOAD = { name: "load", text: "SELECT version, value FROM floor.load($1, $2)" };
const COMMIT = { name: "commit", text: "SELECT floor.commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)" };
const RERUNS = 3;

/** Makes the tables, the functions and their role. */
export async function createFloor(database: FreshDatabase): Promise<void> {
  await database.pool.query(schema(`${database.name}_floor`));
}

/**
 * The same guarantees by hand, as quick as can be: a role that forced row-level security binds, the tenant set in each
 * transaction, the version checked; state, event, outbox entry and audit row in one call of one function; all
 * statements prepared.
 */
export function floorStore(database: Pick<FreshDatabase, "name" | "url">, connections: number) {
  const url = new URL(database.url);
  url.username = `${database.name}_floor`;
  const pool = new Pool({ connectionString: url.href, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped

  const change = async (tenant: string, actor: string, { counterId, by, note }: CountInput): Promise<number> => {
    const { rows } = await pool.query({ ...LOAD, values: [tenant, counterId] });
    const [loaded] = rows as { readonly version: number | null; readonly value: number | null }[];
    const value = (loaded!.value ?? 0) + by;
    const [eventId, auditId, correlationId, traceId] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const who = { actor: { type: "user", id: actor }, correlationId };
    const event = { version: 1, ...who, causationId: correlationId, traceId, data: { by, note } };
    const audit = { ...who, traceId, target: counterId, input: { counterId, by, note } };
    const time = new Date().toISOString();
    const values = [tenant, counterId, loaded!.version ?? 0, value, note, time, eventId, event, auditId, actor, audit];
    await pool.query({ ...COMMIT, values });
    return value;
  };

  return {
    pool,
    change,
    /** The command: validated, decided, written; run again when it loses a race. */
    async count(tenant: string, actor: string, input: unknown): Promise<{ value: number }> {
      const asked = countInput.parse(input);
      for (let run = 1; ; run += 1)
        try {
          return countOutput.parse({ value: await change(tenant, actor, asked) });
        } catch (error) {
          if ((error as { readonly code?: string }).code !== "40001" || run === RERUNS) throw error;
        }
    },
  };
}
