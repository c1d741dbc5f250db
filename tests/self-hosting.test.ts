import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { parsePage } from "./docs/markdown.ts";

const root = path.dirname(import.meta.dirname);
const PAGE = "docs/guides/self-hosting.md";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

test("the operator's guide does what it says, from the first command to the last", { timeout: 180_000 }, async () => {
  const { fences } = parsePage(PAGE, readFileSync(path.join(root, PAGE), "utf8"));
  const steps = fences.filter(({ info }) => info === "sh run");
  expect(steps.length).toBeGreaterThan(3);
  const folder = mkdtempSync(path.join(tmpdir(), "armature-guide-"));
  try {
    // What `npx armature-server` would find, from the sources.
    const bin = path.join(root, "packages/server-express/src/bin.ts");
    const flags = "--conditions=@armature/source --disable-warning=ExperimentalWarning";
    writeFileSync(
      path.join(folder, "armature-server"),
      `#!/bin/sh\nexec "${process.execPath}" ${flags} "${bin}" "$@"\n`,
    );
    chmodSync(path.join(folder, "armature-server"), 0o755);
    const port = await freePort();
    const script = steps.map(({ code }) => code.replaceAll(":3000", `:${port}`)).join("\n");
    const env = { PATH: `${folder}:${process.env["PATH"]}`, PORT: String(port), HOME: folder };
    const ended = await new Promise<{ code: number; text: string }>((resolve) => {
      const args = ["-e", "-o", "pipefail", "-c", script];
      execFile("bash", args, { cwd: folder, env, timeout: 150_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), text: stdout + stderr }),
      );
    });
    expect(ended.text).toContain('"message":"stopped"');
    expect(ended.text).toContain('The tenant "acme" is active again.');
    expect(ended.code, ended.text).toBe(0);
    const exported = readFileSync(path.join(folder, "audit.jsonl"), "utf8").trim().split("\n");
    expect(exported.map((line) => JSON.parse(line).item?.operation)).toContain("identity.createTenant");
    expect(readFileSync(path.join(folder, "docs.html"), "utf8")).toContain("swagger-ui");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
