import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const cli = createRequire(import.meta.url).resolve("@stoplight/prism-cli");

export interface PrismServer {
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Serves an OpenAPI document with prism, in a process of its own on a free port of loopback. A request or an answer that
 * does not fit the document is an error, and the header `sl-violations` says where. A request may choose its answer by
 * the header `Prefer`: `code=207`, or `dynamic=true`, which makes one up from the document, another one each time.
 */
export async function startPrism(document: unknown): Promise<PrismServer> {
  const folder = mkdtempSync(path.join(tmpdir(), "armature-prism-"));
  const file = path.join(folder, "description.json");
  writeFileSync(file, JSON.stringify(document));
  const args = [cli, "mock", "--errors", "--host", "127.0.0.1", "--port", "0", file];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  const exited = once(child, "exit");
  const close = async () => {
    kill();
    await exited;
    process.off("exit", kill);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    return { origin: await listening(child.stdout, child.stderr, exited), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function listening(
  stdout: NodeJS.ReadableStream,
  stderr: NodeJS.ReadableStream,
  exited: Promise<unknown>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    for (const stream of [stdout, stderr])
      stream.on("data", (chunk) => {
        // Later output is thrown away, but has to be read.
        if (said.length < 100_000) said += chunk;
        const origin = /listening on (http:\/\/[\d.:]+)/.exec(said)?.[1];
        if (origin !== undefined) resolve(origin);
      });
    exited.then(() => reject(new Error(`prism ended before it was ready:\n${said}`)), reject);
  });
}
