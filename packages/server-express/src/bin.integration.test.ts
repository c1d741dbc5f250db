import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { callAs, occupiedPort } from "./test-server.ts";

const BIN = fileURLToPath(new URL("bin.ts", import.meta.url));
const HOST = fileURLToPath(new URL("test-host.ts", import.meta.url));
const FLAGS = ["--conditions=@armature/source", "--disable-warning=ExperimentalWarning"];
const ARMATURE_KEY = randomBytes(32).toString("base64");

type Env = Readonly<Record<string, string>>;
// Nothing of the machine that runs the tests may configure the server.
const environment = (env: Env): Env => ({ PATH: process.env["PATH"] ?? "", NODE_ENV: "development", ...env });

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], env: Env): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...FLAGS, BIN, ...args], { env: environment(env) }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

interface Server {
  readonly child: ChildProcess;
  readonly origin: string;
  readonly exit: Promise<{ readonly code: number | null; readonly log: string }>;
  /** The first line of the log with this message, now or later. */
  logged(message: string): Promise<Record<string, unknown>>;
}

const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
});

async function start(env: Env): Promise<Server> {
  const child = spawn(process.execPath, [...FLAGS, BIN], { env: environment({ PORT: "0", ...env }), stdio: "pipe" });
  children.add(child);
  let log = "";
  const entries: Record<string, unknown>[] = [];
  const watchers = new Set<() => void>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    log += `${line}\n`;
    entries.push(JSON.parse(line));
    for (const watcher of watchers) watcher();
  });
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  const exit = once(child, "close").then(([code]: (number | null)[]) => {
    children.delete(child);
    return { code: code ?? null, log };
  });
  const logged = (message: string) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const look = () => {
        const found = entries.find((entry) => entry["message"] === message);
        if (found === undefined) return;
        watchers.delete(look);
        resolve(found);
      };
      watchers.add(look);
      look();
      void exit.then(() => reject(new Error(`The server ended before it logged "${message}":\n${log}`)));
    });
  const { origin } = await logged("listening");
  return { child, origin: String(origin), exit, logged };
}

describe("the program", () => {
  test("explains itself on standard output, and what is wrong on the other one", async () => {
    const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    const [help, shown, wrong, unset] = await Promise.all([
      run(["--help"], {}),
      run(["--version"], {}),
      run(["tennant", "create"], {}),
      run([], { ARMATURE_KEY: "hunter2", PORT: "http" }),
    ]);
    expect([help.code, help.stdout.split("\n")[0], help.stderr]).toEqual([0, "armature-server [start]", ""]);
    expect(shown).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect(wrong).toEqual({
      code: 64,
      stdout: "",
      stderr: 'armature-server: There is no command "tennant create". See armature-server --help.\n',
    });
    expect([unset.code, unset.stdout]).toEqual([78, ""]);
    expect(unset.stderr.trim().split("\n")).toEqual([
      "armature-server: PORT must be a whole number from 0 to 65535, for example 3000.",
      "armature-server: ARMATURE_KEY must be 32 bytes in base64, for example the output of `openssl rand -base64 32`.",
    ]);
  });
});

