import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { withoutRedis } from "../../packages/adapter-redis/src/fresh-redis.ts";

it.skipIf(await withoutRedis())("the benchmark of the bus runs, and gives a rate for each contender", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=@armature/source", "run.ts"], {
    cwd: import.meta.dirname,
    env: { ...process.env, ROUNDS: "2", EVENTS: "1000" },
  });
  const rates = [...stdout.matchAll(/^(.+): (\d+)\/s/gm)].map(([, name, rate]) => [name, Number(rate)] as const);
  expect(rates.map(([name]) => name)).toEqual(["XADD, XREADGROUP, XACK", "redisStreams"]);
  for (const [, rate] of rates) expect(rate).toBeGreaterThan(0);
});
