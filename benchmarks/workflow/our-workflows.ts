import { activity, defineWorkflow } from "@armature/core";
import { z } from "zod";
import { rowsOf } from "../command/changes.ts";
import { ourApp } from "../our-app.ts";
import { type RunsContender, runsContender } from "../runs.ts";
import type { WorkflowSetting } from "./workflow.ts";

const number = z.strictObject({ value: z.int() });

/** A workflow whose activities each add 1. */
const adding = (steps: number) =>
  defineWorkflow({
    name: "adding",
    version: 1,
    input: number,
    output: number,
    activities: { add: activity({ input: number, output: number, run: ({ value }) => ({ value: value + 1 }) }) },
    run: async (ctx, input) => {
      let sum = input;
      for (let done = 0; done < steps; done += 1) sum = await ctx.activity("add", sum);
      return sum;
    },
  });

/** Workflows as an application runs them: started by a user's command, with events, audit and all. */
export async function ours(setting: WorkflowSetting, durable: boolean): Promise<RunsContender> {
  const { database, connections, steps } = setting;
  const { app, ended, close } = await ourApp(
    durable ? { ...database, connections } : undefined,
    { workflows: [adding(steps)] },
    ({ type, data }) => (type === "workflow.completed" ? String(data["executionId"]) : undefined),
  );
  const { workflows } = app.as({ tenant: "acme", user: "ann" });
  let starts = 0;
  const run = async (value: number) => {
    starts += 1;
    const executionId = `adding-${starts}`;
    const end = ended(executionId);
    await workflows.start({ workflow: "adding", executionId, input: { value } });
    await end;
    return undefined;
  };
  if (!durable)
    return runsContender(setting, { subject: "armature (in memory)", note: "nothing is durable", run, close });
  const endedAsTheyShould = `workflows.executions JOIN workflows.execution_inputs USING (tenant, id)
    WHERE (ended #>> '{result,value}')::int = (body #>> '{input,value}')::int + ${steps}`;
  const written = () => rowsOf(database.pool, [endedAsTheyShould, "workflows.execution_journal"]);
  return runsContender(setting, { subject: "armature", run, written, close });
}