describe("on PGlite", () => {
  let folder: string;
  let env: Env;
  let ann: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "armature-server-"));
    const metrics = await occupiedPort();
    await metrics.free();
    env = {
      ARMATURE_KEY,
      DATA_DIR: join(folder, "data"),
      ARMATURE_CONFIG: HOST,
      METRICS_ADDRESS: `127.0.0.1:${metrics.port}`,
    };
    const tenant = await run(["tenant", "create", "acme", "--name", "Acme"], env);
    expect(tenant).toEqual({ code: 0, stdout: "acme\n", stderr: "" });
    const key = await run(["key", "create", "--tenant", "acme", "--user", "ann", "--role", "owner"], env);
    // Nothing else is on standard output: a script captures it as it is.
    expect(key).toEqual({ code: 0, stdout: expect.stringMatching(/^arm_acme_[0-9a-z]+_[0-9a-f]{64}\n$/), stderr: "" });
    ann = key.stdout.trim();
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("a tenant, a key, a server: the key works until the server is told to end", { timeout: 180_000 }, async () => {
    const server = await start(env);
    const me = await callAs(server.origin, ann, "/me");
    expect(me.json).toMatchObject({ tenant: "acme", actor: { type: "user", id: "ann" } });

    const tools = await callAs(server.origin, ann, "/mcp", {
      json: { jsonrpc: "2.0", id: 1, method: "tools/list" },
      headers: { accept: "application/json, text/event-stream" },
    });
    expect([tools.status, tools.text]).toEqual([200, expect.stringContaining('"trouble_hang"')]);

    const metrics = await (await fetch(`http://${env["METRICS_ADDRESS"]}/metrics`)).text();
    expect(metrics).toMatch(/^armature_operation_duration_count\{.*armature_operation="identity\.whoAmI".*\} 1$/m);

    const taken = await run([], {
      ...env,
      DATA_DIR: join(folder, "other"),
      METRICS_ADDRESS: "",
      PORT: new URL(server.origin).port,
    });
    expect([taken.code, taken.stdout]).toEqual([1, ""]);
    expect(taken.stderr).toMatch(/cannot listen on HOST 127\.0\.0\.1 and PORT \d+ \(EADDRINUSE\)\.\n$/);

    const docs = await callAs(server.origin, "", "/docs", { key: null });
    expect([docs.status, docs.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect(me.headers.get("ratelimit-policy")).toBe('"address";q=6000;w=60, "key";q=6000;w=60, "tenant";q=30000;w=60');
    const looked = await run(["doctor"], { ...env, PORT: new URL(server.origin).port });
    expect([looked.code, looked.stderr]).toEqual([0, ""]);
    expect(looked.stdout).toMatch(/^ok +port +127\.0\.0\.1:\d+ is in use by a server that answers \/health$/m);
    expect(looked.stdout).toMatch(/^warn store +The database directory .* is in use by process \d+/m);

    const locked = await run(["key", "create", "--tenant", "acme", "--user", "ann"], env);
    expect([locked.code, locked.stdout]).toEqual([1, ""]);
    expect(locked.stderr).toMatch(
      /is in use by process \d+ .* End the server that runs on it first, or use its API\.\n$/,
    );

    server.child.kill("SIGTERM");
    const { code, log } = await server.exit;
    expect(code).toBe(0);
    expect(log).toContain('"message":"stopped"');
    for (const secret of [ann, ARMATURE_KEY]) expect(log).not.toContain(secret);
  });

  test("a key that sealed none of its secrets, and metrics that cannot be served, end the start", {
    timeout: 180_000,
  }, async () => {
    const wrong = await run([], { ...env, ARMATURE_KEY: randomBytes(32).toString("base64") });
    expect([wrong.code, wrong.stdout]).toEqual([78, ""]);
    expect(wrong.stderr).toContain("ARMATURE_KEY is not the key that this store's secrets were sealed with");
    const { port, free } = await occupiedPort();
    const unmeasured = await run([], { ...env, METRICS_ADDRESS: `127.0.0.1:${port}` });
    await free();
    expect([unmeasured.code, unmeasured.stdout]).toEqual([1, ""]);
    expect(unmeasured.stderr).toContain(
      `The metrics cannot be served at METRICS_ADDRESS 127.0.0.1:${port} (EADDRINUSE).`,
    );
  });

  test("a tenant is suspended and resumed, and a key is listed and revoked", { timeout: 180_000 }, async () => {
    const says = async (args: readonly string[]) => (await run(args, env)).stdout.trim();
    expect(JSON.parse(await says(["tenant", "show", "acme"]))).toMatchObject({ tenantId: "acme", status: "active" });
    const suspended = await run(["tenant", "suspend", "acme", "--reason", "unpaid"], env);
    expect(suspended.stderr).toBe('armature-server: The tenant "acme" is suspended.\n');
    expect(JSON.parse(await says(["tenant", "show", "acme"]))).toMatchObject({ status: "suspended" });
    const again = await run(["tenant", "suspend", "acme"], env);
    expect([again.code, again.stdout]).toEqual([1, ""]);
    await run(["tenant", "resume", "acme"], env);
    const made = await says(["key", "create", "--tenant", "acme", "--service", "ci", "--role", "owner"]);
    const listed = JSON.parse(await says(["key", "list", "--tenant", "acme", "--service", "ci"]));
    expect([made.endsWith(listed.lastFour), listed.revokedAt]).toEqual([true, undefined]);
    expect(JSON.stringify(listed)).not.toContain(made.split("_").at(-1));
    expect((await run(["key", "revoke", listed.keyId, "--tenant", "acme"], env)).code).toBe(0);
    expect(JSON.parse(await says(["key", "list", "--tenant", "acme", "--service", "ci"])).revokedAt).toBeDefined();
  });

  test("the doctor says what is well, and what to do about what is not", { timeout: 180_000 }, async () => {
    const { code, stdout } = await run(["doctor", "--json"], { ...env, PORT: "0" });
    const { ok, findings } = JSON.parse(stdout);
    expect([code, ok]).toEqual([0, true]);
    expect(findings.map(({ check, status }: Record<string, string>) => `${check} ${status}`)).toEqual(
      ["config", "port", "disk", "migration", "store", "secrets", "bus"].map((check) => `${check} ok`),
    );
    const other = await run(["doctor"], { ...env, PORT: "0", ARMATURE_KEY: randomBytes(32).toString("base64") });
    expect(other.code).toBe(1);
    expect(other.stdout).toMatch(/^fail secrets .*\n +→ Give the ARMATURE_KEY that the data was made with\.$/m);
    const wrong = await run(["doctor", "--json"], { ...env, PORT: "http" });
    expect([wrong.code, JSON.parse(wrong.stdout)]).toMatchObject([78, { ok: false, findings: [{ check: "config" }] }]);
  });

  test("a mistake of ours is told in a sentence; its stack is for who asks for it", { timeout: 180_000 }, async () => {
    const broken = { ...env, ARMATURE_CONFIG: join(folder, "broken.mjs") };
    await writeFile(broken.ARMATURE_CONFIG, "export const contexts = [{ contract: null, handlers: {} }];");
    const short = await run(["tenant", "show", "acme"], broken);
    expect([short.code, short.stdout]).toEqual([1, ""]);
    expect(short.stderr).toMatch(/^armature-server: .*\(LOG_LEVEL=debug shows where\.\)\n$/);
    expect((await run(["tenant", "show", "acme"], { ...broken, LOG_LEVEL: "debug" })).stderr).toMatch(/\n +at /);
  });

  test("a second signal ends the process at once, whatever still runs", { timeout: 180_000 }, async () => {
    const server = await start(env);
    const hanging = callAs(server.origin, ann, "/hang", { method: "POST" });
    const cutOff = expect(hanging).rejects.toThrow();
    await server.logged("hanging");
    server.child.kill("SIGTERM");
    await server.logged("shutting down");
    server.child.kill("SIGTERM");
    expect((await server.exit).code).toBe(143);
    await cutOff;
  });

  test("an error that nobody catches is logged and ends the process", { timeout: 180_000 }, async () => {
    const server = await start(env);
    await callAs(server.origin, ann, "/crash", { method: "POST" }).catch(() => undefined);
    const { code, log } = await server.exit;
    expect(code).toBe(1);
    expect(log).toContain("nobody catches this");
  });
});

