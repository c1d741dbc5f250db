import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract } from "../../kernel/contract.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedCall, ScriptedTurn } from "../../testing/scripted-turn.ts";
import { type AgentDefinition, defineAgent } from "./agent-definition.ts";
import { agentTool } from "./agent-tool.ts";
import { operationTool } from "./tool.ts";

const Booked = defineEvent("shop.booked", { version: 1, data: z.strictObject({ what: z.string() }) });
class Bookings extends AggregateRoot<{ readonly what: readonly string[] }, EventOf<typeof Booked>> {
  static readonly definition = defineAggregate("bookings", {
    state: z.strictObject({ what: z.array(z.string()) }),
    events: [Booked],
  });
  book(what: string) {
    this.raise(Booked, { what });
  }
  protected override evolve(state: { readonly what: readonly string[] } | undefined, { data }: EventOf<typeof Booked>) {
    return { what: [...(state?.what ?? []), data.what] };
  }
}
const shop = defineContract(
  "shop",
  {
    book: command({
      input: z.strictObject({ what: z.string() }),
      permission: "shop:write",
      summary: "Books something.",
    }),
  },
  { events: [Booked] },
);
const seen: Principal[] = [];
const shopContext = defineContext(shop, {
  aggregates: [Bookings],
  handlers: {
    book: async ({ what }, ctx) => {
      seen.push(ctx.principal);
      ((await ctx.tryLoad(Bookings, "all")) ?? ctx.add(new Bookings("all"))).book(what);
    },
  },
});

const books = [operationTool(shop, "book")];
const agent = (id: string, more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({ id, summary: `Is ${id}.`, instructions: `You are ${id}.`, ...more });
const usage = { inputTokens: 100, outputTokens: 10 };
const asks = (...calls: [string, Record<string, string>][]): ScriptedTurn => ({
  toolCalls: calls.map(([name, args], at) => ({ id: `c${at}-${name}`, name, arguments: args })),
  usage,
});

/** Each agent says its own next turn, in whichever order they are asked. */
function byAgent(turns: Readonly<Record<string, readonly ScriptedTurn[]>>): ScriptedTurn[] {
  const said = new Map<string, number>();
  return Array.from({ length: 200 }, () => (call: ScriptedCall) => {
    const id = Object.keys(turns).find((each) => JSON.stringify(call.prompt[0]).includes(`You are ${each}.`))!;
    const at = said.get(id) ?? 0;
    said.set(id, at + 1);
    const turn = turns[id]![at] ?? { text: `${id} has nothing more to say.` };
    return typeof turn === "function" ? turn(call) : turn;
  });
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  seen.length = 0;
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  turns: Readonly<Record<string, readonly ScriptedTurn[]>>,
  agents: readonly AgentDefinition[],
  more: {
    store?: StoreAdapter;
    clock?: ReturnType<typeof fixedClock>;
    authorizer?: (principal: Principal, permission: string) => boolean;
  } = {},
) {
  const clock = more.clock ?? fixedClock("2026-01-01T00:00:00.000Z");
  const store = more.store ?? inMemory({ clock });
  const model = new ScriptedModel(byAgent(turns), { clock });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), contexts: [shopContext] as const, agents },
    authorizer: more.authorizer ?? (() => true),
    models: { default: model },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" });
  const events = async () =>
    (await store.events("acme", { contexts: ["agents"], limit: 200 })).items
      .map(({ type }) => type)
      .filter((type) => !type.includes("message_added"));
  const booked = async () =>
    (await store.load({ tenant: "acme", context: "shop" }, [{ type: "bookings", id: "all" }]))[0]?.state["what"] ?? [];
  const run = async (id: string, input = "Book a bell.") => {
    const begun = await acme.agents.run({ agent: id, input });
    await app.settled();
    return begun;
  };
  const pending = async () => {
    const { items } = await acme.approvals.list({ status: "pending" });
    return Promise.all(items.map(({ approvalId }) => acme.approvals.get({ approvalId })));
  };
  return { app, acme, clock, store, model, events, booked, run, pending };
}

