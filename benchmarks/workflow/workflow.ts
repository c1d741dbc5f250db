import { toRows, type Unit } from "../rows.ts";
import type { Work } from "../work.ts";
import { floorEngine } from "./floor-engine.ts";
import { inThisProcess, onPostgres } from "./our-workflows.ts";
import type { RunsContender } from "./runs.ts";

const CONCURRENT = 32;
/** To PostgreSQL: what node-postgres gives who asks for nothing else. */
const CONNECTIONS = 10;

/** Durable workflows from their start to their end. */
export const workflow: Work = {
  name: "workflow",
  about: `durable workflows of 1 and of 10 activities, ${CONCURRENT} at a time, on PostgreSQL`,
  run: async (bench) => {
    for (const activities of [1, 10]) {
      const database = await bench.database();
      const setting = { database, activities, concurrent: CONCURRENT, connections: CONNECTIONS };
      const peers = await bench.peers("workflow", ["dbos", "openworkflow", "restate"], setting);
      const contenders: RunsContender[] = [
        await floorEngine(setting),
        await onPostgres(setting),
        await inThisProcess(setting),
        ...(peers as RunsContender[]),
      ];
      const work = `workflow of ${activities}`;
      await bench.race({ work, unit: "workflows/s", ms: 1000, rounds: 7, contenders });
      const also = (named: string, unit: Unit, values: (contender: RunsContender) => readonly number[]) => {
        const measured = contenders.map((contender) => ({ subject: contender.subject, values: values(contender) }));
        bench.add(toRows(`${work}: ${named}`, unit, measured));
      };
      if (activities > 1) also("activities", "activities/s", ({ rates }) => rates);
      also("start to end", "ms", ({ latencies }) => latencies);
      also("start to end, 99 of 100", "ms", ({ slowest }) => slowest);
    }
  },
};
