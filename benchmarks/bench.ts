import { dropAll, type FreshDatabase, freshDatabase } from "../packages/adapter-postgres/src/fresh-database.ts";
import { peerContenders } from "./peers.ts";
import { inTurns } from "./rounds.ts";
import { type Measured, type Row, toRows } from "./rows.ts";
import { table } from "./table.ts";
import type { Bench, Race, Work } from "./work.ts";

/** Runs a work, prints its tables as they come, and gives its rows. What it has opened is closed whichever way it ends. */
export async function runWork(
  work: Work,
  options: { readonly quick: boolean; readonly peers: boolean },
  print: (text: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  const ends: (() => Promise<unknown>)[] = [];
  const add = (more: readonly Row[], notes: ReadonlyMap<string, string> = new Map()) => {
    rows.push(...more);
    print(table(more, notes));
  };
  const bench: Bench = {
    quick: options.quick,
    withPeers: options.peers,
    add,
    defer: (end) => void ends.push(end),
    peers: async (folder, names, setting) => {
      if (!options.peers) return [];
      return (await Promise.all(names.map((name) => peerContenders(folder, name, setting)))).flat();
    },
    database: async () => {
      const database: FreshDatabase = await freshDatabase();
      ends.push(() => dropAll([database]));
      return database;
    },
    race: async (race) => {
      const measured = await measuredAndClosed(race, options.quick);
      const notes = race.contenders.flatMap(({ subject, note }) =>
        note === undefined ? [] : [[subject, note] as const],
      );
      add(toRows(race.work, race.unit, measured), new Map(notes));
    },
  };
  print(`\n${work.name}: ${work.about}`);
  try {
    await work.run(bench);
  } finally {
    for (const end of ends.reverse()) await end();
  }
  return rows;
}

// At once, so that one race's connections are gone when the next one begins.
async function measuredAndClosed(race: Race, quick: boolean): Promise<Measured[]> {
  try {
    return await inTurns(race, quick);
  } finally {
    for (const contender of race.contenders) await contender.close?.();
  }
}
