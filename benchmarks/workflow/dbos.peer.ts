import { DBOS } from "@dbos-inc/dbos-sdk";
import { rowsOf } from "../command/changes.ts";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import type { WorkflowSetting } from "./workflow.ts";

// Registered before it is launched, once in a process.
const adding = DBOS.registerWorkflow(
  async (steps: number, given: { readonly value: number }) => {
    let sum = given;
    for (let done = 0; done < steps; done += 1) {
      const { value } = sum;
      sum = await DBOS.runStep(async () => ({ value: value + 1 }), { name: "add" });
    }
    return sum;
  },
  { name: "adding" },
);

export async function contenders(setting: WorkflowSetting) {
  const { database, steps, connections } = setting;
  DBOS.setConfig({
    name: "benchmark",
    systemDatabaseUrl: database.url,
    systemDatabasePoolSize: connections,
    logLevel: "error",
  });
  await DBOS.launch();
  return [
    runsContender(setting, {
      subject: subjectOf("@dbos-inc/dbos-sdk"),
      note: "goes on with what it starts at once; one tenant: no events, no audit, no row-level security",
      run: async (value) => (await adding(steps, { value })).value,
      written: () => rowsOf(database.pool, ["dbos.workflow_status WHERE status = 'SUCCESS'", "dbos.operation_outputs"]),
      close: () => DBOS.shutdown(),
    }),
  ];
}