const lead = agent("lead", { tools: [agentTool("helper"), agentTool("clerk")] });
const helper = agent("helper", { tools: books });
const clerk = agent("clerk", { tools: books });
const task = (text: string): Record<string, string> => ({ task: text });

test("an agent asks another one, which works in a run of its own for the same user, and gets its answer", async () => {
  const { acme, run, model, events } = await started(
    {
      lead: [asks(["ask_helper", task("Look for bells.")]), { text: "There are two bells.", usage }],
      helper: [{ text: "Two.", usage }],
    },
    [lead, helper, clerk],
  );
  const { runId, conversationId } = await run("lead");
  const got = await acme.agents.get({ runId });
  expect(got).toMatchObject({ status: "completed", text: "There are two bells.", delegated: [] });
  expect(got.usage.inputTokens).toBe(200);
  expect(got.delegatedUsage).toMatchObject({ steps: 1, inputTokens: 100, outputTokens: 10 });
  const [delegated] = (await acme.agents.listRuns({ parent: runId })).items;
  expect(delegated).toMatchObject({
    ...{ agent: "helper", parent: runId, status: "completed", text: "Two." },
    onBehalfOf: { type: "user", id: "ann" },
  });
  expect(delegated!.conversationId).not.toBe(conversationId);
  expect(JSON.stringify(model.calls[1]!.prompt)).toContain("Look for bells.");
  expect(JSON.stringify(model.calls[1]!.prompt)).not.toContain("Book a bell.");
  expect(await events()).toEqual([
    ...["conversation.started", "agent.run_started", "agent.step_taken"],
    ...["agent.run_delegated", "agent.run_started", "conversation.started", "agent.step_taken"],
    ...["agent.executed", "agent.delegation_ended"],
    ...["agent.tools_run", "agent.step_taken", "agent.executed"],
  ]);
});

describe("approvals inside delegated runs", () => {
  const both = {
    lead: [
      asks(["ask_helper", task("Book a bell.")], ["ask_clerk", task("Book a drum.")]),
      { text: "One was booked.", usage },
    ],
    helper: [asks(["shop_book", { what: "bell" }]), { text: "It is booked.", usage }],
    clerk: [asks(["shop_book", { what: "drum" }]), { text: "I was not allowed to.", usage }],
  };

  test("show on the first run, and resume just the call that they are for", async () => {
    const { app, acme, run, pending, booked, model, events } = await started(both, [lead, helper, clerk]);
    const { runId } = await run("lead");
    const waiting = await acme.agents.get({ runId });
    const asked = await pending();
    expect(asked.map(({ arguments: { what } }) => what).sort()).toEqual(["bell", "drum"]);
    expect(waiting.status).toBe("suspended");
    expect([...waiting.approvals].sort()).toEqual(asked.map(({ approvalId }) => approvalId).sort());
    expect((await acme.agents.listRuns({ agent: "lead", status: "suspended" })).items).toEqual([waiting]);
    expect((await events()).filter((type) => type === "agent.run_suspended")).toHaveLength(4);

    const of = (what: string) => asked.find((each) => each.arguments["what"] === what)!;
    await acme.approvals.reject({ approvalId: of("drum").approvalId, reason: "too loud" });
    await app.settled();
    expect((await acme.agents.get({ runId })).approvals).toEqual([of("bell").approvalId]);
    expect(await booked()).toEqual([]);

    const { approvalId, hash } = of("bell");
    await Promise.all(Array.from({ length: 20 }, () => acme.approvals.approve({ approvalId, hash })));
    await app.settled();
    expect(await booked()).toEqual(["bell"]);
    expect(seen).toEqual([
      { tenant: "acme", actor: { type: "agent", id: "helper" }, onBehalfOf: { type: "user", id: "ann" } },
    ]);
    expect(await acme.agents.get({ runId })).toMatchObject({
      ...{ status: "completed", text: "One was booked.", approvals: [], delegated: [] },
    });
    const last = JSON.stringify(model.calls.at(-1)!.prompt);
    expect(last).toContain("It is booked.");
    expect(last).toContain("I was not allowed to.");
  });

  test("show through all runs in between, and who follows the first one sees each change", async () => {
    const { app, acme, clock, run, pending, booked } = await started(
      {
        top: [asks(["ask_lead", task("Book a bell and a drum.")]), { text: "Done.", usage }],
        ...both,
      },
      [agent("top", { tools: [agentTool(lead)] }), lead, helper, clerk],
    );
    const { runId } = await run("top");
    const middle = (await acme.agents.listRuns({ parent: runId })).items[0]!;
    expect(middle).toMatchObject({ agent: "lead", status: "suspended" });
    expect((await acme.agents.get({ runId })).approvals).toEqual(middle.approvals);
    const followed = (async () => {
      const states: unknown[] = [];
      for await (const { item } of acme.agents.follow({ runId }))
        if (item.type === "status" && item.run.status !== "running")
          states.push([item.run.status, item.run.approvals.length]);
      return states;
    })();
    for (const { approvalId, hash } of await pending()) {
      await clock.advance(200);
      await acme.approvals.approve({ approvalId, hash });
      await app.settled();
    }
    await clock.advance(200);
    expect(await followed).toEqual([
      ["suspended", 2],
      ["suspended", 1],
      ["completed", 0],
    ]);
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Done." });
    expect([...((await booked()) as string[])].sort()).toEqual(["bell", "drum"]);
  });

  test("end with the run that they are for: it cancels what it has delegated, and nothing runs", async () => {
    const { app, acme, run, pending, booked } = await started({ top: [asks(["ask_lead", task("Book.")])], ...both }, [
      agent("top", { tools: [agentTool(lead)] }),
      lead,
      helper,
      clerk,
    ]);
    const { runId } = await run("top");
    const asked = await pending();
    await acme.agents.cancel({ runId, reason: "not now" });
    await app.settled();
    const { items } = await acme.agents.listRuns({});
    expect(items.map(({ agent: id, status, approvals }) => [id, status, approvals]).sort()).toEqual([
      ...["clerk", "helper", "lead", "top"].map((id) => [id, "canceled", []]),
    ]);
    expect(await pending()).toEqual([]);
    const { approvalId, hash } = asked[0]!;
    await expect(acme.approvals.approve({ approvalId, hash })).rejects.toThrow("expired");
    expect(await booked()).toEqual([]);
  });
});

