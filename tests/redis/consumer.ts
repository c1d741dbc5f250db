// A consumer in a process of its own: it prints the subject and the sequence of each event of the orders that it gets.
import { openRedis, redisStreams } from "@armature/adapter-redis";

const redis = await openRedis(process.env["REDIS_URL"]!);
const bus = redisStreams({ client: redis.client, leaseMs: 1_000 });
await bus.subscribe({
  group: "billing",
  sources: ["/contexts/orders"],
  handle: (event) =>
    new Promise((written) => process.stdout.write(`${event.subject} ${event.sequence}\n`, () => written())),
});
console.log("ready");
