import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { publicPackages } from "../../scripts/public-packages.ts";
import type { Page } from "./markdown.ts";

/** The commands of a page, as one script, and the files that it shows beside them. */
export interface Commands {
  readonly file: string;
  readonly script: string;
  /** Whether they are for who has this repository, and not for who has installed the packages. */
  readonly inRepository: boolean;
  readonly files: ReadonlyMap<string, string>;
}

export function commandsOn(page: Page): Commands | undefined {
  const blocks = page.fences.filter(({ info }) => /^sh run( |$)/.test(info));
  if (blocks.length === 0) return undefined;
  const named = page.fences.flatMap(({ info, code }) => {
    const name = /^ts types file=(\S+)$/.exec(info)?.[1];
    return name === undefined ? [] : [[name, code] as const];
  });
  return {
    file: page.file,
    script: blocks.map(({ code }) => code).join("\n"),
    inRepository: blocks.some(({ info }) => info === "sh run repository"),
    files: new Map(named),
  };
}

/** Runs them where a reader would, on free ports, and ends whatever they have left running. */
export async function runCommands(
  root: string,
  { file, script, inRepository, files }: Commands,
): Promise<{ readonly code: number | null; readonly printed: string }> {
  const scratch = realpathSync(mkdtempSync(path.join(tmpdir(), "armature-page-")));
  try {
    for (const [name, code] of files) writeFileSync(path.join(scratch, name), code);
    install(root, scratch);
    const ports = new Map<string, number>();
    for (const [, port] of script.matchAll(/\b(3000|400\d)\b/g))
      ports.set(port!, ports.get(port!) ?? (await freePort()));
    const text = script.replaceAll(/\b(3000|400\d)\b/g, (port) => String(ports.get(port)));
    const example = /^examples\/[^/]+(?=\/)/.exec(file)?.[0];
    const cwd = inRepository ? root : example === undefined ? scratch : path.join(root, example);
    const child = spawn("bash", ["-e", "-o", "pipefail", "-c", text], {
      cwd,
      detached: true, // a group of its own, which is ended below
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        HOME: scratch,
        PORT: String(ports.get("3000") ?? 0),
        NODE_OPTIONS: "--conditions=@armature/source --disable-warning=ExperimentalWarning",
        npm_config_update_notifier: "false",
      },
    });
    let printed = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        printed += chunk;
      });
    const tooLong = setTimeout(() => end(child.pid!), 120_000);
    const [code] = (await once(child, "exit")) as [number | null];
    clearTimeout(tooLong);
    end(child.pid!);
    return { code, printed };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

// What `npm install` of every package, with its peers, would leave; ours from the sources.
function install(root: string, folder: string): void {
  const modules = path.join(folder, "node_modules");
  mkdirSync(path.join(modules, "@armature"), { recursive: true });
  mkdirSync(path.join(modules, ".bin"));
  writeFileSync(path.join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  for (const name of ["zod", "express"]) symlinkSync(path.join(root, "node_modules", name), path.join(modules, name));
  for (const { directory, manifest } of publicPackages()) {
    symlinkSync(directory, path.join(modules, manifest.name));
    for (const command of Object.keys(manifest.bin ?? {})) {
      const shim = path.join(modules, ".bin", command);
      writeFileSync(shim, `#!/bin/sh\nexec "${process.execPath}" "${path.join(directory, "src/bin.ts")}" "$@"\n`);
      chmodSync(shim, 0o755);
    }
  }
}

function end(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