const serverUrl = process.env["DATABASE_URL"] ?? "postgres://postgres@127.0.0.1:5432/test";

const onServer = (statement: string) => onDatabase(serverUrl, statement);

async function onDatabase(connectionString: string, statement: string): Promise<void> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 2_000 });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

async function withoutServer(): Promise<boolean> {
  if (process.env["CI"] !== undefined) return false;
  try {
    await onServer("SELECT 1");
    return false;
  } catch {
    console.warn("Skipped: start PostgreSQL 15 or newer on 127.0.0.1:5432, or set DATABASE_URL to a superuser's.");
    return true;
  }
}

describe.skipIf(await withoutServer())("on PostgreSQL", () => {
  const database = `armature_test_${randomBytes(6).toString("hex")}`;
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  const env = { ARMATURE_KEY, DATABASE_URL: url.href };
  beforeAll(() => onServer(`CREATE DATABASE "${database}"`));
  afterAll(() => onServer(`DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`));

  test("nothing is migrated unasked; after migrate everything works, also twice", { timeout: 180_000 }, async () => {
    const early = await run(["tenant", "create", "acme"], env);
    expect([early.code, early.stdout]).toEqual([1, ""]);
    expect(early.stderr).toContain("Run armature-server migrate.");
    const before = await run(["doctor"], { ...env, PORT: "0" });
    expect(before.code).toBe(1);
    expect(before.stdout).toMatch(/^fail migration +\d+ steps are missing .*\n +→ Run armature-server migrate\.$/m);
    for (let round = 0; round < 2; round += 1)
      expect(await run(["migrate"], env)).toEqual({
        code: 0,
        stdout: "",
        stderr: "armature-server: The database is up to date.\n",
      });
    expect((await run(["tenant", "create", "acme"], env)).stdout).toBe("acme\n");
    const { findings } = JSON.parse((await run(["doctor", "--json"], { ...env, PORT: "0" })).stdout);
    expect(findings.map(({ check, status }: Record<string, string>) => `${check} ${status}`)).toEqual([
      ...["config ok", "port ok", "store ok", "role warn", "clock ok", "tenancy ok", "migration ok", "permissions ok"],
      ...["secrets ok", "bus ok"],
    ]);
    await onDatabase(url.href, "ALTER TABLE connectors.events NO FORCE ROW LEVEL SECURITY");
    const open = await run(["doctor"], { ...env, PORT: "0" });
    expect([open.code, open.stdout]).toEqual([1, expect.stringMatching(/^fail tenancy .* connectors\.events/m)]);
    await onDatabase(url.href, "ALTER TABLE connectors.events FORCE ROW LEVEL SECURITY");
    const created = await run(["key", "create", "--tenant", "acme", "--user", "ann", "--role", "owner"], env);
    const server = await start(env);
    expect((await callAs(server.origin, created.stdout.trim(), "/me")).json.tenant).toBe("acme");
    expect((await callAs(server.origin, "", "/ready", { key: null })).status).toBe(200);
    // The commands do not need the server to be away.
    expect((await run(["tenant", "create", "globex"], env)).stdout).toBe("globex\n");
    const listed = (await run(["tenant", "list"], env)).stdout.trim().split("\n");
    expect(listed.map((line) => JSON.parse(line).tenantId)).toEqual(["acme", "globex"]);
    server.child.kill("SIGINT");
    expect((await server.exit).code).toBe(0);
  });

  test("a database that cannot be reached leaves the server up and not ready", { timeout: 180_000 }, async () => {
    const server = await start({ ARMATURE_KEY, DATABASE_URL: "postgres://canary:hunter2@127.0.0.1:1/nowhere" });
    await server.logged("Not ready yet");
    expect((await callAs(server.origin, "", "/health", { key: null })).status).toBe(200);
    const { status, problem } = await callAs(server.origin, "", "/ready", { key: null });
    expect([status, problem.code]).toEqual([503, "http.not_ready"]);
    const refused = await callAs(server.origin, `arm_acme_01abc_${"0".repeat(64)}`, "/me");
    expect([refused.status, refused.problem.code]).toEqual([503, "store.unavailable"]);
    server.child.kill("SIGTERM");
    const { code, log } = await server.exit;
    expect(code).toBe(0);
    expect(log).not.toContain("hunter2");
  });
});
