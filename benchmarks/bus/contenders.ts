import { redisStreams } from "@armature/adapter-redis";
import type { CloudEvent } from "@armature/core";
import type { TestClient } from "../../packages/adapter-redis/src/fresh-redis.ts";

/** One way to carry events. */
export interface Contender {
  readonly name: string;
  /** Publishes batches of events and resolves when each has been handled and acknowledged. */
  carry(batches: readonly (readonly CloudEvent[])[]): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when it has been called as often as was asked. */
function counter() {
  let left = 0;
  let done = () => {};
  return {
    count: () => {
      left -= 1;
      if (left === 0) done();
    },
    until: (count: number) =>
      new Promise<void>((resolve) => {
        left = count;
        done = resolve;
      }),
  };
}

/** The bus: order per subject, fenced owners, events parsed by schema. */
export async function ours(client: TestClient, prefix: string): Promise<Contender> {
  const bus = redisStreams({ client, prefix: `${prefix}ours:` });
  const { count, until } = counter();
  await bus.subscribe({ group: "g", sources: ["/contexts/orders"], handle: async () => count() });
  return {
    name: "redisStreams",
    carry: async (batches) => {
      const handled = until(batches.reduce((sum, batch) => sum + batch.length, 0));
      for (const batch of batches) await bus.publish(batch);
      await handled;
    },
    close: () => bus.close(),
  };
}

/** One stream, one consumer, pipelined XADD and a blocked XREADGROUP, JSON at both ends, XACK for each read. */
export async function raw(client: TestClient, reader: TestClient, prefix: string): Promise<Contender> {
  const stream = `${prefix}raw`;
  await client.xGroupCreate(stream, "g", "0", { MKSTREAM: true });
  const { count, until } = counter();
  let open = true;
  const reading = (async () => {
    while (open) {
      const command = ["XREADGROUP", "GROUP", "g", "c", "COUNT", "100", "BLOCK", "200", "STREAMS", stream, ">"];
      const answer = (await reader.sendCommand(command)) as Record<string, [string, string[]][]> | null;
      const entries = answer?.[stream] ?? [];
      if (entries.length === 0) continue;
      await client.xAck(
        stream,
        "g",
        entries.map(([id]) => id),
      );
      for (const [, [, json]] of entries) if (JSON.parse(json!).tenant !== "") count();
    }
  })();
  return {
    name: "XADD, XREADGROUP, XACK",
    carry: async (batches) => {
      const handled = until(batches.reduce((sum, batch) => sum + batch.length, 0));
      for (const batch of batches)
        await Promise.all(batch.map((event) => client.sendCommand(["XADD", stream, "*", "e", JSON.stringify(event)])));
      await handled;
      await client.xTrim(stream, "MAXLEN", 0);
    },
    close: async () => {
      open = false;
      await reading;
    },
  };
}
