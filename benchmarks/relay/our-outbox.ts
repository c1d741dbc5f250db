import { postgres } from "@armature/adapter-postgres";
import type { Actor, StoredEvent } from "@armature/core";
import { Pool } from "pg";
import { countersContext } from "../counters.ts";
import type { RelaySetting } from "./drain-contender.ts";

const OUTBOX = "counters.outbox";
const actor: Actor = { type: "user", id: "ann" };

/** Commits events through the store, each subject's next one with every commit, and keeps a copy of the outbox. */
export async function createOurOutbox(setting: RelaySetting): Promise<void> {
  const { database, events, subjects } = setting;
  const pool = new Pool({ connectionString: database.url, max: 1 });
  const store = postgres({ pool, rolePrefix: database.name });
  const names = [
    "identity",
    "secrets",
    "connectors",
    "approvals",
    "audit",
    "projections",
    "delivery",
    "workflows",
    "agents",
  ];
  await store.migrate([
    ...names.map((name) => ({ name, aggregates: [] })),
    { name: countersContext.contract.name, aggregates: [{ type: "counter", index: ["note"] }] },
  ]);
  for (let version = 1; version <= events / subjects; version += 1) {
    const ids = Array.from({ length: subjects }, (_, index) => `cnt_${index}`);
    const state = { value: version, note: "as ordered" };
    const write = { version, stateVersion: 1, state, index: { note: "as ordered" } };
    await store.commit("acme", {
      parts: [
        {
          context: "counters",
          aggregates: ids.map((id) => ({ type: "counter", id, expectedVersion: version - 1, write })),
          events: ids.map((id, index) => eventOf(id, version, version * subjects + index)),
          messages: [],
          audit: [],
        },
      ],
    });
  }
  await store.close();
  await pool.end();
  await database.pool.query(`CREATE TABLE public.kept_outbox AS SELECT * FROM ${OUTBOX}; TRUNCATE ${OUTBOX}`);
}

/** Puts the copy back, in its order and with new positions, whatever the columns of the outbox are. */
export async function fillOurOutbox({ database }: RelaySetting): Promise<void> {
  const { rows } = await database.pool.query(
    `SELECT quote_ident(column_name) AS name, is_identity = 'YES' AS position FROM information_schema.columns
      WHERE table_schema || '.' || table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position`,
    [OUTBOX],
  );
  const columns = rows.flatMap(({ name, position }) => (position ? [] : [name])).join(", ");
  const position = rows.find((row) => row.position)?.name;
  await database.pool.query(
    `INSERT INTO ${OUTBOX} (${columns}) SELECT ${columns} FROM public.kept_outbox ORDER BY ${position}`,
  );
}

function eventOf(id: string, version: number, number: number): StoredEvent {
  const digits = String(number).padStart(26, "0");
  const callId = `call_${digits}`;
  return {
    id: `evt_${digits}`,
    tenant: "acme",
    context: "counters",
    type: "counter.counted",
    version: 1,
    aggregateType: "counter",
    aggregateId: id,
    aggregateVersion: version,
    time: "2026-11-21T03:04:05.678Z",
    data: { by: 1, note: "as ordered" },
    actor,
    correlationId: callId,
    causationId: callId,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
}
