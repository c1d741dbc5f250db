import { OpenWorkflow } from "openworkflow";
import { BackendPostgres } from "openworkflow/postgres";
import { rowsOf } from "../command/changes.ts";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import type { WorkflowSetting } from "./workflow.ts";

export async function contenders(setting: WorkflowSetting) {
  const { database, steps, concurrent } = setting;
  const backend = await BackendPostgres.connect(database.url);
  // Its handles ask for the end once a second: here it is told where it is written.
  const ends = new Map<string, { readonly promise: Promise<void>; readonly resolve: () => void }>();
  const endOf = (id: string) => {
    const end = ends.get(id) ?? Promise.withResolvers<void>();
    ends.set(id, end);
    return end;
  };
  const complete = backend.completeWorkflowRun.bind(backend);
  backend.completeWorkflowRun = async (parameters) => {
    const run = await complete(parameters);
    endOf(run.id).resolve();
    return run;
  };
  const engine = new OpenWorkflow({ backend });
  const adding = engine.defineWorkflow<{ readonly value: number }, { readonly value: number }>(
    { name: "adding" },
    async ({ input, step }) => {
      let sum = input;
      for (let done = 0; done < steps; done += 1) {
        const { value } = sum;
        sum = await step.run({ name: `add-${done}` }, async () => ({ value: value + 1 }));
      }
      return sum;
    },
  );
  const worker = engine.newWorker({ concurrency: concurrent });
  await worker.start();
  return [
    runsContender(setting, {
      subject: subjectOf("openworkflow"),
      note: "a worker that looks every 100 ms when it found nothing, so that four times as many wait; one tenant, no audit",
      waiting: 4 * concurrent,
      run: async (value) => {
        const { workflowRun } = await adding.run({ value });
        await endOf(workflowRun.id).promise;
        ends.delete(workflowRun.id);
        return undefined;
      },
      written: () => {
        const sum = `(output ->> 'value')::int = (input ->> 'value')::int + ${steps}`;
        const tables = [`workflow_runs WHERE ${sum}`, "step_attempts WHERE status = 'completed'"];
        return rowsOf(
          database.pool,
          tables.map((table) => `openworkflow.${table}`),
        );
      },
      close: async () => {
        await worker.stop();
        await backend.stop();
      },
    }),
  ];
}
