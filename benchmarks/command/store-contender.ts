import { postgres } from "@armature/adapter-postgres";
import type { Actor, Counter, StoreAdapter } from "@armature/core";
import { Pool } from "pg";
import type { CountInput } from "../counters.ts";
import type { Contender } from "../work.ts";
import { changes, rowsOf } from "./changes.ts";
import type { CommandSetting } from "./command.ts";

const actor: Actor = { type: "user", id: "ann" };
const scope = { tenant: "acme", context: "counters" };
const USAGE: readonly Counter[] = [
  { key: "usage/2026-11-21/con_1/10/list", numbers: { requests: 1, bytesSent: 120, milliseconds: 80 } },
];

/**
 * The store as a command uses it.
 *
 * @param counting whether each commit also adds to one counter, the same for all callers
 */
export async function storeContender(
  { database, callers, connections }: CommandSetting,
  tables: readonly string[],
  counting: boolean,
): Promise<Contender> {
  // A database may hold several contexts, and each contender counts the rows of its own.
  const context = counting ? "tallies" : scope.context;
  const pool = new Pool({ connectionString: database.url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const store = postgres({ pool, rolePrefix: database.name });
  await store.migrate([{ name: context, aggregates: [{ type: "counter", index: ["note"] }] }]);
  const named = tables.map((table) => table.replace(scope.context, context));
  const change = changer(store, context, counting ? USAGE : undefined);
  return changes(counting ? "armature (counting)" : "armature", callers, change, () => rowsOf(database.pool, named), {
    ...(counting ? { note: "each commit also adds to one counter, the same for all callers" } : {}),
    close: async () => {
      await store.close();
      await pool.end();
    },
  });
}

function changer(store: StoreAdapter, context: string, counters: readonly Counter[] | undefined) {
  let number = 0;
  return async ({ counterId: id, by, note }: CountInput) => {
    const [loaded] = await store.load({ ...scope, context }, [{ type: "counter", id }]);
    const expectedVersion = loaded?.version ?? 0;
    number += 1;
    const common = {
      tenant: scope.tenant,
      context,
      time: new Date().toISOString(),
      actor,
      correlationId: `c${number}`,
    };
    const state = { value: Number(loaded?.state["value"] ?? 0) + by, note };
    const write = { version: expectedVersion + 1, stateVersion: 1, state, index: { note } };
    const event = {
      ...common,
      ...{ id: `evt_${number}`, type: "counter.counted", version: 1, causationId: "c", traceparent: "t" },
      ...{ aggregateType: "counter", aggregateId: id, aggregateVersion: write.version, data: { by, note } },
    };
    const about = { operation: "counters.count", outcome: "succeeded" as const, traceId: "t", target: id };
    const audit = { ...common, ...about, id: `aud_${number}`, input: { counterId: id, by, note } };
    const aggregates = [{ type: "counter", id, expectedVersion, write }];
    await store.commit(scope.tenant, {
      parts: [{ context, aggregates, events: [event], messages: [], audit: [audit], counters }],
    });
  };
}
