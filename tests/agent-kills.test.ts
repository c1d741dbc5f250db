import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { postgres } from "@armature/adapter-postgres";
import { createArmature } from "@armature/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { CALLS, foreman, outsideContext, worker } from "./agents/outside.ts";

const noServer = await withoutServer();
const VICTIM = fileURLToPath(new URL("agents/victim.ts", import.meta.url));
/** How often a process is killed, over as many runs as that takes: `AGENT_KILLS=100` for more. */
const KILLS = Number(process.env["AGENT_KILLS"] ?? 5);

let database: Awaited<ReturnType<typeof freshDatabase>>;
let service: Server;
let origin: string;
/** What the service has done, by the key of the call; how often it was asked. */
const done = new Map<string, number>();
let asked = 0;
const env = () => ({ DATABASE: database.url, SERVICE: origin, KEY: key, PATH: process.env["PATH"] ?? "" });
const key = randomBytes(32).toString("base64");
const children = new Set<ChildProcess>();

beforeAll(async () => {
  if (noServer) return;
  database = await freshDatabase();
  service = createServer(async (request, response) => {
    const { number } = JSON.parse(await text(request)) as { number: number };
    asked += 1;
    done.set(String(request.headers["idempotency-key"]), number);
    // Some answers are lost with the process that waits for them.
    setTimeout(() => response.end("{}"), number % 3 === 0 ? 40 : 0);
  });
  service.listen(0, "127.0.0.1");
  await once(service, "listening");
  origin = `http://127.0.0.1:${(service.address() as { port: number }).port}`;
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  service?.close();
  await database?.close();
});

function launch(more: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, ["--conditions=@armature/source", VICTIM], {
    env: { ...env(), ...more },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

test.skipIf(noServer)(
  `an agent's ${CALLS} tool calls each have one effect, however often its process is killed (${KILLS} times here)`,
  { timeout: 60_000 + KILLS * 15_000 },
  async () => {
    await once(launch({ MIGRATE: "yes" }), "exit");
    const looker = await createArmature({
      store: postgres({ pool: database.pool }),
      keyEncryptionKey: key,
      authorizer: () => true,
      contexts: [outsideContext(origin)] as const,
      agents: [foreman, worker],
      relay: false,
      executions: false,
    });
    let kills = 0;
    let runs = 0;
    const figures = { asked: 0, effects: 0, messages: 0 };
    while (kills < KILLS || runs === 0) {
      done.clear();
      const { agents, outside: own } = looker.as({ tenant: `tenant-${runs}`, user: "ann" });
      // Every other time another agent waits for the one that does it.
      const agent = runs % 2 === 0 ? "foreman" : "worker";
      const { runId } = await agents.run({ agent, input: "Do it." });
      runs += 1;
      const progress = async () =>
        (await agents.listRuns({})).items.reduce((sum, { usage, endedAt }) => sum + usage.steps + (endedAt ? 1 : 0), 0);
      for (;;) {
        const victim = launch();
        const exited = once(victim, "exit");
        await Promise.race([once(victim.stdout!, "data"), exited]);
        const last = kills >= KILLS;
        const before = await progress();
        if (!last) {
          // A run whose processes come to nothing twenty times in a row is given up: some of them get on.
          if (kills % 5 === 4) await expect.poll(progress, { timeout: 60_000 }).toBeGreaterThan(before);
          await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 350));
          victim.kill("SIGKILL");
          kills += 1;
          await exited;
        }
        const ends = async () => {
          const { status, error } = await agents.get({ runId });
          expect(error).toBeUndefined();
          return status === "completed";
        };
        if (last) await expect.poll(ends, { timeout: 60_000, interval: 50 }).toBe(true);
        if (await ends()) {
          victim.kill("SIGKILL");
          await exited;
          break;
        }
      }
      const { items: working } = await agents.listRuns({ agent: "worker" });
      expect(working).toMatchObject([{ status: "completed" }]);
      expect(working[0]!.parent).toBe(agent === "foreman" ? runId : undefined);
      const even = Array.from({ length: CALLS / 2 }, (_, at) => 2 * at);
      expect([...done.values()].sort((a, b) => a - b)).toEqual(even);
      expect(await own.notes({})).toEqual(even.map((number) => number + 1));
      const { conversationId } = working[0]!;
      const { items } = await agents.messages({ conversationId, limit: 200 });
      expect(items.map(({ role }) => role)).toEqual([
        "user",
        ...Array.from({ length: CALLS }, () => ["assistant", "tool"]).flat(),
        "assistant",
      ]);
      const results = items.filter(({ role }) => role === "tool").flatMap(({ content }) => content);
      expect(
        results.map((part) => (part.type === "tool-result" ? `${part.callId} ${part.outcome}` : part.type)),
      ).toEqual(Array.from({ length: CALLS }, (_, at) => `call-${at} ok`));
      figures.effects += done.size;
      figures.messages += items.length;
    }
    figures.asked = asked;
    expect(asked).toBeLessThanOrEqual(figures.effects + kills);
    console.info(`agents killed: ${JSON.stringify({ kills, runs, ...figures })}`);
    await looker.close();
  },
);
