// One application in which executions wait: forked by `idle.ts` with a setting, says what that costs.
import { setTimeout as sleep } from "node:timers/promises";
import { defineWorkflow } from "@armature/core";
import pg from "pg";
import { z } from "zod";
import { ourApp } from "../our-app.ts";
import type { Idled, Idleness, IdleSetting } from "./idle.ts";

const { url, name, suspended, ms } = JSON.parse(process.argv[2]!) as IdleSetting;
const MB = 2 ** 20;
const AT_ONCE = 50;

// Done, or whoever started it has gone.
process.once("disconnect", () => process.exit());

let statements = 0;
const { query } = pg.Client.prototype;
pg.Client.prototype.query = function (this: pg.Client, ...given: unknown[]) {
  statements += 1;
  return (query as (...args: unknown[]) => unknown).apply(this, given);
} as typeof query;

const waiting = defineWorkflow({
  name: "waiting",
  version: 1,
  input: z.strictObject({ number: z.int() }),
  signals: { go: z.strictObject({}) },
  run: async (ctx) => {
    await ctx.waitForSignal("go");
  },
});
const { app, ended, close } = await ourApp({ url, name, connections: 5 }, { workflows: [waiting] }, ({ type, data }) =>
  type === "workflow.completed" ? String(data["executionId"]) : undefined,
);
const { workflows } = app.as({ tenant: "acme", user: "ann" });

const idOf = (number: number) => `waiting-${number}`;
const signal = async (number: number) => {
  const end = ended(idOf(number));
  await workflows.signal({ executionId: idOf(number), signal: "go", payload: {} });
  await end;
};

async function start(from: number, count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE)
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - done) }, (_, at) => {
        const number = from + done + at;
        return workflows.start({ workflow: "waiting", executionId: idOf(number), input: { number } });
      }),
    );
  await app.settled({ timeoutMs: 600_000 });
}

async function idleness(): Promise<Idleness> {
  for (let times = 0; times < 3; times += 1) {
    globalThis.gc?.();
    await sleep(100);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  const [before, cpu, from] = [statements, process.cpuUsage(), performance.now()];
  await sleep(ms);
  const { user, system } = process.cpuUsage(cpu);
  const elapsed = performance.now() - from;
  return {
    inUse: (heapUsed + external) / MB,
    resident: rss / MB,
    statements: ((statements - before) * 60_000) / elapsed,
    processor: (user + system) / 10 / elapsed,
  };
}

// Has code compiled and caches filled.
const warm = suspended / 10;
await start(0, warm);
for (let number = 0; number < warm; number += 1) await signal(number);
await app.settled();
const none = await idleness();
await start(warm, suspended);
const { items } = await workflows.list({ status: "running", limit: 1 });
if (items.length !== 1) throw new Error("No execution waits.");
const many = await idleness();
// They wait, and have not been forgotten.
await signal(warm + Math.floor(suspended / 2));
process.send?.({ none, many } satisfies Idled);
await close();
