import { randomUUID } from "node:crypto";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";
import { tool } from "@langchain/core/tools";
import { type BaseCheckpointSaver, MemorySaver } from "@langchain/langgraph";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { Pool } from "pg";
import type { z } from "zod";
import { subjectOf } from "../peers.ts";
import { type RunsContender, runsContender } from "../runs.ts";
import { ASKED, INSTRUCTIONS, number, SUMMARY, tally, turn } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";

type Given = z.infer<typeof number>;

class CountingModel extends BaseChatModel {
  readonly #steps: number;

  constructor(steps: number) {
    super({});
    this.#steps = steps;
  }

  override _llmType() {
    return "counting";
  }

  override bindTools() {
    return this;
  }

  override async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const results = messages.filter((message) => message.getType() === "tool").length;
    const { call, text } = turn(results, this.#steps);
    const calls = call === undefined ? [] : [{ id: `call_${results}`, name: "add", args: call }];
    return { generations: [{ text, message: new AIMessage({ content: text, tool_calls: calls }) }] };
  }
}

export async function contenders(setting: AgentSetting) {
  const { database, connections } = setting;
  if (database === undefined)
    return [
      contender(setting, undefined, { subject: subjectOf("@langchain/langgraph"), note: "keeps nothing" }),
      contender(setting, new MemorySaver(), { subject: subjectOf("@langchain/langgraph", "MemorySaver") }),
    ];
  const pool = new Pool({ connectionString: database.url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const saver = new PostgresSaver(pool);
  await saver.setup();
  const note = "no tenants, no events, no audit";
  return [
    contender(setting, saver, {
      subject: subjectOf("@langchain/langgraph", "PostgresSaver"),
      note: `${note}; goes on while a step is being written`,
    }),
    contender(setting, saver, {
      subject: subjectOf("@langchain/langgraph", "PostgresSaver, each step before the next"),
      note,
      durability: "sync",
      close: () => pool.end(),
    }),
  ];
}

function contender(
  setting: AgentSetting,
  checkpointer: BaseCheckpointSaver | undefined,
  options: Pick<RunsContender, "subject" | "note" | "close"> & { readonly durability?: "sync" },
) {
  const { durability, ...named } = options;
  const { add, answered, written } = tally();
  const agent = createReactAgent({
    llm: new CountingModel(setting.steps),
    prompt: INSTRUCTIONS,
    tools: [tool(async (given: Given) => add(given), { name: "add", description: SUMMARY, schema: number })],
    ...(checkpointer === undefined ? {} : { checkpointer }),
  });
  const run = async (value: number) => {
    const { messages } = await agent.invoke(
      { messages: [{ role: "user", content: ASKED }] },
      {
        recursionLimit: 2 * setting.steps + 2,
        configurable: { thread_id: randomUUID() },
        ...(durability === undefined ? {} : { durability }),
      },
    );
    return answered(value, String(messages.at(-1)?.content));
  };
  return runsContender(setting, { ...named, run, written });
}
