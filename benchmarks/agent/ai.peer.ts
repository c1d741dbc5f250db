import { isStepCount, ToolLoopAgent, tool } from "ai";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import { ASKED, INSTRUCTIONS, number, SUMMARY, tally } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";
import { countingModel } from "./model.ts";

export async function contenders(setting: AgentSetting) {
  const { add, answered, written } = tally();
  const agent = new ToolLoopAgent({
    model: countingModel(setting.steps, "add"),
    instructions: INSTRUCTIONS,
    tools: { add: tool({ description: SUMMARY, inputSchema: number, execute: async (given) => add(given) }) },
    stopWhen: isStepCount(setting.steps + 1),
  });
  const run = async (value: number) => answered(value, (await agent.generate({ prompt: ASKED })).text);
  return [runsContender(setting, { subject: subjectOf("ai"), note: "keeps nothing", run, written })];
}
