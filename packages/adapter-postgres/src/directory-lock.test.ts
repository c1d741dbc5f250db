import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lockDirectory } from "./directory-lock.ts";
import { DirectoryInUse } from "./errors.ts";
import { pglite } from "./pglite.ts";

const noProc = process.platform !== "linux";

describe("The directory of an embedded database", () => {
  let directory: string;
  const children: ChildProcess[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "armature-lock-"));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child);
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs a module in a process of its own until it has printed a line, and gives that line. */
  const inChild = async (code: string): Promise<{ readonly child: ChildProcess; readonly line: string }> => {
    const source = `const { lockDirectory } = await import(${JSON.stringify(import.meta.resolve("./directory-lock.ts"))});
      const { pglite } = await import(${JSON.stringify(import.meta.resolve("./pglite.ts"))});
      const directory = ${JSON.stringify(directory)};
      ${code}
      setInterval(() => {}, 1_000);`;
    const flags = ["--conditions=@armature/source", "--input-type=module", "--eval", source];
    const child = spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    const gone = once(child, "exit").then(() => Promise.reject(new Error("The child ended before it was ready.")));
    const [line] = (await Promise.race([once(createInterface(child.stdout!), "line"), gone])) as [string];
    gone.catch(() => undefined);
    return { child, line };
  };
  const kill = async (child: ChildProcess) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  const claims = async () => (await readdir(join(directory, "lock"))).filter((file) => file.endsWith(".json"));
  /** Puts down a claim like that of another process. */
  const claim = async (name: string, more: object) => {
    await mkdir(join(directory, "lock"), { recursive: true });
    const common = { pid: 1, started: "1", boot: null, namespace: null, host: "box", socket: false, since: "then" };
    await writeFile(join(directory, "lock", `${name}.json`), JSON.stringify({ ...common, ...more }));
  };
  const self = async () => ({
    boot: (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim(),
    namespace: await readlink("/proc/self/ns/pid"),
  });

  it("is refused to a second process, which is told who holds it", async () => {
    const { child } = await inChild("await lockDirectory(directory); console.log('locked');");
    const refused = await lockDirectory(directory).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DirectoryInUse);
    expect((refused as DirectoryInUse).message).toContain(`is in use by process ${child.pid} on ${hostname()}`);
    const store = pglite({ dataDir: directory });
    await expect(store.ping()).rejects.toMatchObject({ code: "store.directory_in_use" });
    await store.close();
    expect(await claims()).toHaveLength(1);
  });

  it("is refused to the same process, until it is given back", async () => {
    const first = await lockDirectory(directory);
    await expect(lockDirectory(directory)).rejects.toBeInstanceOf(DirectoryInUse);
    await first.release();
    await (await lockDirectory(directory)).release();
    expect(await readdir(join(directory, "lock"))).toEqual([]);
  });

  it("never has two holders, however many come at once", async () => {
    for (let round = 0; round < 5; round += 1) {
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)));
      const held = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      expect(held.length).toBeLessThanOrEqual(1);
      for (const lock of held) await lock.release();
    }
  });

  it("is free again when its holder was killed, and everything that was committed is there", async () => {
    // What a process leaves that was killed while it made the database.
    await mkdir(join(directory, "pgdata.new", "base"), { recursive: true });
    const { child, line } = await inChild(`
      const store = pglite({ dataDir: directory });
      await store.migrate([{ name: "orders", aggregates: [{ type: "order", index: [] }] }]);
      for (let version = 1; version <= 20; version += 1)
        await store.commit("acme", { parts: [{ context: "orders", events: [], messages: [], audit: [], aggregates: [
          { type: "order", id: "a", expectedVersion: version - 1, write: { version, stateVersion: 1, state: {}, index: {} } },
        ] }] });
      await store.lease.acquire("refresh", 600_000);
      console.log("committed");`);
    expect(line).toBe("committed");
    const store = pglite({ dataDir: directory });
    await expect(store.ping()).rejects.toBeInstanceOf(DirectoryInUse);

    await kill(child);
    expect(await store.load({ tenant: "acme", context: "orders" }, [{ type: "order", id: "a" }])).toMatchObject([
      { version: 20 },
    ]);
    // Whoever held a lease is dead, so nobody has to wait for it to run out.
    expect(await store.lease.acquire("refresh", 1_000)).toMatchObject({ fence: 2 });
    await store.close();
    expect(await readdir(join(directory, "lock"))).toEqual([]);
    await expect(store.ping()).rejects.toMatchObject({ code: "store.unavailable" });
  }, 60_000);

  describe.skipIf(noProc)("and the claim of a process that cannot be asked", () => {
    it("is dropped when another process has its number by now", async () => {
      await claim("old", { ...(await self()), pid: process.ppid, started: "1" });
      await (await lockDirectory(directory)).release();
      expect(await claims()).toEqual([]);
    });

    it("is kept while its socket answers from another container on this machine, and dropped when it does not", async () => {
      const { boot } = await self();
      await claim("other", { boot, namespace: "pid:[1]", socket: true });
      const socket = createServer().listen(join(directory, "lock", "other.sock"));
      await once(socket, "listening");
      await expect(lockDirectory(directory)).rejects.toBeInstanceOf(DirectoryInUse);
      await new Promise((resolve) => socket.close(resolve));
      await (await lockDirectory(directory)).release();
      expect(await claims()).toEqual([]);
    });

    it("is kept when it is on another machine, of which nothing is known", async () => {
      await claim("far", { boot: "another", host: "elsewhere" });
      await expect(lockDirectory(directory)).rejects.toThrow(/process 1 on elsewhere/);
      expect(await claims()).toEqual(["far.json"]);
    });

    it("is dropped when this machine has been started again since", async () => {
      await claim("before", { boot: "earlier", host: hostname(), pid: process.pid });
      await (await lockDirectory(directory)).release();
      expect(await claims()).toEqual([]);
    });

    it("is dropped when it was cut off with the machine's power", async () => {
      await mkdir(join(directory, "lock"));
      await writeFile(join(directory, "lock", "half.json"), '{"pid":');
      await (await lockDirectory(directory)).release();
      expect(await claims()).toEqual([]);
    });
  });
});
