import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { withoutRedis } from "../packages/adapter-redis/src/fresh-redis.ts";
import { judge, type LoggedEvent } from "./processes/judge.ts";
import { KINDS, type KindResult } from "./processes/kinds.ts";
import { withoutPrivatePostgres } from "./processes/private-postgres.ts";
import type { Order } from "./processes/workload.ts";

const root = path.dirname(import.meta.dirname);
const skipped = (await withoutPrivatePostgres()) || (await withoutRedis());

function run(...args: string[]): Promise<{ code: number; printed: string }> {
  const command = ["--conditions=@armature/source", path.join(root, "scripts/faults-processes.ts"), ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, command, { maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), printed: stdout + stderr }),
    );
  });
}

describe.skipIf(skipped)("processes that are killed on servers that are", () => {
  it("lose nothing, keep the order and do nothing twice", { timeout: 400_000 }, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "armature-processes-"));
    try {
      const file = path.join(folder, "figures.json");
      const { code, printed } = await run("--kills", "2", "--json", file);
      expect(code, printed).toBe(0);
      const { kinds } = JSON.parse(await readFile(file, "utf8")) as { kinds: readonly KindResult[] };
      expect(kinds.map(({ kind }) => kind)).toEqual(KINDS);
      for (const { kind, kills, acknowledged, delivered, forgotten } of kinds) {
        expect(kills).toBe(2);
        // Nothing is found where nothing is done: each part has worked before each kill.
        expect(acknowledged, kind).toBeGreaterThanOrEqual(20);
        expect(delivered, kind).toBe(2 * acknowledged - forgotten);
        if (kind !== "flush") expect(forgotten, kind).toBe(0);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("are refused what is not a kind", async () => {
    expect(await run("--kind", "printers")).toMatchObject({
      code: 1,
      printed: expect.stringContaining("--kind is one"),
    });
  });
});

describe("what is said of a log", () => {
  const written = (version: number, key = `write-${version}`): LoggedEvent => ({
    id: `evt-${version}`,
    tenant: "acme",
    type: "tally.counted",
    aggregateId: "t1",
    aggregateVersion: version,
    data: { key },
  });
  const taken = (consumer: string, ...versions: readonly number[]): readonly LoggedEvent[] =>
    versions.map((version, at) => ({
      id: `rcp-${consumer}-${at}`,
      tenant: "acme",
      type: "receipt.received",
      aggregateId: `${consumer}-t1`,
      aggregateVersion: at + 1,
      data: { consumer, tally: "t1", version, eventId: `evt-${version}` },
    }));
  const order = (version: number, more: Partial<Order> = {}): Order => ({
    key: `write-${version}`,
    tenant: "acme",
    tally: "t1",
    event: `acme/t1@${version}`,
    ...more,
  });
  const orders = [order(1), order(2)];
  const log = [written(1), written(2)];
  const well = { delivered: 4, outOfOrder: 0, lost: 0, twice: 0, forgotten: 0, violations: [] };

  it("is nothing when each consumer has taken in each event once and in order", () => {
    expect(judge([...log, ...taken("store", 1, 2), ...taken("bus", 1, 2)], orders)).toEqual(well);
  });

  it("is what was acknowledged and is not there, or never reached a consumer", () => {
    const { lost, violations } = judge([written(1), ...taken("store", 1), ...taken("bus")], orders);
    expect([lost, violations]).toEqual([
      2,
      [
        "acme/t1@1 never reached the consumer of the bus",
        "write-2 was acknowledged as acme/t1@2, which is not in the log",
      ],
    ]);
  });

  it("is not what Redis had to forget, but what the store lost then is", () => {
    const flushed = [order(1), order(2, { forgotten: true })];
    const seen = [...log, ...taken("bus", 1)];
    expect(judge([...seen, ...taken("store", 1, 2)], flushed)).toEqual({ ...well, delivered: 3, forgotten: 1 });
    expect(judge([...seen, ...taken("store", 1)], flushed).violations).toEqual([
      "acme/t1@2 never reached the consumer of the store",
    ]);
  });

  it("is what came in another order, or had its effect twice", () => {
    const { outOfOrder, twice, violations } = judge(
      [...log, written(3, "write-2"), ...taken("store", 2, 1, 3), ...taken("bus", 1, 2, 1, 3)],
      orders,
    );
    expect([outOfOrder, twice, violations]).toEqual([
      1,
      2,
      [
        "write-2 was written again as acme/t1@3",
        "the consumer of the store took in acme/t1@1 after version 2",
        "the consumer of the bus took in acme/t1@1 again",
      ],
    ]);
  });
});
