import type { CloudEvent } from "@armature/core";
import type { RelaySetting } from "./drain-contender.ts";

export const PARTITIONS = 64;

/** An event of the bench's counters as a bus gets it, without what differs from one to the next. */
const EVENT: Omit<CloudEvent, "subject" | "sequence"> = {
  specversion: "1.0",
  id: "evt_01k9zzzzzzzzzzzzzzzzzzzzzz",
  source: "/contexts/counters",
  type: "counter.counted",
  time: "2026-11-21T03:04:05.678Z",
  datacontenttype: "application/json",
  data: { by: 1, note: "as ordered" },
  dataversion: 1,
  tenant: "acme",
  actor: "user:ann",
  correlationid: "call_01k9zzzzzzzzzzzzzzzzzzzzzz",
  causationid: "call_01k9zzzzzzzzzzzzzzzzzzzzzz",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};

/** The outbox by hand: the events themselves, and which partition each belongs to. */
export async function createFloorOutbox({ database }: RelaySetting): Promise<void> {
  await database.pool.query(`CREATE SCHEMA IF NOT EXISTS floor;
    CREATE TABLE floor.relay_outbox (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, part int NOT NULL, body jsonb NOT NULL)`);
}

/** Each subject's next event, and again, until there are enough. */
export async function fillFloorOutbox({ database, events, subjects }: RelaySetting): Promise<void> {
  await database.pool.query(
    `INSERT INTO floor.relay_outbox (part, body)
     SELECT (hashtext(subject) & 2147483647) % ${PARTITIONS},
            $1::jsonb || jsonb_build_object('subject', subject, 'sequence', n / $3 + 1)
       FROM (SELECT n, 'counter/cnt_' || n % $3 AS subject FROM generate_series(0, $2 - 1) AS n) AS numbered ORDER BY n`,
    [JSON.stringify(EVENT), events, subjects],
  );
}
