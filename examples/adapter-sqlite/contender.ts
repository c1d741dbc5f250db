// A process of its own, started by the test: it takes what others want too, and says what it got.
import { readFileSync, writeFileSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { sqlite } from "./index.ts";

const [folder, name, turns] = process.argv.slice(2) as [string, string, string];
const { lease, cache, rateLimiter, close } = sqlite({ file: `${folder}/shared.db` });
const counter = `${folder}/counter`;
const BUCKET = { key: "all", bucket: { capacity: 20, refillMs: 3_600_000 } };

const fences: number[] = [];
while (fences.length < Number(turns)) {
  const held = await lease.acquire("counter", 60_000);
  if (held === undefined) {
    await turn();
    continue;
  }
  // Whoever holds the lease is alone with the file: nothing of this is atomic.
  const value = Number(readFileSync(counter, "utf8"));
  await turn();
  writeFileSync(counter, String(value + 1));
  fences.push(held.fence);
  await held.release();
}
let tokens = 0;
for (let asked = 0; asked < 15; asked += 1) if ((await rateLimiter.take([BUCKET])).allowed) tokens += 1;
await cache.set("names", name, name.repeat(1_000), 3_600_000);
close();
process.send?.({ fences, tokens });
