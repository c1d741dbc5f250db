import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sqlite } from "./index.ts";

const FLAGS = ["--conditions=@armature/source", "--disable-warning=ExperimentalWarning"];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "armature-sqlite-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function said<T>(child: ChildProcess): Promise<T> {
  const ended = once(child, "exit");
  const [message] = await Promise.race([
    once(child, "message"),
    ended.then(() => Promise.reject(new Error("It ended."))),
  ]);
  await ended;
  return message as T;
}

it("processes that open one new file at once have one lease, one bucket and one cache", {
  timeout: 90_000,
}, async () => {
  writeFileSync(path.join(folder, "counter"), "0");
  const names = ["a", "b", "c"];
  const results = await Promise.all(
    names.map((name) => {
      const program = path.join(import.meta.dirname, "contender.ts");
      const child = fork(program, [folder, name, "40"], { execArgv: FLAGS });
      return said<{ readonly fences: readonly number[]; readonly tokens: number }>(child);
    }),
  );
  expect(readFileSync(path.join(folder, "counter"), "utf8")).toBe("120");
  const fences = results.flatMap((result) => result.fences);
  expect(new Set(fences).size).toBe(120);
  for (const result of results) expect(result.fences).toEqual(result.fences.toSorted((a, b) => a - b));
  expect(results.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(20);
  const { cache, close } = sqlite({ file: path.join(folder, "shared.db") });
  for (const name of names) expect(await cache.get("names", name)).toBe(name.repeat(1_000));
  close();
});

it("what a process held that was killed with -9 is free when its time is over, with a higher fence", {
  timeout: 60_000,
}, async () => {
  const file = path.join(folder, "killed.db");
  const holding = `
    import { sqlite } from ${JSON.stringify(path.join(import.meta.dirname, "index.ts"))};
    const { lease } = sqlite({ file: ${JSON.stringify(file)} });
    console.log((await lease.acquire("key", 3_000)).fence);
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, [...FLAGS, "--input-type=module", "-e", holding], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const [fence] = await once(child.stdout, "data");
  child.kill("SIGKILL");
  await ended;
  const { lease, close } = sqlite({ file });
  expect(await lease.acquire("key", 1_000)).toBeUndefined();
  let next: Awaited<ReturnType<typeof lease.acquire>>;
  await expect.poll(async () => (next = await lease.acquire("key", 1_000)), { timeout: 10_000 }).toBeDefined();
  expect(next!.fence).toBeGreaterThan(Number(fence));
  close();
});

it("a file that is no database is an error of its own, and a closed one too, without its path", async () => {
  const file = path.join(folder, "no-database.db");
  writeFileSync(file, "This is no database, and was never meant to be one. ".repeat(100));
  const broken = sqlite({ file });
  const error = await broken.lease.acquire("key", 1_000).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "sqlite.failed", details: { reason: "code 26" } });
  expect(String(error)).not.toContain(folder);
  broken.close();
  await expect(broken.lease.acquire("key", 1_000)).rejects.toMatchObject({ code: "sqlite.unavailable" });
  const lost = sqlite({ file: path.join(folder, "no-folder", "file.db") });
  await expect(lost.cache.get("group", "key")).rejects.toMatchObject({ code: "sqlite.unavailable" });
  expect(() => sqlite({ file: "" })).toThrow("The options of sqlite");
});
