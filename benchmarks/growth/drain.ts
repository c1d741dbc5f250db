import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { ended, forked, messageOf } from "../forked.ts";
import { type Measured, toRows } from "../rows.ts";
import type { Bench } from "../work.ts";

export interface DrainSetting {
  readonly url: string;
  readonly name: string;
  readonly events: number;
}

/** Of a process, in MB. */
export interface Memory {
  /** What the operating system sees. */
  readonly resident: number;
  /** What is left after a collection: what somebody still holds. */
  readonly inUse: number;
}

/** Memory when a twentieth was drained and when all was, and the most that was resident. */
export interface Drained {
  readonly seconds: number;
  readonly before: Memory;
  readonly after: Memory;
  readonly most: number;
}

/** What may be held more at the end, in MB: a page of 200 events that is kept comes to ten times as much over a million. */
const MOST_GROWTH = 16;

/** Has one process drain all that waits, and looks at its memory. */
export async function drained(bench: Bench, { url, name, pool }: FreshDatabase, events: number): Promise<void> {
  const setting: DrainSetting = { url, name, events };
  const child = forked(new URL("drain-process.ts", import.meta.url), setting, ["--expose-gc"]);
  const { seconds, before, after, most } = await messageOf<Drained>(child);
  await ended(child);
  const waiting = await pool.query("SELECT count(*)::int AS rows FROM counters.outbox");
  if (waiting.rows[0].rows !== 0) throw new Error(`${waiting.rows[0].rows} of ${events} still wait.`);
  bench.add(toRows("growth drain", "events/s", [{ subject: "armature", values: [events / seconds] }]));
  const rows = (of: keyof Memory, ...more: readonly Measured[]) => [
    { subject: "armature", values: [before[of]] },
    { subject: "armature (when all is drained)", values: [after[of]] },
    ...more,
  ];
  bench.add(toRows("growth drain: memory in use", "MB", rows("inUse")));
  const highest = { subject: "armature (at most)", values: [most] };
  bench.add(toRows("growth drain: resident memory", "MB", rows("resident", highest)));
  const growth = after.inUse - before.inUse;
  if (growth > MOST_GROWTH) throw new Error(`Draining ${events} events left ${Math.round(growth)} MB behind.`);
}
