import { Agent } from "@mastra/core/agent";
import { createTool } from "@mastra/core/tools";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import { ASKED, INSTRUCTIONS, number, SUMMARY, tally } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";
import { countingModel } from "./model.ts";

export async function contenders(setting: AgentSetting) {
  const { steps } = setting;
  const { add, answered, written } = tally();
  const agent = new Agent({
    id: "adding",
    name: "adding",
    instructions: INSTRUCTIONS,
    model: countingModel(steps, "add") as never,
    tools: {
      add: createTool({ id: "add", description: SUMMARY, inputSchema: number, execute: async (given) => add(given) }),
    },
  });
  const run = async (value: number) => answered(value, (await agent.generate(ASKED, { maxSteps: steps + 1 })).text);
  return [
    runsContender(setting, {
      subject: subjectOf("@mastra/core"),
      note: "without its storage: keeps nothing",
      run,
      written,
    }),
  ];
}
