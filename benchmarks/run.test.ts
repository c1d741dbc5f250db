import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { withoutRedis } from "../packages/adapter-redis/src/fresh-redis.ts";
import { peersInstalled } from "./peers.ts";
import { report } from "./rows.ts";
import { works } from "./works.ts";

const here = import.meta.dirname;
const noServer = (await withoutServer()) || (await withoutRedis());
const noPeers = !peersInstalled();
if (noPeers) console.warn("Skipped: the peers of the benchmarks are not installed; `pnpm bench --quick` does it.");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "armature-bench-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ["--conditions=@armature/source", path.join(here, "run.ts"), ...args]);

describe("the benchmarks", () => {
  // What is imported has to be built, which the checks do only later.
  const named = works.map(({ name }) => name).filter((name) => name !== "import");

  it.skipIf(noServer).each(named)(
    "run %s, and write down Armature beside the floor",
    async (name) => {
      const file = path.join(folder, `${name}.json`);
      await bench(name, "--quick", "--no-peers", "--json", file);
      const { about, rows } = report.parse(JSON.parse(await readFile(file, "utf8")));
      expect(about).toMatchObject({ quick: true, versions: { Node: process.versions.node } });
      expect(rows.map(({ work }) => work.split(" ")[0])).toEqual(rows.map(() => name));
      expect(rows.filter(({ subject }) => subject === "armature").length).toBeGreaterThan(0);
      for (const row of rows) expect(row.median, row.work).toBeGreaterThanOrEqual(0);
      if (name === "growth" || name === "idle") return;
      const firsts = rows.filter(({ work }) => work === rows[0]!.work);
      expect(firsts.map(({ subject }) => subject)).toEqual(expect.arrayContaining(["floor", "armature"]));
      expect(firsts.find(({ subject }) => subject === "floor")!.ratioToFloor).toBe(1);
    },
    180_000,
  );

  it("put what was measured into a page, between its marks", async () => {
    const [json, page] = [path.join(folder, "measured.json"), path.join(folder, "page.md")];
    const about = { date: "2026-11-21T03:04:05.678Z", quick: false, machine: "2 × CPU", versions: { Node: "24.0.0" } };
    const ours = { work: "call", subject: "armature", unit: "µs", median: 8, p95: 9.5, runs: 11 } as const;
    const rows = [{ ...ours, ratioToFloor: 0.5, ratioToOurs: 1 }];
    await writeFile(json, JSON.stringify({ about, rows }));
    await writeFile(page, "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n");
    await bench("--json", json, "--markdown", page);
    const text = await readFile(page, "utf8");
    expect(text).toContain("| call | armature | 8 | 9.5 | µs | 0.50 | 1.00 |");
    expect(text).toContain("2026-11-21, 2 × CPU; Node 24.0.0.");
    const [before, ...rest] = text.split("<!-- results -->");
    expect([before, rest.join().split("<!-- end of results -->")[1]]).toEqual(["before\n", "\nafter\n"]);
    expect(text).not.toContain("old");
  });

  it("are what `pnpm bench` runs", () => {
    const { scripts } = JSON.parse(readFileSync(path.join(path.dirname(here), "package.json"), "utf8"));
    expect(scripts["bench"]).toMatch(/ benchmarks\/run\.ts$/);
  });

  it("refuse a name that there is not, and say which there are", async () => {
    await expect(bench("nothing")).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining("dispatch") });
  });

  it("pin every peer exactly", () => {
    const { dependencies } = JSON.parse(readFileSync(path.join(here, "package.json"), "utf8"));
    for (const version of Object.values(dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it.skipIf(noPeers)(
    "use their peers as these are declared",
    () => {
      const tsc = path.join(path.dirname(here), "node_modules", "typescript", "bin", "tsc");
      const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", here], { encoding: "utf8" });
      expect(stdout).toBe("");
      expect(status).toBe(0);
    },
    180_000,
  );
});
