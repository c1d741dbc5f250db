// One application that drains an outbox: forked by `drain.ts` with a setting, says what it took.
import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { createArmature, type EventBus } from "@armature/core";
import { Pool } from "pg";
import { countersContext } from "../counters.ts";
import type { Drained, DrainSetting, Memory } from "./drain.ts";

const { url, name, events } = JSON.parse(process.argv[2]!) as DrainSetting;
/** The first pages fill caches and have code compiled. */
const warm = events / 20;
const MB = 2 ** 20;

// Done, or whoever started it has gone.
process.once("disconnect", () => process.exit());

let published = 0;
let before: Memory | undefined;
let most = 0;
const memory = (): Memory => {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss / MB, inUse: (heapUsed + external) / MB };
};
const bus: EventBus = {
  publish: async (batch) => {
    published += batch.length;
    most = Math.max(most, process.memoryUsage.rss() / MB);
    if (published >= warm) before ??= memory();
  },
  subscribe: async () => ({ close: async () => {} }),
  ping: async () => {},
  close: async () => {},
};
const pool = new Pool({ connectionString: url, max: 5 });
pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
const start = performance.now();
const app = await createArmature({
  store: postgres({ pool, rolePrefix: name }),
  contexts: [countersContext],
  keyEncryptionKey: randomBytes(32).toString("base64"),
  bus,
});
await app.settled({ timeoutMs: 3_600_000 });
if (before === undefined || published < events)
  throw new Error(`Only ${published} of ${events} events were published.`);
const seconds = (performance.now() - start) / 1000;
process.send?.({ seconds, before, after: memory(), most } satisfies Drained);
await app.close();
await pool.end();
