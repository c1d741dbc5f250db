import { createArmature, defineRemoteAgent } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger } from "@armature/core/testing";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { events, type Got, startRemoteAgent } from "./scenarios/remote-agent-server.ts";

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** An agent whose runs are answered by `how`, and which may be canceled. */
async function setUp(how: (got: Got) => void, more: Partial<Parameters<typeof defineRemoteAgent>[0]> = {}) {
  const remote = await startRemoteAgent();
  open.push(() => remote.close());
  remote.answer((got) => (got.path.endsWith("/cancel") ? void got.response.writeHead(204).end() : how(got)));
  const app = await createArmature({
    ...{ store: inMemory(), logger: recordingLogger(), apiUrl: "https://api.example.com", authorizer: () => true },
    agents: [defineRemoteAgent({ id: "researcher", summary: "Looks people up.", url: remote.url, ...more })],
  });
  open.push(() => app.close());
  const { agents } = app.as({ tenant: "acme", user: "ann" });
  const run = async () => {
    const { runId } = await agents.run({ agent: "researcher", input: "Who?" });
    for await (const { item } of agents.follow({ runId }, { timeoutMs: 10_000 }))
      if (item.type === "status" && item.run.endedAt !== undefined) return item.run;
    throw new Error("The run was not followed to its end.");
  };
  return { app, agents, remote, run };
}

describe("usage that cannot be", () => {
  const most = Number.MAX_SAFE_INTEGER;
  test.for<object>([
    { steps: 1, inputTokens: most, outputTokens: most },
    { steps: most, inputTokens: 1, outputTokens: 1 },
    { steps: 1, inputTokens: 1, outputTokens: 1, nanos: most },
    { steps: 1, inputTokens: 1, outputTokens: 1, toolCalls: most },
  ])("ends the run, and nothing is kept of a budget any more: %j", async (usage) => {
    const { agents, run } = await setUp((got) => events(got, [["completed", { text: "Done.", usage }]]));
    await agents.setBudget({ budget: "tenant", tokens: 1_000_000 });
    const { status, error } = await run();
    expect([status, error?.code]).toEqual(["failed", "agent.remote_protocol_broken"]);
    expect(await agents.budget({ budget: "tenant" })).toMatchObject({
      spent: { tokens: 0, nanos: 0, steps: 0 },
      reserved: { tokens: 0, nanos: 0, steps: 0 },
    });
  });

  test("is counted as far as there are numbers, run after run", async () => {
    const usage = { steps: 1, inputTokens: 1, outputTokens: 1, nanos: 1_000_000_000_000_000 };
    const { agents, run } = await setUp((got) => events(got, [["completed", { text: "Done.", usage }]]));
    await agents.setBudget({ budget: "tenant", tokens: 10_000_000 });
    for (let at = 0; at < 10; at += 1) expect((await run()).status).toBe("completed");
    expect((await agents.budget({ budget: "tenant" })).spent).toEqual({ tokens: 20, nanos: most, steps: 10 });
  });
});

describe("text that not every store can hold", () => {
  test.for(["a\u0000b", "a\ud800b"])("is taken without it: %j", async (text) => {
    const { agents, run } = await setUp(
      (got) =>
        events(got, [
          ["message", { text }],
          ["completed", { text, output: { name: text } }],
        ]),
      { output: z.object({ name: z.string() }) },
    );
    const plain = text.replace("\u0000", "").toWellFormed();
    const { status, text: answer, output, conversationId } = await run();
    expect({ status, answer, output }).toEqual({ status: "completed", answer: plain, output: { name: plain } });
    const { items } = await agents.messages({ conversationId });
    expect(items.slice(1).map(({ content }) => content)).toEqual([0, 1].map(() => [{ type: "text", text: plain }]));
  });

  test("is taken without it from a failure", async () => {
    const { run } = await setUp((got) => events(got, [["failed", { code: "crm.down", message: "It\u0000's down." }]]));
    expect((await run()).error?.message).toContain("It's down.");
  });
});

describe("an agent that does not number its events", () => {
  test("says nothing twice: the run ends", async () => {
    const { agents, run } = await setUp(({ response }) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('event: message\ndata: {"text":"One."}\n\n');
    });
    const { status, error, conversationId } = await run();
    expect([status, error?.code]).toEqual(["failed", "agent.remote_protocol_broken"]);
    expect((await agents.messages({ conversationId })).items).toHaveLength(1);
  });

  test("or numbers two alike is heard once, and its end is its end", async () => {
    const { agents, run } = await setUp(({ response }) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const [id, text] of ["One.", "Again."].entries())
        response.write(`id: ${id < 2 ? 7 : id}\nevent: message\ndata: {"text":"${text}"}\n\n`);
      response.write('id: 3\nevent: message\ndata: {"text":"Before."}\n\n');
      response.write('event: completed\ndata: {"text":"Done."}\n\n');
      response.end(
        'event: completed\ndata: {"text":"Once more."}\n\nevent: failed\ndata: {"code":"no","message":""}\n\n',
      );
    });
    const { status, conversationId } = await run();
    expect(status).toBe("completed");
    const { items } = await agents.messages({ conversationId });
    expect(items.map(({ content }) => (content[0] as { readonly text: string }).text)).toEqual([
      ...["Who?", "One.", "Done."],
    ]);
  });
});

test("the token by which an agent is told to stop is good for nothing at the API", async () => {
  const { app, agents, remote } = await setUp(
    (got) => events(got, [["message", { text: "Looking." }]], { end: false }),
    {
      permissions: ["crm:read"],
    },
  );
  const { runId } = await agents.run({ agent: "researcher", input: "Who?" });
  const tokenOf = ({ headers }: Got) => headers.authorization!.slice("Bearer ".length);
  const asked = await remote.request(({ method }) => method === "PUT");
  await agents.cancel({ runId, reason: "Enough." });
  const canceled = await remote.request(({ path }) => path.endsWith("/cancel"));
  expect(await app.authenticate(tokenOf(asked))).toMatchObject({ onBehalfOf: { id: "ann" }, limitedTo: ["crm:read"] });
  const claims = JSON.parse(Buffer.from(tokenOf(canceled).split(".")[1]!, "base64url").toString());
  expect(claims).toMatchObject({ sub: `acme.${runId}`, aud: [remote.url], principal: { limitedTo: [] } });
  await expect(app.authenticate(tokenOf(canceled))).rejects.toMatchObject({ code: "unauthenticated" });
});
