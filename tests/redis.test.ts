import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FreshDatabase, freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { type FreshRedis, freshRedis, PrivateRedis, withoutRedis } from "../packages/adapter-redis/src/fresh-redis.ts";

const root = path.dirname(import.meta.dirname);
const BIN = path.join(root, "packages/server-express/src/bin.ts");
const FLAGS = ["--conditions=@armature/source", "--disable-warning=ExperimentalWarning"];
const KEY = randomBytes(32).toString("base64");
const children = new Set<ChildProcess>();

type Env = Readonly<Record<string, string>>;

/** A process, what it prints line by line, and what it is told. */
function start(file: string, env: Env) {
  const child = spawn(process.execPath, [...FLAGS, file], {
    env: environment(env),
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.add(child);
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const printed = (wanted: (lines: readonly string[]) => boolean, timeout = 30_000) =>
    expect.poll(() => wanted(lines), { timeout, interval: 20 }).toBe(true);
  return { child, lines, printed };
}
// Nothing of the machine that runs the tests may configure the processes.
const environment = (env: Env) => ({ PATH: process.env["PATH"] ?? "", NODE_ENV: "development", ...env });

describe.skipIf((await withoutRedis()) || (await withoutServer()))("processes that share a Redis", () => {
  let server: PrivateRedis;
  let redis: FreshRedis;
  let database: FreshDatabase;
  beforeEach(async () => {
    server = await PrivateRedis.start();
    redis = await freshRedis(server.url);
    database = await freshDatabase();
  });
  afterEach(async () => {
    const ending = [...children].filter((child) => child.exitCode === null && child.signalCode === null);
    const ended = ending.map((child) => once(child, "exit"));
    for (const child of ending) child.kill("SIGKILL");
    await Promise.all(ended);
    children.clear();
    await redis.close().catch(() => undefined);
    await server.remove();
    await database.close();
  });

  it("hands an app's events to a consumer elsewhere, in order, over a killed consumer and a killed Redis", {
    timeout: 120_000,
  }, async () => {
    const env = { DATABASE_URL: database.url, REDIS_URL: server.url, KEY };
    const consumer = start(path.join(root, "tests/redis/consumer.ts"), env);
    const publisher = start(path.join(root, "tests/redis/publisher.ts"), env);
    const ready = (lines: readonly string[]) => lines.includes("ready");
    await Promise.all([consumer.printed(ready), publisher.printed(ready)]);
    const place = async (count: number, times: number) => {
      publisher.child.stdin!.write(`${count}\n`);
      await publisher.printed((lines) => lines.filter((line) => line === "committed").length === times);
    };
    const events = (lines: readonly string[]) => lines.filter((line) => line.startsWith("order/"));

    await place(10, 1);
    await consumer.printed((lines) => events(lines).length >= 5);
    consumer.child.kill("SIGKILL");
    await place(10, 2);
    const next = start(path.join(root, "tests/redis/consumer.ts"), env);
    const all = () => new Set([...events(consumer.lines), ...events(next.lines)]);
    await expect.poll(() => all().size, { timeout: 30_000 }).toBe(40);

    // Commands go on while Redis is away; their events wait, and come in order.
    await server.kill();
    await place(10, 3);
    expect(all().size).toBe(40);
    await server.start();
    await expect.poll(() => all().size, { timeout: 30_000 }).toBe(60);

    // Of each subject the first comes first, whoever got it and however often.
    for (const { lines } of [consumer, next])
      for (const [at, line] of lines.entries())
        if (line.endsWith(" 2")) expect([...consumer.lines, ...lines.slice(0, at)]).toContain(line.replace(/2$/, "1"));
    publisher.child.stdin!.end();
    await once(publisher.child, "exit");
    expect(publisher.child.exitCode).toBe(0);
  });

  it("counts in Redis for a server with REDIS_URL, whose doctor looks at it, and which goes on without it", {
    timeout: 120_000,
  }, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "armature-redis-server-"));
    const env = {
      ARMATURE_KEY: KEY,
      DATA_DIR: path.join(folder, "data"),
      REDIS_URL: server.url,
      PORT: "0",
      RATE_LIMIT_KEY: "5",
    };
    const run = (...args: string[]) =>
      new Promise<{ code: number; stdout: string }>((resolve) => {
        execFile(process.execPath, [...FLAGS, BIN, ...args], { env: environment(env) }, (error, stdout) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout }),
        );
      });
    try {
      await run("tenant", "create", "acme", "--name", "Acme");
      const key = (await run("key", "create", "--tenant", "acme", "--user", "ann", "--role", "owner")).stdout.trim();
      const well = await run("doctor");
      expect([well.code, well.stdout.match(/^\S+ +redis .*/gm)]).toEqual([
        0,
        [expect.stringMatching(/^ok .* answers$/)],
      ]);

      const { child, lines, printed } = start(BIN, env);
      const logged = (message: string) => printed((all) => all.some((line) => line.includes(`"message":"${message}"`)));
      await logged("listening");
      const { origin } = JSON.parse(lines.find((line) => line.includes('"listening"'))!);
      const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
      const createRole = async (role: string) => {
        const body = JSON.stringify({ role, permissions: ["audit:read"] });
        const answer = await fetch(`${origin}/roles`, { method: "POST", headers, body });
        return [answer.status, await answer.text()];
      };
      expect(await createRole("reader")).toEqual([204, ""]);
      expect(await redis.client.keys("armature:rate:*http%20key*")).toHaveLength(1);
      await expect.poll(() => redis.client.keys("armature:bus:*"), { timeout: 10_000 }).not.toEqual([]);

      await server.kill();
      await logged("Redis cannot be reached");
      expect(await createRole("writer")).toEqual([204, ""]);
      expect((await fetch(`${origin}/ready`)).status).toBe(200);
      child.kill("SIGTERM");
      await once(child, "exit");
      expect(child.exitCode).toBe(0);
      expect(lines.join("\n")).not.toContain(server.url);

      const ill = await run("doctor");
      expect([ill.code, ill.stdout]).toEqual([1, expect.stringMatching(/^fail +redis .*\(redis\.unavailable\)/m)]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
