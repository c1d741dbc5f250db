import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createArmature, defineRemoteAgent, type Principal, Secret, systemClock, systemIds } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger } from "@armature/core/testing";
import { startServer } from "@armature/server-express";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { principalTokens } from "../packages/core/src/runtime/principal-tokens.ts";
import { apartPlace, inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";
import { events, type Got, startRemoteAgent } from "./scenarios/remote-agent-server.ts";
import { remoteAgentScenarios } from "./scenarios/remote-agents.ts";
import { remoteDelegation } from "./scenarios/remote-delegation.ts";

const places = [inMemoryPlace, apartPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];
for (const kind of places) {
  remoteAgentScenarios(kind);
  remoteDelegation(kind);
}

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
const isCancel = ({ path }: Got) => path.endsWith("/cancel");
const done = ["completed", { text: "Done.", usage: { steps: 1, inputTokens: 1, outputTokens: 1 } }] as const;

async function setUp(more: Partial<Parameters<typeof defineRemoteAgent>[0]> = {}) {
  const remote = await startRemoteAgent();
  open.push(() => remote.close());
  const logger = recordingLogger();
  const store = inMemory();
  const app = await createArmature({
    ...{ store, logger, apiUrl: "https://api.example.com", authorizer: () => true },
    agents: [defineRemoteAgent({ id: "researcher", summary: "Looks people up.", url: remote.url, ...more })],
  });
  open.push(() => app.close());
  const { agents } = app.as({ tenant: "acme", user: "ann" });
  const run = async () => {
    const { runId } = await agents.run({ agent: "researcher", input: "Who?" });
    for await (const { item } of agents.follow({ runId }, { timeoutMs: 30_000 }))
      if (item.type === "status" && item.run.endedAt !== undefined) {
        await app.settled();
        return item.run;
      }
    throw new Error("The run was not followed to its end.");
  };
  return { app, agents, remote, run, logger };
}

describe("what a remote agent says", () => {
  test("may hold what is not known here, and comments", async () => {
    const { remote, run } = await setUp();
    remote.answer((got) => {
      got.response.writeHead(200, { "content-type": "text/event-stream" });
      got.response.write(": hello\n\nevent: thought\ndata: no json\n\nevent: __proto__\ndata: {}\n\n");
      got.response.write('id: 1\r\nevent: completed\r\ndata: {"text":"Done.",\r\ndata: "mood":"good"}\r\n\r\n');
    });
    expect(await run()).toMatchObject({ status: "completed", text: "Done." });
    expect(remote.got.filter(isCancel)).toEqual([]);
  });

  test("is taken once, also from an agent that says all of it again, and counts from nothing", async () => {
    const { remote, run, agents } = await setUp();
    const one = ["message", { text: "One." }] as const;
    const used = (tokens: number) => ({ steps: 1, inputTokens: tokens, outputTokens: 0 });
    remote.answer((got) =>
      remote.got.length === 1
        ? events(got, [one, ["usage", used(70)]])
        : events(got, [one, ["usage", used(9)], ["completed", { text: "Done.", usage: used(10) }]]),
    );
    const { conversationId, usage } = await run();
    const { items } = await agents.messages({ conversationId });
    expect(items.map(({ content }) => (content[0] as { readonly text: string }).text)).toEqual([
      "Who?",
      "One.",
      "Done.",
    ]);
    expect(usage.inputTokens).toBe(70);
    expect(remote.got.map(({ headers }) => headers["last-event-id"])).toEqual([undefined, "2"]);
  });

  test("ends with too many messages", async () => {
    const { remote, run } = await setUp();
    const many = Array.from({ length: 1_100 }, (_, n) => ["message", { text: `${n}` }] as const);
    remote.answer((got) => (isCancel(got) ? void got.response.writeHead(204).end() : events(got, many)));
    expect((await run()).error).toMatchObject({ code: "agent.limit_reached" });
  });

  test.for<[string, string, (got: Got) => void]>([
    ["an event that does not fit", '"message" event does not fit', (got) => events(got, [["message", { txt: "?" }]])],
    [
      "an event whose data is not JSON",
      "is not JSON",
      ({ response }) =>
        void response.writeHead(200, { "content-type": "text/event-stream" }).end("event: usage\ndata: {\n\n"),
    ],
    [
      "an event whose id is no number",
      "no whole number",
      ({ response }) =>
        void response
          .writeHead(200, { "content-type": "text/event-stream" })
          .end('id: x\nevent: message\ndata: {"text":"?"}\n\n'),
    ],
    [
      "an event without an end",
      "more than 1000000 bytes",
      ({ response }) => {
        response.writeHead(200, { "content-type": "text/event-stream" }).write("event: message\ndata: ");
        const more = () => {
          if (!response.destroyed) response.write("x".repeat(100_000), () => setImmediate(more));
        };
        more();
      },
    ],
    [
      "a page",
      "no text/event-stream",
      ({ response }) => void response.writeHead(200, { "content-type": "text/html" }).end("<p>Hello"),
    ],
    ["usage below nothing", '"usage" event', (got) => events(got, [["usage", { steps: -1, inputTokens: 0 }]])],
  ])("ends the run when it is %s, and the agent is told to stop", async ([, reason, answer]) => {
    const { remote, run } = await setUp();
    remote.answer((got) => (isCancel(got) ? void got.response.writeHead(204).end() : answer(got)));
    const { status, error } = await run();
    expect([status, error?.code]).toEqual(["failed", "agent.remote_protocol_broken"]);
    expect(error?.message).toContain(reason);
    expect(remote.got.filter(isCancel)).toHaveLength(1);
  });

  test("has to have the shape that the host has declared", async () => {
    const { remote, run } = await setUp({ output: z.object({ score: z.number() }) });
    remote.answer((got) => (isCancel(got) ? void got.response.writeHead(204).end() : events(got, [done])));
    expect((await run()).error?.code).toBe("agent.remote_protocol_broken");
    remote.answer((got) => events(got, [["completed", { text: "7", output: { score: 7 }, usage: done[1].usage }]]));
    expect(await run()).toMatchObject({ status: "completed", output: { score: 7 } });
    expect(remote.got[0]!.body.outputSchema).toMatchObject({ type: "object", required: ["score"] });
  });

  test("is charged in full when it does not say what it has used", async () => {
    const { remote, run, agents } = await setUp({ limits: { tokens: 500 } });
    await agents.setBudget({ budget: "agent.researcher", tokens: 800 });
    remote.answer((got) => events(got, [["completed", { text: "Done." }]]));
    expect((await run()).status).toBe("completed");
    expect((await agents.budget({ budget: "agent.researcher" })).spent.tokens).toBe(500);
  });
});

describe("how a remote agent refuses", () => {
  test("a refusal ends the run with its code, and nobody is told to stop who has not begun", async () => {
    const { remote, run } = await setUp();
    remote.answer(({ response }) => void response.writeHead(422).end('{"code":"question.unclear"}'));
    expect((await run()).error).toEqual({
      code: "agent.remote_refused",
      message: 'The remote agent "researcher" refused with 422 (question.unclear).',
    });
    expect(remote.got.map(({ method }) => method)).toEqual(["PUT"]);
  });

  test("it is not followed to where it would send us", async () => {
    const elsewhere = createServer().listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    open.push(() => once(elsewhere.close(), "close"));
    let visits = 0;
    elsewhere.on("request", () => {
      visits += 1;
    });
    const { remote, run } = await setUp();
    const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`;
    remote.answer(({ response }) => void response.writeHead(307, { location }).end());
    expect((await run()).error?.code).toBe("agent.remote_refused");
    expect(visits).toBe(0);
  });

  test("it is asked again when it is busy, as the same run", async () => {
    const { remote, run } = await setUp();
    remote.answer((got) =>
      remote.got.length < 3
        ? void got.response.writeHead(remote.got.length === 1 ? 429 : 503, { "retry-after": "0" }).end()
        : events(got, [done]),
    );
    expect((await run()).status).toBe("completed");
    expect(new Set(remote.got.map(({ path }) => path)).size).toBe(1);
  });

  test("one that is down is left alone for a while", async () => {
    const { remote, run, logger } = await setUp({ circuit: { failures: 2, openMs: 1_500 } });
    const at: number[] = [];
    remote.answer((got) => {
      at.push(Date.now());
      if (at.length < 3) got.response.writeHead(500).end();
      else events(got, [done]);
    });
    expect((await run()).status).toBe("completed");
    expect(at).toHaveLength(3);
    expect(logger.entries.map(({ message }) => message)).toEqual(
      expect.arrayContaining([expect.stringMatching(/is down/), expect.stringMatching(/works again/)]),
    );
  });

  test("its health says so", async () => {
    const { remote, agents } = await setUp();
    const answers: [number, string, object][] = [
      [200, '{"status":"up","version":"7","load":1}', { status: "up", version: "7" }],
      [200, '{"status":"fine"}', { status: "down", reason: "its answer is not what the protocol has" }],
      [200, "<p>Up", { status: "down", reason: "it is not JSON" }],
      [503, "", { status: "down", reason: "it answers 503" }],
    ];
    for (const [status, body, health] of answers) {
      remote.answer(({ response }) => void response.writeHead(status).end(body));
      expect(await agents.checkHealth({ agent: "researcher" })).toEqual({ agent: "researcher", ...health });
    }
    expect(remote.got.every(({ headers }) => headers.authorization === undefined)).toBe(true);
    await remote.close();
    expect(await agents.checkHealth({ agent: "researcher" })).toMatchObject({
      ...{ status: "down", reason: expect.stringContaining("the connection was") },
    });
  });
});

describe("a principal's token at the API", () => {
  const seed = (fill: number) => Buffer.alloc(32, fill).toString("base64");
  const [oldKey, newKey, apiUrl] = [seed(1), seed(2), "https://api.example.com"];
  const agent: Principal = {
    tenant: "acme",
    actor: { type: "agent", id: "researcher" },
    onBehalfOf: { type: "user", id: "ann" },
    limitedTo: ["agents:read"],
  };
  const signed = async (
    more: { readonly key?: string; readonly issuer?: string; readonly audience?: string; readonly at?: number } = {},
    principal = agent,
  ) => {
    const { key = newKey, issuer = apiUrl, audience = apiUrl, at = Date.now() } = more;
    const clock = { ...systemClock(), now: () => at };
    const tokens = principalTokens({ issuer, keys: [new Secret(key)], clock, ids: systemIds(clock) });
    return (await tokens.issue({ principal, audience: [audience] })).reveal();
  };

  test("is a credential like any other, and no way round what it says", async () => {
    const app = await createArmature({
      ...{ store: inMemory(), apiUrl, tokenKeys: [newKey, oldKey], logger: recordingLogger() },
    });
    const running = await startServer({ app });
    open.push(() => running.close());
    const system = app.as({ tenant: "acme", system: "test" }).identity;
    await system.createTenant({ name: "Acme" });
    await system.createUser({ userId: "ann", name: "Ann", roles: ["owner"] });
    const status = (token: string, path = "/agents") =>
      fetch(`${running.origin}${path}`, { headers: { authorization: `Bearer ${token}` } }).then((each) => each.status);
    expect(await status(await signed())).toBe(200);
    expect(await status(await signed({ key: oldKey }))).toBe(200);
    // Beyond its limits, of a tenant where its user is nobody, of a user who is nobody, for nobody.
    expect(await status(await signed(), "/users")).toBe(403);
    expect(await status(await signed({}, { ...agent, tenant: "globex" }))).toBe(403);
    expect(await status(await signed({}, { ...agent, onBehalfOf: { type: "user", id: "bob" } }))).toBe(403);
    expect(await status(await signed({}, { ...agent, onBehalfOf: undefined }))).toBe(403);
    const refused = {
      "another key": await signed({ key: seed(3) }),
      "another issuer": await signed({ issuer: "https://other.example.com" }),
      "another audience": await signed({ audience: "https://agents.example.com" }),
      "a token that has expired": await signed({ at: Date.now() - 400_000 }),
      "a token of tomorrow": await signed({ at: Date.now() + 86_400_000 }),
      "Armature itself": await signed({}, { tenant: "acme", actor: { type: "system", id: "test" } }),
    };
    for (const [what, token] of Object.entries(refused)) expect(await status(token), what).toBe(401);
    const published = await fetch(`${running.origin}/.well-known/jwks.json`);
    expect(published.headers.get("cache-control")).toBe("public, max-age=300");
    const { keys } = (await published.json()) as { readonly keys: readonly object[] };
    expect(keys.map((key) => Object.keys(key).sort())).toEqual(Array(2).fill(["alg", "crv", "kid", "kty", "use", "x"]));
    await system.suspendTenant({ reason: "It has not paid." });
    expect(await status(await signed())).toBe(403);
  });

  test("is nothing where no API is named", async () => {
    const app = await createArmature({ store: inMemory(), tokenKeys: [newKey], logger: recordingLogger() });
    open.push(() => app.close());
    expect(app.publicKeys()).toEqual({ keys: [] });
    await expect(app.authenticate(await signed())).rejects.toMatchObject({ code: "unauthenticated" });
  });
});

describe("the token of a remote agent", () => {
  const claimsOf = ({ headers }: Got) =>
    JSON.parse(Buffer.from(headers.authorization!.split(".")[1]!, "base64url").toString());

  test("is not for the API where the agent may do nothing there", async () => {
    const { remote, run, app } = await setUp();
    remote.answer((got) => events(got, [done]));
    await run();
    const [got] = remote.got;
    expect(claimsOf(got!)).toMatchObject({ aud: [remote.url], principal: { limitedTo: [] } });
    expect(got!.body.api).toBeUndefined();
    await expect(app.authenticate(got!.headers.authorization!.slice(7))).rejects.toMatchObject({
      code: "unauthenticated",
    });
  });

  test("gives no more than the credential that has begun the run", async () => {
    const { remote, app } = await setUp({ permissions: ["crm:*", "agents:read"] });
    remote.answer((got) => events(got, [done]));
    const ann = { tenant: "acme", actor: { type: "user", id: "ann" }, limitedTo: ["agents:run", "crm:read"] } as const;
    const { runId } = await app.as(ann).agents.run({ agent: "researcher", input: "Who?" });
    const got = await remote.request(() => true);
    expect(claimsOf(got)).toMatchObject({
      sub: `acme.${runId}`,
      aud: [remote.url, "https://api.example.com"],
      principal: { onBehalfOf: { type: "user", id: "ann" }, limitedTo: ["crm:read"] },
    });
    await app.settled();
  });

  test("needs an API that it can name", async () => {
    const agents = [defineRemoteAgent({ id: "researcher", summary: "Looks.", url: "https://agents.example.com" })];
    await expect(createArmature({ store: inMemory(), agents })).rejects.toThrow("`apiUrl` is needed");
    for (const url of ["ftp://a.example", "https://u:p@a.example", "https://a.example/?k=1", "nonsense"])
      expect(() => defineRemoteAgent({ id: "researcher", summary: "Looks.", url }), url).toThrow(TypeError);
  });
});
