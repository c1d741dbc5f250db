import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { subjectOf } from "../peers.ts";
import type { Contender, Work } from "../work.ts";

const benchmarks = path.dirname(import.meta.dirname);
const root = path.dirname(benchmarks);
const ENTRIES = [
  ["core", "@armature/core"],
  ["core", "@armature/core/in-memory"],
  ["core", "@armature/core/testing"],
  ["adapter-postgres", "@armature/adapter-postgres"],
  ["adapter-redis", "@armature/adapter-redis"],
  ["adapter-vault", "@armature/adapter-vault"],
  ["connectors", "@armature/connectors/hubspot"],
  ["server-express", "@armature/server-express"],
] as const;
const PEERS = ["ai", "@mastra/core", "@langchain/langgraph"];

/** What it costs to have it, before anything is done with it. */
export const imports: Work = {
  name: "import",
  about: "a fresh process that imports what is built and ends: its whole time, and its resident memory",
  run: async (bench) => {
    build();
    const contenders = [
      importer({ subject: "floor", note: "Node that imports nothing", cwd: root, specifier: undefined }),
      ...ENTRIES.map(([folder, specifier], at) =>
        importer({
          subject: at === 0 ? "armature" : `armature (${specifier})`,
          cwd: path.join(root, "packages", folder),
          specifier,
        }),
      ),
      ...(bench.withPeers ? PEERS : []).map((specifier) =>
        importer({ subject: subjectOf(specifier), cwd: benchmarks, specifier }),
      ),
    ];
    await bench.race({ work: "import", unit: "ms", contenders: contenders.map(({ time }) => time) });
    const memory = contenders.map((each) => each.memory);
    await bench.race({ work: "import memory", unit: "MB", rounds: 5, contenders: memory });
  },
};

function importer(options: {
  readonly subject: string;
  readonly note?: string;
  readonly cwd: string;
  readonly specifier: string | undefined;
}): { readonly time: Contender; readonly memory: Contender } {
  const { cwd, specifier, ...named } = options;
  const load = specifier === undefined ? "" : `await import(${JSON.stringify(specifier)});`;
  const script = `${load} process.stdout.write(String(process.memoryUsage.rss()));`;
  const once = () => {
    const start = performance.now();
    const args = ["--input-type=module", "-e", script];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: "utf8" });
    if (status !== 0) throw new Error(`${specifier} could not be imported: ${stderr}`);
    return { ms: performance.now() - start, mb: Number(stdout) / 2 ** 20 };
  };
  return {
    time: { ...named, measure: async () => once().ms },
    memory: { ...named, measure: async () => once().mb },
  };
}

// What is measured is what users get: the built files.
function build(): void {
  if (ENTRIES.every(([folder]) => existsSync(path.join(root, "packages", folder, "dist")))) return;
  const { status } = spawnSync("pnpm", ["build"], { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) throw new Error("The packages could not be built.");
}
