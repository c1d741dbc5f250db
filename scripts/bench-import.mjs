// How long the built entries take to import and how much memory they add to a bare Node: `pnpm bench:import`, after
// `pnpm build`. Each is imported 15 times in a process of its own; the middle one is told. Nothing is asserted: a
// machine's time is not a promise. What can be counted is in tests/packages/budgets.json.
import { execFileSync } from "node:child_process";
import path from "node:path";
import process from "node:process";

const root = path.dirname(import.meta.dirname);
const TIMES = 15;
const measure = (specifier) => `
  const before = process.memoryUsage().rss, started = performance.now();
  await import(${JSON.stringify(specifier)});
  console.log(JSON.stringify({ ms: performance.now() - started, rss: process.memoryUsage().rss - before }));`;

const entries = [
  ["core", "zod"],
  ["core", "@armature/core"],
  ["core", "@armature/core/in-memory"],
  ["core", "@armature/core/testing"],
  ["adapter-postgres", "@armature/adapter-postgres"],
  ["adapter-redis", "@armature/adapter-redis"],
  ["adapter-vault", "@armature/adapter-vault"],
  ["connectors", "@armature/connectors/hubspot"],
  ["server-express", "@armature/server-express"],
];
console.log(`${"entry".padEnd(32)}${"ms".padStart(8)}${"MB resident".padStart(14)}   (Node ${process.version})`);
for (const [folder, specifier] of entries) {
  const cwd = path.join(root, "packages", folder);
  const runs = Array.from({ length: TIMES }, () =>
    JSON.parse(
      execFileSync(process.execPath, ["--input-type=module", "-e", measure(specifier)], { cwd, encoding: "utf8" }),
    ),
  );
  const middle = (key) => runs.map((run) => run[key]).sort((a, b) => a - b)[Math.floor(TIMES / 2)];
  const [ms, mb] = [middle("ms").toFixed(0), (middle("rss") / 2 ** 20).toFixed(1)];
  console.log(`${specifier.padEnd(32)}${ms.padStart(8)}${mb.padStart(14)}`);
}
