import { Agent, type Model, run as runAgent, setTracingDisabled, tool, Usage } from "@openai/agents";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import { ASKED, INSTRUCTIONS, number, SUMMARY, tally, turn } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";

// It would send its traces to OpenAI.
setTracingDisabled(true);

export async function contenders(setting: AgentSetting) {
  const { steps } = setting;
  const { add, answered, written } = tally();
  const model: Model = {
    getResponse: async ({ input }) => {
      const results = (typeof input === "string" ? [] : input).filter(
        ({ type }) => type === "function_call_result",
      ).length;
      const { call, text } = turn(results, steps);
      return {
        usage: new Usage({ requests: 1, inputTokens: 10, outputTokens: 5, totalTokens: 15 }),
        output: [
          call === undefined
            ? { type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text }] }
            : { type: "function_call", callId: `call_${results}`, name: "add", arguments: JSON.stringify(call) },
        ],
      };
    },
    getStreamedResponse: () => {
      throw new Error("It is not asked for a stream.");
    },
  };
  const agent = new Agent({
    name: "adding",
    instructions: INSTRUCTIONS,
    model,
    tools: [tool({ name: "add", description: SUMMARY, parameters: number, execute: async (given) => add(given) })],
  });
  const run = async (value: number) => {
    const { finalOutput } = await runAgent(agent, ASKED, { maxTurns: steps + 1 });
    return answered(value, finalOutput ?? "");
  };
  return [
    runsContender(setting, {
      subject: subjectOf("@openai/agents"),
      note: "keeps nothing; without its tracing",
      run,
      written,
    }),
  ];
}
