import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { toRows, type Unit } from "../rows.ts";
import type { RunsContender } from "../runs.ts";
import type { Bench, Work } from "../work.ts";
import { floorInMemory, floorOnPostgres } from "./floor-loop.ts";
import { ours } from "./our-agent.ts";

/** What the contenders of this work are given. */
export interface AgentSetting {
  /** Calls of the tool that the model asks for, one after the other. */
  readonly steps: number;
  readonly concurrent: number;
  /** Where every step is to be written down before the next; nothing is durable without. */
  readonly database: FreshDatabase | undefined;
  /** To PostgreSQL. */
  readonly connections: number;
}

const STEPS = [1, 5, 20];

/** What an agent costs beside its model and its tools. */
export const agent: Work = {
  name: "agent",
  about: "runs of an agent, one after the other, whose model asks for a tool so many times and costs nothing itself",
  run: async (bench) => {
    for (const steps of STEPS) {
      const setting = { steps, concurrent: 1, database: undefined, connections: 1 };
      const peers = await bench.peers("agent", ["ai", "openai", "langgraph", "mastra"], setting);
      await measured(bench, `agent of ${steps}`, steps, [
        floorInMemory(setting),
        await ours(setting),
        ...(peers as RunsContender[]),
      ]);
    }
    for (const steps of STEPS) {
      const setting = { steps, concurrent: 1, database: await bench.database(), connections: 10 };
      const peers = await bench.peers("agent", ["langgraph"], setting);
      await measured(bench, `agent on PostgreSQL of ${steps}`, steps, [
        await floorOnPostgres(setting),
        await ours(setting),
        ...(peers as RunsContender[]),
      ]);
    }
  },
};

async function measured(bench: Bench, work: string, steps: number, contenders: readonly RunsContender[]) {
  const timed = contenders.map((contender) => ({
    ...contender,
    measure: async (ms: number) => {
      const before = contender.latencies.length;
      await contender.measure(ms);
      return contender.latencies.slice(before);
    },
  }));
  // Long enough for all of them to be compiled.
  await bench.race({ work, unit: "ms", ms: 1_000, rounds: 7, contenders: timed });
  const also = (named: string, unit: Unit, values: (contender: RunsContender) => readonly number[]) => {
    const seen = contenders.map((contender) => ({ subject: contender.subject, values: values(contender) }));
    bench.add(toRows(`${work}: ${named}`, unit, seen));
  };
  also("99 of 100", "ms", ({ slowest }) => slowest);
  if (steps > 1) also("a step", "µs", ({ latencies }) => latencies.map((ms) => (ms * 1000) / steps));
}
