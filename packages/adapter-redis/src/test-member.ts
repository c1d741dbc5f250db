// A member in a process of its own, for a test: it says what it gets, and `order/deadly` ends it. Without deadly events
// it leaves after a while in which nothing came.
import { createClient } from "@redis/client";
import { redisStreams } from "./redis-streams.ts";

const [url, prefix] = process.argv.slice(2);
const client = createClient({ url: url! });
client.on("error", () => undefined);
await client.connect();
const bus = redisStreams({ client, prefix, partitions: 1, maxAttempts: 2, leaseMs: 300, backoffMs: 5 });
let quiet = setTimeout(leave, 3_000);
await bus.subscribe({
  group: "g",
  sources: ["/contexts/orders"],
  handle: async ({ subject, sequence }) => {
    clearTimeout(quiet);
    quiet = setTimeout(leave, 3_000);
    await new Promise((written) => process.stdout.write(`${subject} ${sequence}\n`, written));
    if (subject === "order/deadly") process.kill(process.pid, "SIGKILL");
  },
});

async function leave() {
  await bus.close();
  await client.close();
}
