import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import path from "node:path";
import { createArmature, defineContext, defineContract, defineRemoteAgent, query } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger } from "@armature/core/testing";
import { startServer } from "@armature/server-express";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";

const contacts = defineContract("contacts", {
  find: query({
    input: z.strictObject({ name: z.string() }),
    output: z.array(z.object({ name: z.string() })),
    permission: "contacts:read",
    http: "GET /contacts",
    summary: "Finds contacts by a part of their name.",
  }),
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  await once(server.close(), "close");
  return port;
}

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A host with an API over HTTP, whose contacts are asked for by an agent that runs in a process of its own. */
async function setUp(language: Language, limits: { readonly timeoutMs?: number; readonly tokens?: number } = {}) {
  const [port, agentPort] = await Promise.all([freePort(), freePort()]);
  const [apiUrl, url] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${agentPort}`];
  const asked: { readonly principal: unknown; readonly answer: () => void }[] = [];
  const waiting: ((call: (typeof asked)[number]) => void)[] = [];
  let held = false;
  const context = defineContext(contacts, {
    handlers: {
      find: async ({ name }, ctx) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const call = { principal: ctx.principal, answer: resolve };
        asked.push(call);
        waiting.shift()?.(call);
        if (held) await Promise.race([promise, once(ctx.signal, "abort")]);
        return ["Ann Lee", "Bo Lee"].filter((each) => each.includes(name)).map((each) => ({ name: each }));
      },
    },
  });
  const logger = recordingLogger();
  const store = inMemory();
  const app = await createArmature({
    ...{ store, logger, contexts: [context] as const, apiUrl },
    agents: [
      defineRemoteAgent({
        ...{ id: "researcher", summary: "Looks people up.", url, capabilities: ["lookup"] },
        ...{ permissions: ["contacts:read"], limits },
      }),
    ],
  });
  const running = await startServer({ app, port, logger });
  open.push(() => running.close());
  const { identity } = app.as({ tenant: "acme", system: "test" });
  await identity.createTenant({ name: "Acme" });
  await identity.createRole({ role: "reader", permissions: ["agents:*", "contacts:read"] });
  await identity.createRole({ role: "runner", permissions: ["agents:*"] });
  await identity.createUser({ userId: "ann", name: "Ann", roles: ["reader"] });
  await identity.createUser({ userId: "rob", name: "Rob", roles: ["runner"] });
  const agent = () => startAgent(language, { apiUrl, url, port: agentPort });
  const run = async (user: string, input: string) => {
    const { agents } = app.as({ tenant: "acme", user });
    const { runId, conversationId } = await agents.run({ capability: "lookup", input });
    return { runId, conversationId, agents };
  };
  const ended = async ({ agents, runId }: Awaited<ReturnType<typeof run>>) => {
    for await (const { item } of agents.follow({ runId }, { timeoutMs: 60_000 }))
      if (item.type === "status" && item.run.endedAt !== undefined) return item.run;
    throw new Error("The run was not followed to its end.");
  };
  return {
    ...{ app, store, logger, apiUrl, url, asked, agent, run, ended },
    hold: () => {
      held = true;
      return {
        release: () => {
          held = false;
        },
      };
    },
    called: () => new Promise<(typeof asked)[number]>((resolve) => waiting.push(resolve)),
  };
}

type Language = "TypeScript" | "Python";
const commands = { TypeScript: [process.execPath, "agent.ts"], Python: ["/usr/bin/python3", "agent.py"] } as const;

async function startAgent(
  language: Language,
  { apiUrl, url, port }: { readonly apiUrl: string; readonly url: string; readonly port: number },
): Promise<ChildProcess> {
  const [command, file] = commands[language];
  const child = spawn(command, [path.join(import.meta.dirname, file)], {
    env: { ...process.env, API_URL: apiUrl, AGENT_URL: url, PORT: String(port) },
    stdio: ["ignore", "ignore", "inherit"],
  });
  open.push(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
  for (;;) {
    const up = await fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (up) return child;
    if (child.exitCode !== null) throw new Error(`The agent ended with ${child.exitCode}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const language of ["TypeScript", "Python"] as const)
  describe(`a remote agent in ${language}`, () => {
    test("does its work with what its user may, and its run is one like any other", async () => {
      const { app, agent, run, ended, asked, store } = await setUp(language);
      await agent();
      const begun = await run("ann", "Find Lee");
      expect(await ended(begun)).toMatchObject({
        ...{ status: "completed", text: "Found Ann Lee, Bo Lee.", agent: "researcher" },
        usage: { steps: 2, inputTokens: 90, outputTokens: 12 },
      });
      const { items } = await begun.agents.messages({ conversationId: begun.conversationId });
      expect(items.map(({ role, content }) => [role, content])).toEqual([
        ["user", [{ type: "text", text: "Find Lee" }]],
        ["assistant", [{ type: "text", text: "Looking for Lee." }]],
        ["assistant", [{ type: "text", text: "Found Ann Lee, Bo Lee." }]],
      ]);
      expect(asked.map(({ principal }) => principal)).toEqual([
        {
          tenant: "acme",
          actor: { type: "agent", id: "researcher" },
          onBehalfOf: { type: "user", id: "ann" },
          limitedTo: ["contacts:read"],
          credential: expect.stringMatching(/^tok_/),
        },
      ]);
      const events = await store.events("acme", { contexts: ["agents"], limit: 100 });
      expect(events.items.map(({ type }) => type).filter((type) => type.startsWith("agent."))).toEqual(
        expect.arrayContaining(["agent.run_started", "agent.progressed", "agent.executed"]),
      );
      expect(await begun.agents.checkHealth({ agent: "researcher" })).toMatchObject({ status: "up", version: "1" });
      await app.settled();
    });
  });
