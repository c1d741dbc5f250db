import { defineAgent, defineContext, defineContract, operationTool, query } from "@armature/core";
import { ourApp } from "../our-app.ts";
import { type RunsContender, runsContender } from "../runs.ts";
import { ASKED, INSTRUCTIONS, number, SUMMARY, tally } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";
import { countingModel } from "./model.ts";

const calculator = defineContract("calculator", {
  add: query({ input: number, output: number, permission: "calculator:use", summary: SUMMARY }),
});

/** An agent as an application has it: every run a durable execution, every message and every call in the store. */
export async function ours(setting: AgentSetting): Promise<RunsContender> {
  const { steps, database, connections } = setting;
  const { add, answered, written } = tally();
  const { app, ended, close } = await ourApp(
    database === undefined ? undefined : { ...database, connections },
    {
      contexts: [defineContext(calculator, { handlers: { add } })] as const,
      agents: [
        defineAgent({
          id: "adding",
          summary: SUMMARY,
          instructions: INSTRUCTIONS,
          tools: [operationTool(calculator, "add")],
          limits: { steps: steps + 1 },
        }),
      ],
      models: { default: countingModel(steps, "calculator_add") },
    },
    ({ type, data }) => (type === "agent.executed" ? String(data["runId"]) : undefined),
  );
  const { agents } = app.as({ tenant: "acme", user: "ann" });
  let starts = 0;
  const run = async (value: number) => {
    starts += 1;
    const runId = `run_${starts}` as const;
    const end = ended(runId);
    await agents.run({ agent: "adding", runId, input: ASKED });
    await end;
    const { text } = await agents.get({ runId });
    return answered(value, text ?? "");
  };
  return runsContender(setting, { subject: "armature", run, written, close });
}
