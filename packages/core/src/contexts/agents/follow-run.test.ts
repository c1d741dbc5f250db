import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import type { LanguageModel } from "../../kernel/language-model.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { type AgentDefinition, defineAgent } from "./agent-definition.ts";
import { agentTool } from "./agent-tool.ts";
import type { AnswerDelta, Followed } from "./contract.ts";
import { pseudonymized } from "./guardrail.ts";

const poet = (more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({ id: "poet", summary: "Writes.", instructions: "Write.", ...more });

const open: { close(): Promise<void> }[] = [];
afterEach(() => Promise.all(open.splice(0).map((app) => app.close())));

async function started(models: Record<string, LanguageModel>, ...agents: readonly AgentDefinition[]) {
  // It stands still: what is followed here is heard of, and not looked for.
  const clock = fixedClock();
  const app = await createArmature({
    ...{ store: inMemory({ clock }), clock, logger: recordingLogger(), authorizer: () => true },
    ...{ agents: agents.length === 0 ? [poet()] : agents, models },
  });
  open.push(app);
  return { app, clock, agents: app.as({ tenant: "acme", user: "ann" }).agents };
}

/** A model that waits, each time before it answers, until the test lets it. */
function held(...turns: readonly Exclude<ScriptedTurn, (...args: never) => unknown>[]) {
  const gates = turns.map(() => Promise.withResolvers<void>());
  const asked = turns.map(() => Promise.withResolvers<void>());
  const model = new ScriptedModel(
    turns.map((turn, at) => async () => {
      asked[at]!.resolve();
      await gates[at]!.promise;
      return turn;
    }),
  );
  return { model, asked: (at: number) => asked[at]!.promise, answer: (at: number) => gates[at]!.resolve() };
}

interface Seen {
  readonly cursor: string;
  readonly item: Followed;
}
const isDelta = ({ item }: Seen) => item.type === "delta";
const textOf = (items: readonly Seen[]) => items.map(({ item }) => (item.type === "delta" ? item.text : "")).join("");
async function all(items: AsyncIterable<Seen>): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  for await (const each of items) seen.push(each);
  return seen;
}
const attempts = (items: readonly Seen[]) => [
  ...Map.groupBy(
    items.flatMap(({ item }) => (item.type === "delta" ? [item] : [])),
    ({ attempt }) => attempt,
  ).values(),
];
const shown = (deltas: readonly AnswerDelta[]) => deltas.map(({ text }) => text).join("");

test("an answer is seen while it is written, and then as a message; the cursor stays where it was", async () => {
  const { model, asked, answer } = held({ text: ["Roses ", "are ", "red."] });
  const { agents } = await started({ default: model });
  const { runId } = await agents.run({ agent: "poet", input: "Write.", streamed: true });
  const following = all(agents.follow({ runId }));
  await asked(0);
  answer(0);
  const items = await following;
  expect(textOf(items)).toBe("Roses are red.");
  expect(model.calls[0]!.streamed).toBe(true);
  const written = items.flatMap(({ item }) => (item.type === "message" ? [item.message] : []));
  for (const { cursor, item } of items.filter(isDelta)) {
    expect(item).toMatchObject({ messageId: written[1]!.messageId });
    // Whoever comes back with it gets the message.
    expect((await all(agents.follow({ runId }, { after: cursor }))).map((each) => each.item)).toContainEqual({
      type: "message",
      message: written[1],
    });
  }
  expect(items.at(-1)!.item).toMatchObject({ type: "status", run: { status: "completed", text: "Roses are red." } });
});

test("nobody follows: nothing is streamed, and nothing of it kept", async () => {
  const model = new ScriptedModel(["Roses."]);
  const { app, agents } = await started({ default: model });
  const { runId } = await agents.run({ agent: "poet", input: "Write." });
  await app.settled();
  expect(model.calls[0]!.streamed).toBe(false);
  expect((await all(agents.follow({ runId }))).filter(isDelta)).toEqual([]);
});

test("who follows a run has its next step streamed", async () => {
  const { model, asked, answer } = held({ toolCalls: [{ name: "nothing" }] }, { text: "There is no such tool." });
  const { agents } = await started({ default: model });
  const { runId } = await agents.run({ agent: "poet", input: "Write." });
  await asked(0);
  const following = all(agents.follow({ runId }));
  answer(0);
  await asked(1);
  answer(1);
  expect(textOf(await following)).toBe("There is no such tool.");
  expect(model.calls.map(({ streamed }) => streamed)).toEqual([false, true]);
});

test("who comes late is shown all that there is of the answer", async () => {
  const model = new ScriptedModel([{ text: ["Roses ", "are "], hangs: true }]);
  const { app, agents } = await started({ default: model });
  const { runId } = await agents.run({ agent: "poet", input: "Write.", streamed: true });
  const first = async (wanted: string) => {
    const items: Seen[] = [];
    for await (const each of agents.follow({ runId })) {
      items.push(each);
      if (textOf(items) === wanted) return items.filter(isDelta).map(({ item }) => item);
    }
    throw new Error("The run has ended.");
  };
  await first("Roses are ");
  expect(await first("Roses are ")).toMatchObject([{ offset: 0, text: "Roses are " }]);
  await agents.cancel({ runId, reason: "It is enough." });
  await app.settled();
});