test("a delegated run that is canceled, or fails, is what its call comes to", async () => {
  const failing = agent("clerk", { limits: { steps: 1 }, tools: [...books], approvalFrom: "never" });
  const { app, acme, run, model } = await started(
    {
      lead: [asks(["ask_helper", task("One.")], ["ask_clerk", task("Two.")]), { text: "Neither.", usage }],
      helper: [asks(["shop_book", { what: "bell" }])],
      clerk: [asks(["shop_book", { what: "drum" }])],
    },
    [lead, helper, failing],
  );
  const { runId } = await run("lead");
  const { items } = await acme.agents.listRuns({ parent: runId, agent: "helper" });
  await acme.agents.cancel({ runId: items[0]!.runId, reason: "no bells" });
  await app.settled();
  expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Neither.", approvals: [] });
  const results = JSON.stringify(model.calls.at(-1)!.prompt);
  expect(results).toContain("The execution was canceled: no bells");
  expect(results).toContain("agent.limit_reached");
});

test("agents that ask each other come to an end, and so does one that asks itself", async () => {
  const again = (id: string) => Array.from({ length: 10 }, () => asks([`ask_${id}`, task("You do it.")]));
  const { acme, run, events } = await started({ lead: again("helper"), helper: again("lead") }, [
    agent("lead", { tools: [agentTool("helper")], limits: { steps: 2, depth: 4 } }),
    agent("helper", { tools: [agentTool("lead")], limits: { steps: 2 } }),
  ]);
  const { runId } = await run("lead");
  expect((await acme.agents.get({ runId })).status).not.toBe("running");
  const { items } = await acme.agents.listRuns({});
  expect(items.every(({ status }) => status === "completed" || status === "failed")).toBe(true);
  const depthOf = (id: string | undefined): number =>
    id === undefined ? 0 : 1 + depthOf(items.find((each) => each.runId === id)?.parent);
  // The helper's own bound of 3 is the tighter one from there on.
  expect(Math.max(...items.map((each) => depthOf(each.runId)))).toBe(5);
  expect((await events()).filter((type) => type === "agent.run_delegated")).toHaveLength(items.length - 1);
});

