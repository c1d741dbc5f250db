import { Pool } from "pg";
import type { MakeDrainer } from "./drainer.ts";
import { PARTITIONS } from "./floor-outbox.ts";

const PAGE = 500;
const LOCKS = 4711;

interface Entry {
  readonly id: string;
  readonly body: { readonly tenant: string; readonly subject: string; readonly sequence: number };
}

/** By hand: partitions held by advisory locks, one page after the other in order, deleted when published. */
export const makeDrainer: MakeDrainer = async ({ url, processes }, log, published) => {
  const pool = new Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const share = Math.ceil(PARTITIONS / processes);
  const { rows } = await pool.query(
    `SELECT p FROM generate_series(0, ${PARTITIONS - 1}) AS p WHERE pg_try_advisory_lock(${LOCKS}, p) LIMIT ${share}`,
  );
  const mine = rows.map(({ p }) => Number(p));

  const drain = async () => {
    for (let after = "0"; ; ) {
      const page = await pool.query({
        name: "read",
        text: `SELECT id, body FROM floor.relay_outbox WHERE part = ANY ($1) AND id > $2 ORDER BY id LIMIT ${PAGE}`,
        values: [mine, after],
      });
      const entries = page.rows as Entry[];
      if (entries.length === 0) return;
      for (const { body } of entries) log.add(`${body.tenant} ${body.subject}`, body.sequence);
      published(entries.length);
      const ids = entries.map(({ id }) => id);
      await pool.query({ name: "done", text: "DELETE FROM floor.relay_outbox WHERE id = ANY ($1)", values: [ids] });
      after = ids.at(-1)!;
    }
  };
  return { begin: () => void drain(), close: () => pool.end() };
};
