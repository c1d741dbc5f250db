import type { CloudEvent } from "@armature/core";
import { Queue, Worker } from "bullmq";
import { subjectOf } from "../peers.ts";
import { type BusSetting, carrier } from "./carriers.ts";

export async function contenders(setting: BusSetting) {
  const { hostname: host, port, username, password } = new URL(setting.redis.url);
  const connection = {
    host,
    port: Number(port || 6379),
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
  };
  return [
    await carrier(
      subjectOf("bullmq"),
      setting,
      async (handled) => {
        const names = { connection, prefix: setting.redis.prefix.replaceAll(":", "-") };
        const queue = new Queue("orders", { ...names, defaultJobOptions: { removeOnComplete: true } });
        const worker = new Worker("orders", async (job) => handled(job.data as CloudEvent), {
          ...names,
          connection: { ...connection, maxRetriesPerRequest: null },
          concurrency: 100,
        });
        await worker.waitUntilReady();
        return {
          publish: (batch) => queue.addBulk(batch.map((data) => ({ name: data.type, data }))),
          close: async () => {
            await worker.close();
            await queue.obliterate({ force: true });
            await queue.close();
          },
        };
      },
      { note: "a hundred jobs at a time: keeps no order" },
    ),
  ];
}
