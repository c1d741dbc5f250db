import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Contender } from "./work.ts";

const here = import.meta.dirname;
const { dependencies } = JSON.parse(readFileSync(path.join(here, "package.json"), "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>;
};

/** Package and version of a peer. */
export function subjectOf(name: string, part?: string): string {
  return `${name}@${dependencies[name]}${part === undefined ? "" : ` (${part})`}`;
}

/** Whether they are there already. Whether they are the right ones, `installPeers` finds out. */
export const peersInstalled = (): boolean => existsSync(path.join(here, "node_modules", ".modules.yaml"));

/** Installs the peers as their own lockfile says; takes a moment when they are there. */
export function installPeers(): void {
  const { error, status } = spawnSync("pnpm", ["install", "--frozen-lockfile", "--reporter=silent"], {
    cwd: here,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, CI: "true" },
    shell: process.platform === "win32",
  });
  if (error !== undefined || status !== 0)
    throw new Error("The peers could not be installed. `pnpm bench --no-peers` does without them.", { cause: error });
}

/** A file that imports a peer. It is named at run time, because the rest is checked and run without peers. */
export async function peerContenders(work: string, name: string, setting: unknown): Promise<Contender[]> {
  const file = new URL(`./${work}/${name}.peer.ts`, import.meta.url);
  const { contenders } = (await import(file.href)) as { contenders: (setting: unknown) => Promise<Contender[]> };
  return contenders(setting);
}
