import type { Pool } from "pg";
import type { Contender } from "./contender.ts";

const SCHEMA = `
CREATE SCHEMA bare;
CREATE TABLE bare.aggregates (tenant text, type text, id text, version int, state jsonb, PRIMARY KEY (tenant, type, id));
CREATE TABLE bare.events (tenant text, id text, type text, aggregate_id text, version int, time timestamptz, body jsonb, PRIMARY KEY (tenant, id));
CREATE UNIQUE INDEX ON bare.events (tenant, aggregate_id, version);
CREATE TABLE bare.outbox (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text, message_id text);
CREATE TABLE bare.audit (tenant text, id text, time timestamptz, operation text, body jsonb, PRIMARY KEY (tenant, id));`;

const LOAD = "SELECT version, state FROM bare.aggregates WHERE tenant = $1 AND type = 'counter' AND id = $2";
const COMMIT = `
WITH written AS (
  UPDATE bare.aggregates SET version = $3 + 1, state = $4
    WHERE tenant = $1 AND type = 'counter' AND id = $2 AND version = $3 RETURNING 1
), event AS (
  INSERT INTO bare.events SELECT $1, $5, 'counter.counted', $2, $3 + 1, $6::timestamptz, $7::jsonb FROM written RETURNING id
), message AS (
  INSERT INTO bare.outbox (tenant, message_id) SELECT $1, id FROM event
)
INSERT INTO bare.audit SELECT $1, $8, $6::timestamptz, 'counters.count', $7::jsonb FROM written`;

/** Prepared statements without roles, functions, tenants' policies or any check but that of the version. */
export async function bare(pool: Pool): Promise<Contender> {
  await pool.query(SCHEMA);
  let number = 0;
  return {
    name: "bare statements, no row-level security",
    make: async (id) => {
      await pool.query("INSERT INTO bare.aggregates VALUES ('acme', 'counter', $1, 1, $2)", [id, { value: 1 }]);
    },
    change: async (id) => {
      const loaded = await pool.query({ name: "bare-load", text: LOAD, values: ["acme", id] });
      const { version, state } = loaded.rows[0];
      number += 1;
      const body = { actor: { type: "user", id: "ann" }, correlationId: "c", data: { by: 1 } };
      const time = new Date().toISOString();
      const next = { value: state.value + 1 };
      const values = ["acme", id, version, next, `evt_${number}`, time, body, `aud_${number}`];
      const { rowCount } = await pool.query({ name: "bare-commit", text: COMMIT, values });
      if (rowCount !== 1) throw new Error("lost a race");
    },
  };
}
