import { postgres } from "@armature/adapter-postgres";
import type { Actor } from "@armature/core";
import type { Pool } from "pg";
import type { Contender } from "./contender.ts";

const actor: Actor = { type: "user", id: "ann" };
const scope = { tenant: "acme", context: "counters" };

/** The store as a command uses it: load, then one commit of state, event, outbox entry and audit row. */
export async function ours(pool: Pool, rolePrefix: string): Promise<Contender> {
  const store = postgres({ pool, rolePrefix });
  await store.migrate([{ name: "counters", aggregates: [{ type: "counter", index: [] }] }]);
  let number = 0;
  const commit = async (id: string, expectedVersion: number, value: number) => {
    number += 1;
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
              ...{ id: `evt_${number}`, type: "counter.counted", version: 1, causationId: "c", traceparent: "t" },
              ...{ aggregateType: "counter", aggregateId: id, aggregateVersion: write.version, data: { by: 1 } },
            },
          ],
          messages: [],
          audit: [
            {
              ...common,
              ...{ id: `aud_${number}`, operation: "counters.count", outcome: "succeeded", input: {}, traceId: "t" },
            },
          ],
        },
      ],
    });
  };
  return {
    name: "adapter-postgres",
    make: (id) => commit(id, 0, 1),
    change: async (id) => {
      const [loaded] = await store.load(scope, [{ type: "counter", id }]);
      await commit(id, loaded!.version, Number(loaded!.state["value"]) + 1);
    },
  };
}
