import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, readlink, rename, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { tryParse } from "@armature/core";
import { z } from "zod";
import { DirectoryInUse } from "./errors.ts";

/** What a process writes down about itself. A pid alone says little: in containers everybody is process 1. */
const claimSchema = z.object({
  pid: z.number().int(),
  /** When the process started, in the kernel's ticks. Null where there is no /proc, as are the next two. */
  started: z.string().nullable(),
  /** Changes when the machine starts again. */
  boot: z.string().nullable(),
  /** The process namespace; a pid means something only inside its own. */
  namespace: z.string().nullable(),
  host: z.string(),
  /** Whether a socket beside the claim is open for as long as the process lives. */
  socket: z.boolean(),
  since: z.string(),
});
type Claim = z.infer<typeof claimSchema>;

export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * Claims a directory for this process. Every process that wants it first puts down a claim of its own and then looks
 * at the others: of two that come at once, at least one sees the other, so never both go on. A claim whose process is
 * certainly dead is removed; when nobody can tell, it counts as alive.
 *
 * @throws {DirectoryInUse} when another process, or this one, has it
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const folder = join(directory, "lock");
  await mkdir(folder, { recursive: true });
  const name = `${process.pid}-${randomUUID().slice(0, 8)}`;
  // The socket comes first: a claim without one could be taken for that of a dead process.
  const server = await listen(socketOf(folder, name));
  const claim = await claimOfThisProcess(server !== undefined);
  await writeFile(join(folder, `${name}.new`), JSON.stringify(claim));
  await rename(join(folder, `${name}.new`), join(folder, `${name}.json`));
  const release = async () => {
    await remove(folder, name);
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  };

  for (const file of await readdir(folder)) {
    const other = file.endsWith(".json") ? file.slice(0, -".json".length) : name;
    if (other === name) continue;
    const found = await readClaim(join(folder, file));
    if (found !== undefined && (await isAlive(found, claim, socketOf(folder, other)))) {
      await release();
      const holder = `process ${found.pid} on ${found.host} since ${found.since} (${join(folder, file)})`;
      throw new DirectoryInUse({ directory, holder });
    }
    await remove(folder, other);
  }
  return { release };
}

async function claimOfThisProcess(socket: boolean): Promise<Claim> {
  return {
    pid: process.pid,
    started: await startOf(process.pid),
    boot: await orNull(readFile("/proc/sys/kernel/random/boot_id", "utf8")),
    namespace: await orNull(readlink("/proc/self/ns/pid")),
    host: hostname(),
    socket,
    since: new Date().toISOString(),
  };
}

/** Undefined when it is gone meanwhile, or half of it was lost with the machine: nobody alive leaves such a claim. */
async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    const parsed = tryParse(claimSchema, JSON.parse(await readFile(path, "utf8")));
    return parsed.ok ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}

async function isAlive(claim: Claim, me: Claim, socket: string): Promise<boolean> {
  // Another machine, of which nothing can be known from here; or this one, before it started again.
  if (claim.boot !== me.boot) return claim.host !== me.host;
  if (claim.namespace !== me.namespace) return claim.socket ? answers(socket) : true;
  const started = await startOf(claim.pid);
  if (claim.started !== null) return started === claim.started;
  return exists(claim.pid);
}

/** When a living process started; null when there is none, or no way to know. */
async function startOf(pid: number): Promise<string | null> {
  const stat = await orNull(readFile(`/proc/${pid}/stat`, "utf8"));
  // The name in parentheses may hold anything; after it come the state and, as the twentieth field, the start.
  const [state, ...fields] = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
  return state === undefined || state === "Z" || state === "X" ? null : (fields[18] ?? null);
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function socketOf(folder: string, name: string): string {
  return join(folder, `${name}.sock`);
}

/** The kernel closes the socket with the process, which other containers on the same machine can find out. */
async function listen(path: string): Promise<Server | undefined> {
  const server = createServer((connection) => connection.destroy());
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined)); // too long a path, or a file system without sockets
    server.listen(path, () => resolve(server.unref()));
  });
}

async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(path, () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}

async function remove(folder: string, name: string): Promise<void> {
  await rm(join(folder, `${name}.json`), { force: true });
  await rm(socketOf(folder, name), { force: true });
}

async function orNull(reading: Promise<string>): Promise<string | null> {
  try {
    return (await reading).trim();
  } catch {
    return null;
  }
}
