import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { type Actor, type Armature, createArmature, type StoreAdapter, type StoredEvent } from "@armature/core";
import { Pool } from "pg";
import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { countersContext } from "../counters.ts";

/** How much of everything there is. */
export interface Size {
  readonly tenants: number;
  /** Of each tenant. */
  readonly counters: number;
  /** Changes that each counter has seen: events and audit rows. */
  readonly versions: number;
  /** Whether the events still wait in the outbox. */
  readonly waiting: boolean;
}

/** An application on so much. */
export interface Seeded {
  readonly app: Armature<readonly [typeof countersContext]>;
  readonly size: Size;
  close(): Promise<void>;
}

export const NOTE = "as ordered";
export const tenantOf = (number: number) => `tenant-${String(number).padStart(5, "0")}`;
export const counterOf = (number: number) => `cnt_${number}`;

const FIRST = tenantOf(1);
const AT_ONCE = 1_000;
const actor: Actor = { type: "user", id: "ann" };
const TENANT_TABLES = [
  "identity.aggregates",
  "counters.aggregates",
  "counters.events",
  "counters.audit",
  "counters.outbox",
];

/**
 * Fills a database: the first tenant through Armature, with a user, its roles and its counters' first change; all others
 * and all later changes as copies of these rows, by statements that know no more of the tables than they must.
 */
export async function seeded({ url, name, pool: owner }: FreshDatabase, size: Size): Promise<Seeded> {
  const pool = new Pool({ connectionString: url, max: 2 });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const store = postgres({ pool, rolePrefix: name });
  const app = await createArmature({
    store,
    contexts: [countersContext] as const,
    keyEncryptionKey: randomBytes(32).toString("base64"),
    relay: false,
  });
  await app.migrate();
  const { identity } = app.as({ tenant: FIRST, system: "setup" });
  await identity.createTenant({ name: "The first" });
  await identity.createUser({ userId: "ann", name: "Ann", roles: ["owner"] });
  await firstChanges(store, size.counters);
  await owner.query("TRUNCATE identity.outbox");
  for (const table of TENANT_TABLES) await copyToTenants(owner, table, size.tenants);
  for (const [table, columns] of [
    ["counters.events", { id: shifted("id"), aggregate_version: "version" }],
    ["counters.audit", { id: shifted("id") }],
    ["counters.outbox", { message_id: shifted("message_id") }],
  ] as const)
    await copyToVersions(owner, table, columns, size.versions);
  if (!size.waiting) await owner.query("TRUNCATE counters.outbox");
  await owner.query("UPDATE counters.aggregates SET version = $1", [size.versions]);
  await owner.query("VACUUM (FREEZE, ANALYZE)");
  return {
    app,
    size,
    close: async () => {
      await app.close();
      await pool.end();
    },
  };
}

async function firstChanges(store: StoreAdapter, counters: number): Promise<void> {
  const write = { version: 1, stateVersion: 1, state: { value: 1, note: NOTE }, index: { note: NOTE } };
  for (let from = 0; from < counters; from += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, counters - from) }, (_, index) => from + index);
    const part = {
      context: "counters",
      aggregates: numbers.map((number) => ({ type: "counter", id: counterOf(number), expectedVersion: 0, write })),
      events: numbers.map(eventOf),
      messages: [],
      audit: numbers.map(auditOf),
    };
    await store.commit(FIRST, { parts: [part] });
  }
}

/** Every row again for each other tenant; where it names the first one, it names that one. */
async function copyToTenants(owner: Pool, table: string, tenants: number): Promise<void> {
  const values = (await columnsOf(owner, table)).map(({ name, type }) => {
    if (!["text", "jsonb"].includes(type)) return [name, `row.${name}`];
    const renamed = `replace(row.${name}::text, '${FIRST}', 'tenant-' || lpad(number::text, 5, '0'))`;
    return [name, `${renamed}::${type}`];
  });
  await copy(owner, table, Object.fromEntries(values), `generate_series(2, ${tenants}) AS number`);
}

/** Every row again for each later version. */
async function copyToVersions(
  owner: Pool,
  table: string,
  changed: Readonly<Record<string, string>>,
  versions: number,
): Promise<void> {
  const same = (await columnsOf(owner, table)).map(({ name }) => [name, `row.${name}`]);
  const values = { ...Object.fromEntries(same), ...changed };
  await copy(owner, table, values, `generate_series(2, ${versions}) AS version ORDER BY version`);
}

async function copy(
  owner: Pool,
  table: string,
  values: Readonly<Record<string, string>>,
  times: string,
): Promise<void> {
  const [names, expressions] = [Object.keys(values).join(", "), Object.values(values).join(", ")];
  await owner.query(`INSERT INTO ${table} (${names}) SELECT ${expressions} FROM ${table} AS row, ${times}`);
}

/** The columns that a row is given; the database gives it the others. */
async function columnsOf(
  owner: Pool,
  table: string,
): Promise<readonly { readonly name: string; readonly type: string }[]> {
  const { rows } = await owner.query(
    `SELECT quote_ident(column_name) AS name, data_type AS type FROM information_schema.columns
      WHERE table_schema || '.' || table_name = $1 AND is_generated = 'NEVER' AND is_identity = 'NO'`,
    [table],
  );
  return rows;
}

// `evt_` and 26 digits, of which the last eight number the first changes.
const shifted = (column: string) =>
  `left(row.${column}, 4) || lpad((version::bigint * 100000000 + right(row.${column}, 8)::bigint)::text, 26, '0')`;

const idOf = (prefix: string, number: number) => `${prefix}_${String(number).padStart(26, "0")}`;

function eventOf(number: number): StoredEvent {
  const callId = idOf("call", number);
  return {
    ...common(number),
    id: idOf("evt", number),
    type: "counter.counted",
    version: 1,
    aggregateType: "counter",
    aggregateId: counterOf(number),
    aggregateVersion: 1,
    data: { by: 1, note: NOTE },
    causationId: callId,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
}

function auditOf(number: number) {
  const about = {
    operation: "counters.count",
    outcome: "succeeded" as const,
    traceId: "0af7651916cd43dd8448eb211c80319c",
  };
  const input = { counterId: counterOf(number), by: 1, note: NOTE };
  return { ...common(number), ...about, id: idOf("aud", number), target: counterOf(number), input };
}

function common(number: number) {
  const correlationId = idOf("call", number);
  return { tenant: FIRST, context: "counters", time: "2026-11-21T03:04:05.678Z", actor, correlationId };
}
