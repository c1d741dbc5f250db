import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { createArmature } from "@armature/core";
import { Pool } from "pg";
import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { countersContext } from "../counters.ts";
import { createFloor, floorStore } from "../floor-store.ts";
import type { Contender, Work } from "../work.ts";
import { changes, rowsOf } from "./changes.ts";
import { storeContender } from "./store-contender.ts";

/** What the peers of this work are given. */
export interface CommandSetting {
  readonly database: FreshDatabase;
  readonly callers: number;
  /** The connections that each contender may have. */
  readonly connections: number;
}

/** What node-postgres gives who asks for nothing else. */
const MOST_CONNECTIONS = 10;
const CALLERS = [1, 16, 64];
const OURS = ["counters.events", "counters.outbox", "counters.audit"];
const FLOOR = ["floor.events", "floor.outbox", "floor.audit"];

/** The path of every change, through everything. */
export const command: Work = {
  name: "command",
  about: "a command that loads, decides and writes state, event, outbox entry and audit row, on PostgreSQL",
  run: async (bench) => {
    for (const callers of bench.quick ? CALLERS.slice(0, 2) : CALLERS) {
      const setting = settingOf(await bench.database(), callers);
      const peers = await bench.peers("command", ["emmett", "pg-boss"], setting);
      await bench.race({
        work: `command at ${callers}`,
        unit: "calls/s",
        ms: 1000,
        contenders: [await floor(setting, "count"), await ours(setting), ...peers],
      });
    }
  },
};

/** The store under it, alone. */
export const commit: Work = {
  name: "commit",
  about: "load and commit of the store alone, without the pipeline",
  run: async (bench) => {
    for (const callers of bench.quick ? CALLERS.slice(0, 2) : CALLERS) {
      const setting = settingOf(await bench.database(), callers);
      const contenders = [
        await floor(setting, "change"),
        await storeContender(setting, OURS, false),
        ...(callers === 16 ? [await storeContender(setting, OURS, true)] : []),
      ];
      await bench.race({ work: `commit at ${callers}`, unit: "calls/s", ms: 1000, contenders });
    }
  },
};

function settingOf(database: FreshDatabase, callers: number): CommandSetting {
  return { database, callers, connections: Math.min(callers, MOST_CONNECTIONS) };
}

async function floor(setting: CommandSetting, path: "count" | "change"): Promise<Contender> {
  const { database, callers, connections } = setting;
  await createFloor(database);
  const store = floorStore(database, connections);
  return changes(
    "floor",
    callers,
    (input) => store[path]("acme", "ann", input),
    () => rowsOf(database.pool, FLOOR),
    {
      note: "by hand: two calls of typed functions, forced row-level security, prepared",
      close: () => store.pool.end(),
    },
  );
}

async function ours({ database, callers, connections }: CommandSetting): Promise<Contender> {
  const pool = new Pool({ connectionString: database.url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const app = await createArmature({
    store: postgres({ pool, rolePrefix: database.name }),
    contexts: [countersContext],
    keyEncryptionKey: randomBytes(32).toString("base64"),
    authorizer: () => true,
    relay: false,
  });
  await app.migrate();
  const { counters } = app.as({ tenant: "acme", user: "ann" });
  return changes(
    "armature",
    callers,
    (input) => counters.count(input),
    () => rowsOf(database.pool, OURS),
    {
      close: async () => {
        await app.close();
        await pool.end();
      },
    },
  );
}
