import { rowsOf } from "../command/changes.ts";
import { createFloor } from "../floor-store.ts";
import { toRows } from "../rows.ts";
import type { Bench, Contender, Work } from "../work.ts";
import { Load, type LoadAsk, type LoadResult } from "./load.ts";
import { type ServingSetting, serve } from "./serving.ts";

const CLOSED = 16;
/** To PostgreSQL: what node-postgres gives who asks for nothing else. */
const CONNECTIONS = 10;
const OPEN = { connections: 64, perSecond: 1000 };
const TABLES = {
  armature: ["counters.events", "counters.outbox", "counters.audit"],
  floor: ["floor.events", "floor.outbox", "floor.audit"],
} as const;
const NOTES = {
  floor: "Express, a key that is looked up and believed for two seconds, zod, and the floor's store",
  armature: "armatureRouter in Express: and problem details, limits of size and time, ids, traces, entity tags",
};

/** The command from a socket to the commit and back. */
export const http: Work = {
  name: "http",
  about: "the command over HTTP with an API key: servers and load in processes of their own",
  run: async (bench) => {
    const sides = await Promise.all((["floor", "armature"] as const).map((by) => side(bench, by)));
    await bench.race({
      work: `http at ${CLOSED}`,
      unit: "requests/s",
      ms: 2000,
      rounds: 7,
      contenders: sides.map(({ contender, run }) => ({
        ...contender,
        measure: async (ms) => {
          const { latencies, ms: took } = await run({ ms, connections: CLOSED });
          return (latencies.length * 1000) / took;
        },
      })),
    });
    const errors = sides.map(({ contender }) => ({ subject: contender.subject, values: [] as number[] }));
    await bench.race({
      work: `http at ${OPEN.perSecond}/s`,
      unit: "ms",
      ms: 5000,
      rounds: 3,
      contenders: sides.map(({ contender, run }, at) => ({
        ...contender,
        measure: async (ms) => {
          const { latencies, errors: failed } = await run({ ms, ...OPEN });
          errors[at]!.values.push((100 * failed) / (latencies.length + failed));
          return [...latencies];
        },
      })),
    });
    bench.add(toRows(`http at ${OPEN.perSecond}/s: errors`, "%", errors));
  },
};

/** A server with its load, and what is known of it afterwards: every change that was acknowledged is written. */
async function side(
  bench: Bench,
  by: ServingSetting["by"],
): Promise<{ readonly contender: Omit<Contender, "measure">; run(ask: LoadAsk): Promise<LoadResult> }> {
  const database = await bench.database();
  if (by === "floor") await createFloor(database);
  const server = await serve({ by, url: database.url, name: database.name, connections: CONNECTIONS });
  bench.defer(() => server.close());
  const load = await Load.start(server);
  bench.defer(() => load.close());
  let changes = 0;
  let failed = 0;
  return {
    run: async (ask) => {
      const result = await load.run(ask);
      changes += result.latencies.length;
      failed += result.errors;
      return result;
    },
    contender: {
      subject: by,
      note: NOTES[by],
      check: async () => {
        for (const rows of await rowsOf(database.pool, TABLES[by]))
          if (rows < changes || rows > changes + failed)
            throw new Error(`${by} answered ${changes} changes, failed ${failed} and wrote ${rows}.`);
      },
    },
  };
}
