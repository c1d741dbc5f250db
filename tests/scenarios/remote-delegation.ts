import { agentTool, defineAgent, defineRemoteAgent } from "@armature/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asks, byPlace, ended, usage } from "./agents.ts";
import { benchOn } from "./bench.ts";
import type { PlaceKind } from "./place.ts";
import { events, type Got, type RemoteAgentServer, startRemoteAgent } from "./remote-agent-server.ts";

const isRun = ({ method }: Got) => method === "PUT";
const isCancel = ({ path }: Got) => path.endsWith("/cancel");

/** An agent has one work for it that runs elsewhere: it is delegated to like any other. */
export function remoteDelegation(kind: PlaceKind): void {
  describe(`delegating to remote agents, ${kind.name}`, () => {
    const bench = benchOn(kind);
    let remote: RemoteAgentServer;
    beforeEach(async () => {
      remote = await startRemoteAgent();
    });
    afterEach(() => remote.close());
    const start = (handoff: boolean) => {
      const researcher = defineRemoteAgent({ id: "researcher", summary: "Looks people up.", url: remote.url });
      const name = handoff ? "handoff_to_researcher" : "ask_researcher";
      return bench.start({
        apiUrl: "https://api.example.com",
        agents: [
          defineAgent({
            ...{ id: "desk", summary: "Receives everybody.", instructions: "Ask." },
            tools: [agentTool(researcher, { handoff })],
          }),
          researcher,
        ],
        models: { default: byPlace([asks([name, handoff ? {} : { task: "Who is Bo?" }]), { text: "I see.", usage }]) },
        executions: { pollMs: 100 },
        relay: { pollMs: 50 },
      });
    };
    const answers = (got: Got) =>
      events(got, [["completed", { text: "A man.", usage: { steps: 1, inputTokens: 30, outputTokens: 12 } }]]);

    test("its answer is what the call comes to, and what it has used is reckoned with", async () => {
      const tenant = bench.tenant();
      remote.answer(answers);
      const app = await start(false);
      const { agents } = app.as({ tenant, user: "ann" });
      await agents.setBudget({ budget: "agent.desk", tokens: 1_000_000 });
      const { runId } = await agents.run({ agent: "desk", input: "Who?" });
      expect(await ended(app, tenant, runId)).toMatchObject({
        ...{ status: "completed", text: "I see.", delegatedUsage: { inputTokens: 30, outputTokens: 12 } },
      });
      expect(JSON.stringify(remote.got.find(isRun)!.body.messages)).toContain("Who is Bo?");
      expect((await agents.budget({ budget: "agent.desk" })).spent.tokens).toBe(2 * 110 + 42);
    });

    test("it answers a conversation that is handed over to it", async () => {
      const tenant = bench.tenant();
      remote.answer(answers);
      const app = await start(true);
      const { agents } = app.as({ tenant, user: "ann" });
      const { runId, conversationId } = await agents.run({ agent: "desk", input: "Who is Bo?" });
      expect(await ended(app, tenant, runId)).toMatchObject({ status: "completed", text: "A man." });
      expect(JSON.stringify(remote.got.find(isRun)!.body.messages)).toContain("Who is Bo?");
      const { items } = await agents.messages({ conversationId });
      expect(items.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    });

    test("it is told when the run that it works for is canceled", async () => {
      const tenant = bench.tenant();
      remote.answer((got) => {
        if (isCancel(got)) got.response.writeHead(204).end();
        else events(got, [["message", { text: "Looking." }]], { end: false });
      });
      const app = await start(false);
      const { agents } = app.as({ tenant, user: "ann" });
      const { runId } = await agents.run({ agent: "desk", input: "Who?" });
      await remote.request(isRun);
      await agents.cancel({ runId, reason: "No." });
      expect((await ended(app, tenant, runId)).status).toBe("canceled");
      const [delegated] = (await agents.listRuns({ parent: runId })).items;
      expect((await ended(app, tenant, delegated!.runId)).status).toBe("canceled");
      expect((await remote.request(isCancel)).path).toBe(`/agent/runs/${tenant}.${delegated!.runId}/cancel`);
    });
  });
}