describe("a delegated run", () => {
  const asking = { lead: [asks(["ask_helper", task("Book a bell.")]), { text: "No.", usage }] };

  test("is not begun for who may not have agents run any more, nor by an agent that is paused", async () => {
    let allowed = true;
    const { acme, app, model } = await started(
      {
        lead: [
          () => {
            allowed = false;
            return asks(["ask_helper", task("Book.")], ["ask_clerk", task("Book.")]) as never;
          },
          { text: "Refused.", usage },
        ],
      },
      [lead, helper, clerk],
      { authorizer: (_, permission) => permission !== "agents:run" || allowed },
    );
    const { runId } = await acme.agents.run({ agent: "lead", input: "Book." });
    await app.settled();
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Refused." });
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain("forbidden");
    expect((await acme.agents.listRuns({ parent: runId })).items).toEqual([]);
    allowed = true;
    await acme.agents.pause({ agent: "helper" });
  });

  test("is refused where its agent is paused", async () => {
    const { acme, run, model } = await started(asking, [lead, helper, clerk]);
    await acme.agents.pause({ agent: "helper" });
    await run("lead");
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain("agent.not_active");
  });

  test("may do no more than the key that its user came with", async () => {
    const { app, acme, pending, booked, model } = await started(
      {
        ...asking,
        helper: [asks(["shop_book", { what: "bell" }]), { text: "I could not.", usage }],
      },
      [lead, helper, clerk],
      {
        authorizer: ({ limitedTo }, permission) => limitedTo === undefined || limitedTo.includes(permission),
      },
    );
    const limited = app.as({
      ...{ tenant: "acme", actor: { type: "user", id: "ann" } },
      limitedTo: ["agents:run", "agents:read"],
    });
    await limited.agents.run({ agent: "lead", input: "Book." });
    await app.settled();
    const [asked] = await pending();
    await acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
    await app.settled();
    expect(await booked()).toEqual([]);
    expect(JSON.stringify(model.calls[2]!.prompt)).toContain("forbidden");
  });

  test("counts against the budgets of its tenant, its agent and those that have asked it", async () => {
    const { acme, run } = await started({ ...asking, helper: [{ text: "Booked.", usage }] }, [lead, helper, clerk]);
    for (const budget of ["tenant", "agent.lead", "agent.helper"] as const)
      await acme.agents.setBudget({ budget, steps: 10 });
    await run("lead");
    const spent = async (budget: "tenant" | "agent.lead" | "agent.helper") => {
      const { spent: used, reserved } = await acme.agents.budget({ budget });
      return [used.steps, reserved.steps];
    };
    expect(await spent("tenant")).toEqual([3, 0]);
    expect(await spent("agent.lead")).toEqual([3, 0]);
    expect(await spent("agent.helper")).toEqual([1, 0]);
  });

  test("is not begun where one of those budgets does not have its first step", async () => {
    const { acme, run, model } = await started(asking, [lead, helper, clerk]);
    await acme.agents.setBudget({ budget: "agent.helper", steps: 0 });
    await run("lead");
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain('its limit of the budget \\"agent.helper\\" is reached');
  });

  test("has what is left of the limits of the one that asks, which reckons with what it used", async () => {
    const { acme, run } = await started(
      {
        lead: [asks(["ask_helper", task("Book.")]), asks(["ask_helper", task("Book.")])],
        helper: [asks(["shop_book", { what: "bell" }]), asks(["shop_book", { what: "bell" }])],
      },
      [
        agent("lead", { tools: [agentTool("helper")], limits: { tokens: 320 } }),
        agent("helper", { tools: books, approvalFrom: "never" }),
      ],
    );
    const { runId } = await run("lead");
    expect(await acme.agents.get({ runId })).toMatchObject({
      ...{ status: "failed", error: { code: "agent.limit_reached" }, usage: { inputTokens: 100 } },
      delegatedUsage: { inputTokens: 200 },
    });
  });

  test("is not taken for one that somebody has begun under its id", async () => {
    const first = await started({ ...asking, helper: [{ text: "Real.", usage }] }, [lead, helper, clerk]);
    const begun = await first.acme.agents.run({ agent: "lead", input: "Book.", runId: "run_known" });
    await first.app.settled();
    const [real] = (await first.acme.agents.listRuns({ parent: begun.runId })).items;
    const second = await started({ ...asking, helper: [{ text: "Planted.", usage }] }, [lead, helper, clerk]);
    await second.acme.agents.run({ agent: "helper", input: "Book a bell.", runId: real!.runId });
    await second.app.settled();
    await second.acme.agents.run({ agent: "lead", input: "Book.", runId: "run_known" });
    await second.app.settled();
    const told = JSON.stringify(second.model.calls.at(-1)!.prompt);
    expect(told).toContain("agent.run_requested_otherwise");
    expect(told).not.toContain("Planted.");
  });
});

