import { postgres } from "@armature/adapter-postgres";
import type { Actor } from "@armature/core";
import type { Pool } from "pg";
import type { Contender } from "./contender.ts";

const actor: Actor = { type: "user", id: "ann" };
const NUMBERS = { requests: 1, bytesSent: 120, bytesReceived: 4_000, milliseconds: 80 };
const scope = { tenant: "acme", context: "counters" };

/**
 * The store as a command uses it: load, then one commit of state, event, outbox entry and audit row.
 *
 * @param counting whether each commit also adds to one counter, the same for all callers
 */
export async function ours(pool: Pool, rolePrefix: string, counting: boolean): Promise<Contender> {
  const store = postgres({ pool, rolePrefix });
  await store.migrate([{ name: "counters", aggregates: [{ type: "counter", index: [] }] }]);
  const counters = counting ? [{ key: "usage/2026-11-21/con_1/10/list", numbers: NUMBERS }] : undefined;
  let number = 0;
  const commit = async (id: string, expectedVersion: number, value: number) => {
    number += 1;
    const unique = `${counting ? "counting_" : ""}${number}`;
    const time = new Date().toISOString();
    const common = { tenant: "acme", context: "counters", time, actor, correlationId: "c" };
    const write = { version: expectedVersion + 1, stateVersion: 1, state: { value }, index: {} };
    await store.commit("acme", {
      parts: [
        {
          context: "counters",
          aggregates: [{ type: "counter", id, expectedVersion, write }],
          events: [
            {
              ...common,
              ...{ id: `evt_${unique}`, type: "counter.counted", version: 1, causationId: "c", traceparent: "t" },
              ...{ aggregateType: "counter", aggregateId: id, aggregateVersion: write.version, data: { by: 1 } },
            },
          ],
          messages: [],
          audit: [
            {
              ...common,
              ...{ id: `aud_${unique}`, operation: "counters.count", outcome: "succeeded", input: {}, traceId: "t" },
            },
          ],
          counters,
        },
      ],
    });
  };
  const named = (id: string) => (counting ? `counting-${id}` : id);
  return {
    name: counting ? "adapter-postgres, counting" : "adapter-postgres",
    make: (given) => commit(named(given), 0, 1),
    change: async (given) => {
      const id = named(given);
      const [loaded] = await store.load(scope, [{ type: "counter", id }]);
      await commit(id, loaded!.version, Number(loaded!.state["value"]) + 1);
    },
  };
}
