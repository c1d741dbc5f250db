import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { freePort } from "../../packages/adapter-redis/src/fresh-redis.ts";

const run = promisify(execFile);
const DEBIAN = "/usr/lib/postgresql";

/** Whoever the server runs as: it refuses to run as root. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A PostgreSQL of one's own, to be stopped and started: on a port of its own, in a folder of its own. */
export class PrivatePostgres {
  /** Of the database `postgres`, as its superuser. */
  readonly url: string;
  readonly #binaries: string;
  readonly #owner: Owner | undefined;
  readonly #port: number;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(binaries: string, owner: Owner | undefined, port: number, folder: string) {
    this.#binaries = binaries;
    this.#owner = owner;
    this.#port = port;
    this.#folder = folder;
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  }

  static async start(): Promise<PrivatePostgres> {
    const binaries = await newestBinaries();
    const owner = process.getuid?.() === 0 ? await postgresUser() : undefined;
    const folder = await mkdtemp(join(tmpdir(), "armature-postgres-"));
    if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
    const args = ["--pgdata", join(folder, "data"), "--username", "postgres", "--auth", "trust", "--no-sync"];
    await run(join(binaries, "initdb"), [...args, "--encoding", "UTF8", "--locale", "C"], { cwd: folder, ...owner });
    const server = new PrivatePostgres(binaries, owner, await freePort(), folder);
    await server.start();
    return server;
  }

  /** Resolves when it takes connections: after a stop in haste, once it has recovered. */
  async start(): Promise<void> {
    const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "log_min_messages=log"];
    const args = [
      "-D",
      join(this.#folder, "data"),
      "-p",
      String(this.#port),
      ...settings.flatMap((each) => ["-c", each]),
    ];
    const child = spawn(join(this.#binaries, "postgres"), args, {
      cwd: this.#folder,
      env: { PATH: process.env["PATH"], LC_ALL: "C" },
      stdio: ["ignore", "ignore", "pipe"],
      ...this.#owner,
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`postgres ended with ${code}.`)));
      createInterface({ input: child.stderr }).on("line", (line) => {
        if (line.includes("database system is ready to accept connections")) resolve();
      });
    });
  }

  /** Ends it without a word to anybody (`immediate`): it recovers from its log when it starts again. */
  async stopInHaste(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGQUIT");
    await ended;
  }

  async remove(): Promise<void> {
    await this.stopInHaste();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** Whether there is none to be started here. In CI that is a failure. */
export async function withoutPrivatePostgres(): Promise<boolean> {
  if (process.env["CI"] !== undefined) return false;
  return newestBinaries().then(
    () => false,
    () => {
      console.warn(`Skipped: install PostgreSQL 15 or newer, so that its programs are under ${DEBIAN} or in PATH.`);
      return true;
    },
  );
}

/** The newest that Debian has installed, or else what is found in PATH. */
async function newestBinaries(): Promise<string> {
  const versions = (await readdir(DEBIAN).catch(() => [])).map(Number).filter((version) => version >= 15);
  if (versions.length > 0) return join(DEBIAN, String(Math.max(...versions)), "bin");
  return (await run("pg_config", ["--bindir"])).stdout.trim();
}

async function postgresUser(): Promise<Owner> {
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map(async (what) => Number((await run("id", [what, "postgres"])).stdout)),
  );
  return { uid: uid!, gid: gid! };
}
