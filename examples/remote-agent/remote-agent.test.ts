import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import path from "node:path";
import {
  AgentLimitReached,
  createArmature,
  defineContext,
  defineContract,
  defineRemoteAgent,
  query,
} from "@armature/core";
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
  const line = await startLine(agentPort);
  const [apiUrl, url] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${line.port}`];
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
    ...{ app, store, logger, apiUrl, url, asked, agent, run, ended, line },
    /** Resolves when the agent is at work on so many runs. */
    atWork: async (count: number) => {
      for (;;) {
        const { runs } = await fetch(`${url}/health`).then((answer) => answer.json() as Promise<{ runs: number }>);
        if (runs === count) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
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

/** What lies between us and the agent: it can be cut, and hears everything. */
async function startLine(to: number) {
  const sockets = new Set<Socket>();
  let heard = "";
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    near.on("data", (chunk) => {
      heard += chunk.toString("latin1");
    });
    near.pipe(far).pipe(near);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket
        .on("error", () => undefined)
        .on("close", () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  open.push(async () => {
    cut();
    await once(server.close(), "close");
  });
  return {
    port: (server.address() as { readonly port: number }).port,
    cut,
    tokens: () => [...heard.matchAll(/^authorization: Bearer (\S+)/gim)].map(([, token]) => token!),
    requests: () => [...heard.matchAll(/^(?:PUT|POST|GET) \S+/gm)].map(([text]) => text),
    lastEventIds: () => [...heard.matchAll(/^last-event-id: (\d+)/gim)].map(([, id]) => Number(id)),
  };
}

type Agents =
  Awaited<ReturnType<typeof createArmature>> extends { as(principal: never): { readonly agents: infer A } } ? A : never;
type Language = "TypeScript" | "Python";
/** Debian's packages; a laptop may do without. */
const withoutPython =
  process.env["CI"] === undefined && spawnSync("/usr/bin/python3", ["-c", "import fastapi, uvicorn, jwt"]).status !== 0;
if (withoutPython)
  console.warn("Skipped: the agent in Python (apt-get install python3-fastapi python3-uvicorn python3-jwt).");
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

const described = (language: Language) => (language === "Python" && withoutPython ? describe.skip : describe);

for (const language of ["TypeScript", "Python"] as const)
  described(language)(`a remote agent in ${language}`, () => {
    test("does its work with what its user may, and its run is one like any other", async () => {
      const { app, agent, run, ended, asked, store } = await setUp(language);
      await agent();
      const begun = await run("ann", "Find Lee");
      expect(await ended(begun)).toMatchObject({
        ...{ status: "completed", text: "Found Ann Lee, Bo Lee.", agent: "researcher" },
        usage: { steps: 2, inputTokens: 90, outputTokens: 12 },
      });
      expect(await said(begun)).toEqual([
        "user: Find Lee",
        "assistant: Looking for Lee.",
        "assistant: Found Ann Lee, Bo Lee.",
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
      expect(events.items.map(({ type }) => type).filter((type) => type.startsWith("agent."))).toEqual([
        ...["agent.run_started", "agent.progressed"],
        ...(language === "TypeScript" ? ["agent.progressed"] : []),
        ...["agent.progressed", "agent.executed"],
      ]);
      expect(await begun.agents.checkHealth({ agent: "researcher" })).toMatchObject({ status: "up", version: "1" });
      expect(await begun.agents.list({ capability: "lookup" })).toMatchObject([{ agent: "researcher", remote: true }]);
      await app.settled();
    });

    test("cannot do what its user may not", async () => {
      const { agent, run, ended, asked } = await setUp(language);
      await agent();
      const { status, error } = await ended(await run("rob", "Find Lee"));
      expect({ status, code: error?.code, asked: asked.length }).toEqual({
        ...{ status: "failed", code: "agent.remote_failed", asked: 0 },
      });
      expect(error?.message).toContain("The contacts cannot be read: forbidden.");
    });

    test("is told when its run is canceled, and stops", async () => {
      const { app, agent, run, ended, hold, called, atWork } = await setUp(language);
      await agent();
      hold();
      const call = called();
      const begun = await run("ann", "Find Lee");
      const { answer } = await call;
      await atWork(1);
      await begun.agents.cancel({ runId: begun.runId, reason: "Not needed any more." });
      expect((await ended(begun)).status).toBe("canceled");
      await atWork(0);
      answer();
      await app.settled();
    });

    test("that is killed at work begins anew when it is back, and the run goes on", async () => {
      const { agent, run, ended, hold, called, asked, line } = await setUp(language);
      const first = await agent();
      const held = hold();
      const call = called();
      const begun = await run("ann", "Find Lee");
      const { answer } = await call;
      first.kill("SIGKILL");
      await once(first, "exit");
      answer();
      held.release();
      await agent();
      expect(await ended(begun)).toMatchObject({ status: "completed", text: "Found Ann Lee, Bo Lee." });
      expect(await said(begun)).toEqual([
        ...["user: Find Lee", "assistant: Looking for Lee.", "assistant: Looking for Lee."],
        "assistant: Found Ann Lee, Bo Lee.",
      ]);
      expect(asked).toHaveLength(2);
      expect(line.lastEventIds()).toContain(1);
    });

    test("whose connection breaks goes on at work, and nothing is said twice", async () => {
      const { agent, run, ended, hold, called, asked, line } = await setUp(language);
      await agent();
      hold();
      const call = called();
      const begun = await run("ann", "Find Lee");
      const { answer } = await call;
      await eventually(async () => (await said(begun)).length === 2);
      line.cut();
      await eventually(async () => line.lastEventIds().includes(1));
      answer();
      expect(await ended(begun)).toMatchObject({ status: "completed", text: "Found Ann Lee, Bo Lee." });
      expect(await said(begun)).toHaveLength(3);
      expect(asked).toHaveLength(1);
    });

    test("that is not done by its deadline is told to stop", async () => {
      const { app, agent, run, ended, hold, called, atWork } = await setUp(language, { timeoutMs: 2_000 });
      await agent();
      hold();
      const call = called();
      const end = ended(await run("ann", "Find Lee"));
      const begun = await Promise.race([call, end]);
      // On a machine that is too slow for it, the agent is told to stop before it is at work.
      expect((await end).error?.code).toBe("agent.remote_timed_out");
      await atWork(0);
      if ("answer" in begun) begun.answer();
      await app.settled();
    });

    test("that uses more than it may is cut off, and what it has used counts", async () => {
      const { app, agent, run, ended } = await setUp(language, { tokens: 60 });
      await agent();
      const { agents } = app.as({ tenant: "acme", user: "ann" });
      const admin = app.as({ tenant: "acme", system: "test" }).agents;
      await admin.setBudget({ budget: "tenant", tokens: 150 });
      const { status, error } = await ended(await run("ann", "Find Lee"));
      expect([status, error?.code]).toEqual(["failed", "agent.limit_reached"]);
      expect(await agents.budget({ budget: "tenant" })).toMatchObject({
        spent: { tokens: 102 },
        reserved: { tokens: 0 },
      });
      // 48 are left, and a run may use 60.
      await expect(run("ann", "Find Lee")).rejects.toThrow(AgentLimitReached);
      await app.settled();
    });

    test("believes no token but one that is for it and for the run", async () => {
      const { agent, run, ended, line, url } = await setUp(language);
      await agent();
      await ended(await run("ann", "Find Lee"));
      const [token] = line.tokens();
      const [header, , signature] = token!.split(".");
      const claims = JSON.parse(Buffer.from(token!.split(".")[1]!, "base64url").toString());
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
      const forged = [
        "",
        "nonsense",
        `${header}.${part({ ...claims, principal: { ...claims.principal, tenant: "globex" } })}.${signature}`,
        `${part({ alg: "none" })}.${part(claims)}.`,
        `${part({ ...JSON.parse(Buffer.from(header!, "base64url").toString()), alg: "HS256" })}.${part(claims)}.${signature}`,
      ];
      const put = (id: string, bearer: string) =>
        fetch(`${url}/runs/${id}`, {
          method: "PUT",
          headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
          body: JSON.stringify({ messages: [{ role: "user", content: [{ type: "text", text: "Find Lee" }] }] }),
        });
      for (const each of forged) expect((await put(claims.sub, each)).status, each).toBe(401);
      expect((await put("acme.run_other", token!)).status).toBe(401);
      expect((await put(claims.sub, token!)).status).toBe(200);
      const canceled = await fetch(`${url}/runs/${claims.sub}/cancel`, { method: "POST", body: "{}" });
      expect(canceled.status).toBe(401);
    });

    test("has a token that is good for what it may and nothing else, and stands nowhere", async () => {
      const { app, agent, run, ended, line, apiUrl, store, logger } = await setUp(language);
      await agent();
      const begun = await run("ann", "Find Lee");
      await ended(begun);
      await app.settled();
      const [token] = line.tokens();
      const call = (path: string, bearer = token!) =>
        fetch(`${apiUrl}${path}`, { headers: { authorization: `Bearer ${bearer}` } }).then(({ status }) => status);
      expect(await call("/contacts?name=Lee")).toBe(200);
      expect(await call("/agents/runs")).toBe(403);
      expect(await call("/contacts?name=Lee", `${token!.slice(0, -8)}AAAAAAAA`)).toBe(401);
      const events = await store.events("acme", { contexts: ["agents", "contacts", "identity"], limit: 500 });
      const trail = await app.as({ tenant: "acme", system: "test" }).audit.list({ limit: 100 });
      const journal = await store.journal({ tenant: "acme", context: "agents" }, { id: begun.runId, limit: 100 });
      expect(journal.items.length).toBeGreaterThan(0);
      expect(trail.items.length).toBeGreaterThan(0);
      const kept = JSON.stringify([
        events,
        trail,
        journal,
        logger.entries,
        await begun.agents.get({ runId: begun.runId }),
      ]);
      for (const secret of line.tokens()) for (const part of secret.split(".")) expect(kept).not.toContain(part);
    });
  });

async function said({ agents, conversationId }: { readonly agents: Agents; readonly conversationId: `cnv_${string}` }) {
  const { items } = await agents.messages({ conversationId });
  return items.map(
    ({ role, content }) => `${role}: ${content.map((each) => ("text" in each ? each.text : "")).join("")}`,
  );
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
