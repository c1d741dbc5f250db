// Installs what is missing, without a word when nothing is, and runs the demo: `npm run demo -- --once`.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { endLike, run } from "./child.mjs";

const root = path.dirname(import.meta.dirname);

install();
endLike(
  await run(
    process.execPath,
    ["--conditions=@armature/source", path.join(root, "examples", "demo", "demo.ts"), ...process.argv.slice(2)],
    { cwd: root },
  ),
);

function install() {
  if (!installed()) console.log("Installing the dependencies (once)…");
  const { status, error, stdout, stderr } = spawnSync("pnpm", ["install", "--frozen-lockfile"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
  if (status === 0) return;
  console.error(`The dependencies could not be installed.\n${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`);
  process.exit(1);
}

// pnpm keeps a copy of the lockfile that it has installed.
function installed() {
  try {
    const [wanted, present] = ["pnpm-lock.yaml", "node_modules/.pnpm/lock.yaml"].map((file) =>
      readFileSync(path.join(root, file), "utf8"),
    );
    return wanted === present;
  } catch {
    return false;
  }
}
