import { freshRedis } from "../../packages/adapter-redis/src/fresh-redis.ts";
import type { Work } from "../work.ts";
import { batchesOf, floor, ours } from "./carriers.ts";

/** Events from one end of Redis to the other. */
export const bus: Work = {
  name: "bus",
  about: "from publishing to handled and acknowledged over Redis, in batches of 100",
  run: async (bench) => {
    const redis = await freshRedis();
    bench.defer(() => redis.close());
    const setting = { redis, batches: batchesOf(bench.quick ? 500 : 10_000) };
    const peers = await bench.peers("bus", ["bullmq"], setting);
    await bench.race({
      work: "bus",
      unit: "events/s",
      contenders: [await floor(setting), await ours(setting), ...peers],
    });
  },
};
