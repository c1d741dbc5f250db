import { randomUUID } from "node:crypto";
import { type RunsContender, runsContender } from "../runs.ts";
import { floorJournal } from "../workflow/floor-engine.ts";
import { ASKED, INSTRUCTIONS, number, tally } from "./adding.ts";
import type { AgentSetting } from "./agent.ts";
import { countingModel } from "./model.ts";

interface Message {
  readonly role: string;
  readonly content: unknown;
}

/** By hand: asks the model, runs the tool with what fits its shape, asks again. */
async function loop(
  model: ReturnType<typeof countingModel>,
  tool: (given: { readonly value: number }) => { readonly value: number },
  told: (message: Message, last: boolean) => Promise<unknown>,
): Promise<string> {
  const messages: Message[] = [
    { role: "system", content: INSTRUCTIONS },
    { role: "user", content: ASKED },
  ];
  for (;;) {
    const { content } = await model.doGenerate({ prompt: messages });
    const answer = { role: "assistant", content };
    messages.push(answer);
    const [part] = content;
    await told(answer, part!.type === "text");
    if (part!.type === "text") return part!.text;
    const result = tool(number.parse(JSON.parse(part!.input)));
    const said = { role: "tool", content: [{ type: "tool-result", toolCallId: part!.toolCallId, output: result }] };
    messages.push(said);
    await told(said, false);
  }
}

export function floorInMemory(setting: AgentSetting): RunsContender {
  const model = countingModel(setting.steps, "add");
  const { add, answered, written } = tally();
  return runsContender(setting, {
    subject: "floor",
    note: "a loop by hand",
    run: async (value) => answered(value, await loop(model, add, async () => {})),
    written,
  });
}

export async function floorOnPostgres(setting: AgentSetting): Promise<RunsContender> {
  const model = countingModel(setting.steps, "add");
  const { add, answered, written } = tally();
  const journal = await floorJournal(setting.database!, setting.connections);
  const run = async (value: number) => {
    const id = randomUUID();
    await journal.start(id, { asked: ASKED });
    let position = -1;
    const text = await loop(model, add, (message, last) => {
      position += 1;
      return (last ? journal.finish : journal.record)(id, position, message.role, message);
    });
    return answered(value, text);
  };
  return runsContender(setting, {
    subject: "floor",
    note: "a loop by hand, each message written before what follows, under a fence; event, outbox entry and audit row for start and end",
    run,
    written,
    close: journal.close,
  });
}
