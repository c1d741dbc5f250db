import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { withoutServer } from "../../packages/adapter-postgres/src/fresh-database.ts";

it.skipIf(await withoutServer())("the benchmark of commits runs, and gives a rate for each contender", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=@armature/source", "run.ts"], {
    cwd: import.meta.dirname,
    env: { ...process.env, ROUNDS: "2", ROUND_MS: "50", CALLERS: "2" },
  });
  const rates = [...stdout.matchAll(/^(.+): (\d+)\/s/gm)].map(([, name, rate]) => [name, Number(rate)] as const);
  expect(rates.map(([name]) => name)).toEqual([
    "bare statements, no row-level security",
    "adapter-postgres",
    "adapter-postgres, counting",
  ]);
  for (const [, rate] of rates) expect(rate).toBeGreaterThan(0);
});