test("a follower who does not read keeps nobody waiting, and is given no more than there is room for", async () => {
  const piece = "roses ".repeat(100);
  const { model, asked, answer } = held({ text: Array.from({ length: 300 }, () => piece) });
  const { app, agents } = await started({ default: model });
  const { runId } = await agents.run({ agent: "poet", input: "Write.", streamed: true });
  const reading = agents.follow({ runId })[Symbol.asyncIterator]();
  for (let seen = ""; seen !== "status"; ) seen = (await reading.next()).value.item.type;
  await asked(0);
  const next = reading.next();
  answer(0);
  await app.settled();
  const rest: Seen[] = [(await next).value];
  for (let each = await reading.next(); each.done !== true; each = await reading.next()) rest.push(each.value);
  const { length } = textOf(rest);
  expect(length > 0 && length < 70_000).toBe(true);
  const { item } = rest.at(-1)!;
  expect(item.type === "status" && item.run.status === "completed" && item.run.text?.length).toBe(180_000);
});

test("another attempt, and another model, begins the text anew under another name", async () => {
  const { model, asked, answer } = held(
    { text: ["Ros", "es"], cut: true },
    { text: ["Vio", "lets"], fails: { status: 503, headers: { "retry-after": "3600" } } },
  );
  const second = new ScriptedModel([{ text: ["Lilies", "."] }]);
  const { agents, clock } = await started({ default: model, second }, poet({ models: ["default", "second"] }));
  const { runId } = await agents.run({ agent: "poet", input: "Write.", streamed: true });
  const following = all(agents.follow({ runId }));
  await asked(0);
  answer(0);
  let again = false;
  void asked(1).then(() => {
    again = true;
  });
  while (!again) {
    await clock.untilSleeping();
    await clock.advance(1_000);
  }
  answer(1);
  const items = await following;
  const texts = attempts(items).map(shown);
  expect([texts[0], texts.at(-1)]).toEqual(["Roses", "Lilies."]);
  for (const [first] of attempts(items)) expect(first!.offset).toBe(0);
  expect(new Set(items.flatMap(({ item }) => (item.type === "delta" ? [item.messageId] : []))).size).toBe(1);
});

test("an answer of the wrong shape is void when it is asked for again", async () => {
  const model = new ScriptedModel(["seven", '{"score": 7}']);
  const { agents } = await started({ default: model }, poet({ output: z.strictObject({ score: z.int() }) }));
  const { runId } = await agents.run({ agent: "poet", input: "Write.", streamed: true });
  const items = await all(agents.follow({ runId }));
  expect(shown(attempts(items).at(-1)!)).toBe('{"score": 7}');
});

test("what a guardrail makes of an answer is seen when it is whole, and nothing before", async () => {
  const model = new ScriptedModel(["It is [email-1]."]);
  const { agents } = await started({ default: model }, poet({ guardrails: [pseudonymized()] }));
  const { runId } = await agents.run({ agent: "poet", input: "Who is bo@shop.example?", streamed: true });
  const items = await all(agents.follow({ runId }));
  expect(items.filter(isDelta)).toEqual([]);
  expect(items.at(-1)!.item).toMatchObject({ run: { text: "It is bo@shop.example." } });
  expect(model.calls[0]!.streamed).toBe(false);
});

test("two tenants with the same id of a run see each their own", async () => {
  const { model, asked, answer } = held({ text: "For acme." }, { text: "For globex." });
  const { app } = await started({ default: model });
  const of = (tenant: string) => app.as({ tenant, user: "ann" }).agents;
  const runs: Promise<readonly Seen[]>[] = [];
  for (const [at, tenant] of ["acme", "globex"].entries()) {
    await of(tenant).run({ agent: "poet", input: "Write.", runId: "run_1", streamed: true });
    runs.push(all(of(tenant).follow({ runId: "run_1" })));
    await asked(at);
  }
  answer(1);
  answer(0);
  expect((await Promise.all(runs)).map(textOf)).toEqual(["For acme.", "For globex."]);
});

test("who follows a run sees what the agent writes that it has handed the conversation over to", async () => {
  const { model, asked, answer } = held(
    { toolCalls: [{ name: "handoff_to_poet" }] },
    { text: ["Roses ", "are ", "red."] },
  );
  const triage = defineAgent({
    id: "triage",
    summary: "Asks.",
    instructions: "Ask.",
    tools: [agentTool(poet(), { handoff: true })],
  });
  const { agents } = await started({ default: model }, triage, poet());
  const { runId } = await agents.run({ agent: "triage", input: "Write." });
  const following = all(agents.follow({ runId }));
  await asked(0);
  answer(0);
  await asked(1);
  answer(1);
  expect(textOf(await following)).toBe("Roses are red.");
});
