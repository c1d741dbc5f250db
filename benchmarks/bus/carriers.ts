import { redisStreams } from "@armature/adapter-redis";
import type { CloudEvent } from "@armature/core";
import type { FreshRedis } from "../../packages/adapter-redis/src/fresh-redis.ts";
import { testEvent } from "../../packages/adapter-redis/src/test-event.ts";
import type { Contender } from "../work.ts";

/** What is carried, and where. */
export interface BusSetting {
  readonly redis: FreshRedis;
  readonly batches: readonly (readonly CloudEvent[])[];
}

const BATCH = 100;
const SUBJECTS = 500;
const SOURCE = "/contexts/orders";

/** Small events of many subjects, as batches of a relay. */
export function batchesOf(events: number): readonly (readonly CloudEvent[])[] {
  return Array.from({ length: events / BATCH }, (_, batch) =>
    Array.from({ length: BATCH }, (_, at) =>
      testEvent(SOURCE, `order/ord_${(batch * BATCH + at) % SUBJECTS}`, batch + 1),
    ),
  );
}

/**
 * Publishes every batch and waits until each event of it has been handled; events in a second.
 *
 * @param open gets what a handler calls, and says how a batch is published
 */
export async function carrier(
  subject: string,
  { batches }: BusSetting,
  open: (handled: (event: CloudEvent) => void) => Promise<{
    publish(batch: readonly CloudEvent[]): Promise<unknown>;
    afterwards?(): Promise<unknown>;
    close(): Promise<void>;
  }>,
  options: Pick<Contender, "note"> = {},
): Promise<Contender> {
  const count = batches.reduce((sum, batch) => sum + batch.length, 0);
  const ids = new Set<string>();
  let done = () => {};
  const { publish, afterwards, close } = await open(({ id }) => {
    ids.add(id);
    if (ids.size === count) done();
  });
  return {
    subject,
    ...options,
    measure: async () => {
      ids.clear();
      const handled = new Promise<void>((resolve) => {
        done = resolve;
      });
      const start = performance.now();
      for (const batch of batches) await publish(batch);
      await handled;
      const rate = (count * 1000) / (performance.now() - start);
      await afterwards?.();
      return rate;
    },
    close,
  };
}

/** The bus: order per subject, fenced owners, events parsed by schema. */
export const ours = (setting: BusSetting): Promise<Contender> =>
  carrier("armature", setting, async (handled) => {
    const bus = redisStreams({ client: await setting.redis.connect(), prefix: `${setting.redis.prefix}ours:` });
    await bus.subscribe({ group: "g", sources: [SOURCE], handle: async (event) => handled(event) });
    return { publish: (batch) => bus.publish(batch), close: () => bus.close() };
  });

/** One stream, one consumer, pipelined XADD and a blocked XREADGROUP, JSON at both ends, XACK for each read. */
export const floor = (setting: BusSetting): Promise<Contender> =>
  carrier(
    "floor",
    setting,
    async (handled) => {
      const [client, reader] = [await setting.redis.connect(), await setting.redis.connect()];
      const stream = `${setting.redis.prefix}raw`;
      await client.xGroupCreate(stream, "g", "0", { MKSTREAM: true });
      let open = true;
      const command = ["XREADGROUP", "GROUP", "g", "c", "COUNT", "100", "BLOCK", "200", "STREAMS", stream, ">"];
      const reading = (async () => {
        while (open) {
          const answer = (await reader.sendCommand(command)) as Record<string, [string, string[]][]> | null;
          const entries = answer?.[stream] ?? [];
          if (entries.length === 0) continue;
          const read = entries.map(([id]) => id);
          await client.xAck(stream, "g", read);
          for (const [, [, json]] of entries) handled(JSON.parse(json!));
        }
      })();
      const append = (event: CloudEvent) => client.sendCommand(["XADD", stream, "*", "e", JSON.stringify(event)]);
      return {
        publish: (batch) => Promise.all(batch.map(append)),
        afterwards: () => client.xTrim(stream, "MAXLEN", 0),
        close: async () => {
          open = false;
          await reading;
        },
      };
    },
    { note: "by hand: one stream, pipelined XADD, XREADGROUP, XACK; no owners, nothing redelivered" },
  );