describe("a conversation that is handed over", () => {
  const desk = agent("desk", {
    tools: [agentTool("helper", { handoff: true }), agentTool("clerk", { handoff: true })],
  });

  test("is answered by the other agent from there on, who has read all of it", async () => {
    const { app, acme, run, model, pending, booked } = await started(
      {
        desk: [asks(["handoff_to_helper", { reason: "It is about bells." }])],
        helper: [asks(["shop_book", { what: "bell" }]), { text: "It is booked.", usage }, { text: "Again.", usage }],
      },
      [desk, helper, clerk],
    );
    const { runId, conversationId } = await run("desk");
    const [asked] = await pending();
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "suspended", approvals: [asked!.approvalId] });
    await acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
    await app.settled();
    expect(await booked()).toEqual(["bell"]);
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "It is booked." });
    const { items } = await acme.agents.messages({ conversationId });
    expect(items.map(({ role }) => role)).toEqual([...["user", "assistant", "tool", "assistant", "tool", "assistant"]]);
    const followed: string[] = [];
    for await (const { item } of acme.agents.follow({ runId }))
      if (item.type !== "delta") followed.push(item.type === "message" ? item.message.role : item.run.status);
    expect(followed).toEqual([...items.map(({ role }) => role), "completed"]);
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain("Book a bell.");
    expect(await acme.agents.run({ input: "And another one.", conversationId })).toMatchObject({ agent: "helper" });
    await app.settled();
    expect(JSON.stringify(model.calls.at(-1)!.prompt)).toContain("It is booked.");
  });

  test("stays where it is when the other one does not work, and goes to one of two only", async () => {
    const { acme, run, model } = await started(
      {
        desk: [
          asks(["handoff_to_helper", {}], ["handoff_to_clerk", {}]),
          asks(["handoff_to_clerk", {}], ["handoff_to_helper", {}]),
        ],
        clerk: [{ text: "Here I am.", usage }],
      },
      [desk, helper, clerk],
    );
    await acme.agents.pause({ agent: "helper" });
    const { runId, conversationId } = await run("desk");
    const told = JSON.stringify(model.calls[1]!.prompt);
    expect(told).toContain("agent.not_active");
    expect(told).toContain("handed over by another call already");
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Here I am." });
    expect(await acme.agents.run({ input: "Hello.", conversationId })).toMatchObject({ agent: "clerk" });
  });

  test("to an agent that fails has failed, and one that goes in circles ends", async () => {
    const { acme, run } = await started(
      {
        desk: Array.from({ length: 10 }, () => asks(["handoff_to_helper", {}])),
        helper: Array.from({ length: 10 }, () => asks(["handoff_to_desk", {}])),
      },
      [
        agent("desk", { tools: [agentTool("helper", { handoff: true })], limits: { steps: 3 } }),
        agent("helper", { tools: [agentTool("desk", { handoff: true })], limits: { steps: 3 } }),
      ],
    );
    const { runId } = await run("desk");
    expect(await acme.agents.get({ runId })).toMatchObject({
      ...{ status: "failed", error: { code: "agent.handoff_failed" } },
    });
    expect((await acme.agents.listRuns({})).items).toHaveLength(4);
  });
});

test("a tool of an agent that is not among the host's is refused at the start", async () => {
  await expect(started({}, [lead, helper])).rejects.toThrow('needs the agent "clerk"');
});
