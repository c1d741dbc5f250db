import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { toRows, type Unit } from "../rows.ts";
import type { RunsContender } from "../runs.ts";
import type { Work } from "../work.ts";
import { floorEngine } from "./floor-engine.ts";
import { ours } from "./our-workflows.ts";

/** What takes part in a race of workflows is given. */
export interface WorkflowSetting {
  readonly database: FreshDatabase;
  /** Activities of one workflow, one after the other. */
  readonly steps: number;
  /** Workflows that are under way at a time. */
  readonly concurrent: number;
  /** To PostgreSQL. */
  readonly connections: number;
}

const CONCURRENT = 32;
/** To PostgreSQL: what node-postgres gives who asks for nothing else. */
const CONNECTIONS = 10;

/** Durable workflows from their start to their end. */
export const workflow: Work = {
  name: "workflow",
  about: `durable workflows of 1 and of 10 activities, ${CONCURRENT} at a time, on PostgreSQL`,
  run: async (bench) => {
    for (const steps of [1, 10]) {
      const database = await bench.database();
      const setting = { database, steps, concurrent: CONCURRENT, connections: CONNECTIONS };
      const peers = await bench.peers("workflow", ["dbos", "openworkflow", "restate"], setting);
      const contenders: RunsContender[] = [
        await floorEngine(setting),
        await ours(setting, true),
        await ours(setting, false),
        ...(peers as RunsContender[]),
      ];
      const work = `workflow of ${steps}`;
      await bench.race({ work, unit: "workflows/s", ms: 1000, rounds: 7, contenders });
      const also = (named: string, unit: Unit, values: (contender: RunsContender) => readonly number[]) => {
        const measured = contenders.map((contender) => ({ subject: contender.subject, values: values(contender) }));
        bench.add(toRows(`${work}: ${named}`, unit, measured));
      };
      if (steps > 1) also("activities", "activities/s", ({ rates }) => rates);
      also("start to end", "ms", ({ latencies }) => latencies);
      also("start to end, 99 of 100", "ms", ({ slowest }) => slowest);
    }
  },
};
