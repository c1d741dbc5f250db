import { identity, operationTool } from "@armature/core";
import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { Client, ProtocolError, SdkHttpError, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import type { McpOptions } from "./mcp-options.ts";
import { desk } from "./test-context.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const tools = [
  operationTool(desk, "write"),
  operationTool(desk, "lock", { risk: "irreversible" }),
  operationTool(desk, "get"),
  operationTool(desk, "print"),
  operationTool(desk, "fail"),
];

async function started(
  mcp: Partial<McpOptions> = {},
  options: Parameters<typeof startTestServer>[0] = {},
): Promise<TestServer> {
  const server = await startTestServer({ mcp: { tools, ...mcp }, ...options });
  closing.push(() => server.close());
  return server;
}

async function connected(
  server: TestServer,
  { key = server.keys.acme, mode = { pin: "2026-07-28" } as "legacy" | { pin: string }, headers = {} } = {},
): Promise<Client> {
  const client = new Client({ name: "test", version: "1.0.0" }, { versionNegotiation: { mode } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${server.origin}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${key}`, ...headers } },
    }),
  );
  closing.push(() => client.close());
  return client;
}

test("operations are offered as tools with their schemas, and nothing else is", async () => {
  const client = await connected(await started({ instructions: "Notes of a desk." }));
  const listed = await client.listTools();
  expect(listed.tools.map(({ name }) => name)).toEqual([
    ...["desk_write", "desk_lock", "desk_get", "desk_print", "desk_fail"],
  ]);
  expect(client.getInstructions()).toBe("Notes of a desk.");
  const [write, lock, get, print] = listed.tools;
  expect(write).toMatchObject({
    description: "Writes a note.",
    inputSchema: { type: "object", required: ["text"], additionalProperties: false },
    outputSchema: { type: "object", required: ["noteId"] },
    annotations: { readOnlyHint: false, destructiveHint: false, openWorldHint: false },
  });
  expect(lock?.annotations).toMatchObject({ destructiveHint: true });
  expect(get?.annotations).toMatchObject({ readOnlyHint: true });
  expect(print?.annotations).toMatchObject({ openWorldHint: true });
});

test.each([{ pin: "2026-07-28" }, "legacy"] as const)("a tool is called in the caller's tenant: %j", async (mode) => {
  const server = await started();
  const acme = await connected(server, { mode });
  const globex = await connected(server, { key: server.keys.globex, mode });
  const written = await acme.callTool({ name: "desk_write", arguments: { text: "Of acme." } });
  const { noteId } = written.structuredContent as { readonly noteId: string };
  expect(written.content).toEqual([{ type: "text", text: JSON.stringify({ noteId }) }]);
  const read = { name: "desk_get", arguments: { noteId } };
  expect((await acme.callTool(read)).structuredContent).toEqual({ noteId, text: "Of acme.", locked: false });
  expect(await globex.callTool(read)).toMatchObject({ isError: true, structuredContent: { code: "not_found" } });
});

test("who lacks a permission is refused as over HTTP, and the refusal is in the audit", async () => {
  const server = await started();
  const reader = await connected(server, { key: server.keys.reader });
  const refused = await reader.callTool({ name: "desk_write", arguments: { text: "No." } });
  expect(refused).toMatchObject({
    isError: true,
    content: [{ type: "text", text: expect.stringContaining("desk:write") }],
    structuredContent: { code: "forbidden", kind: "forbidden", status: 403, details: { permission: "desk:write" } },
  });
  const { items } = await server.app.as({ tenant: "acme", system: "test" }).audit.list({ limit: 20 });
  expect(items).toContainEqual(
    expect.objectContaining({
      operation: "desk.write",
      actor: { type: "user", id: "rob" },
      outcome: expect.stringMatching(/^(?!succeeded)/),
    }),
  );
});

test("input that does not fit is the tool's error, and says where", async () => {
  const client = await connected(await started());
  const refused = await client.callTool({ name: "desk_write", arguments: { text: 7, more: true } });
  expect(refused).toMatchObject({
    isError: true,
    structuredContent: {
      code: "invalid_input",
      errors: expect.arrayContaining([expect.objectContaining({ path: "text" })]),
    },
  });
});

test("a tool that there is not is refused by the protocol, however it is called in the app", async () => {
  const client = await connected(await started());
  for (const name of ["desk_list", "desk.list", "identity_createTenant"])
    await expect(client.callTool({ name, arguments: {} })).rejects.toThrow(ProtocolError);
});

test("a client that goes away ends the call", async () => {
  const server = await started();
  const caller = new AbortController();
  const ended = new Promise<void>((resolve) => {
    Object.assign(server.outside, {
      print: (_copies: number, signal: AbortSignal) => {
        signal.addEventListener("abort", () => resolve());
        caller.abort();
        return new Promise(() => {});
      },
    });
  });
  const client = await connected(server);
  const call = client.callTool({ name: "desk_print", arguments: {} }, { signal: caller.signal });
  await expect(call).rejects.toThrow();
  await ended;
});

test("what goes wrong inside says a trace and nothing else", async () => {
  const server = await started();
  const client = await connected(server);
  const failed = await client.callTool({ name: "desk_fail", arguments: { kind: "unexpected" } });
  expect(failed).toMatchObject({ isError: true, structuredContent: { code: "internal", status: 500 } });
  expect(JSON.stringify(failed)).not.toContain("canary");
});

describe("a key", () => {
  test.each([
    ["in the call", { meta: { "armature/idempotency-key": "k-1" }, headers: {} }],
    ["in a header", { meta: {}, headers: { "idempotency-key": "k-1" } }],
  ])("%s makes a call happen once", async (_where, { meta, headers }) => {
    const server = await started();
    let printed = 0;
    Object.assign(server.outside, { print: async (copies: number) => (printed += copies) });
    const client = await connected(server, { headers });
    const print = () => client.callTool({ name: "desk_print", arguments: { copies: 2 }, _meta: meta });
    expect((await print()).structuredContent).toEqual({ printed: 2 });
    expect((await print()).structuredContent).toEqual({ printed: 2 });
    expect(printed).toBe(2);
  });

  test("is asked for where the server asks for it, and not for what only reads", async () => {
    const client = await connected(await started({}, { requireIdempotencyKey: true }));
    expect(await client.callTool({ name: "desk_print", arguments: {} })).toMatchObject({
      structuredContent: { code: "http.idempotency_key_required" },
    });
    expect(await client.callTool({ name: "desk_get", arguments: { noteId: "note_1" } })).toMatchObject({
      structuredContent: { code: "not_found" },
    });
  });
});

describe("a request", () => {
  const list = { jsonrpc: "2.0", id: 1, method: "tools/list" };
  const accept = { accept: "application/json, text/event-stream" };

  test("without a good key is refused before anything is read", async () => {
    const server = await started();
    await expect(connected(server, { key: "arm_wrong" })).rejects.toThrow(SdkHttpError);
    const answer = await server.call("/mcp", { key: null, body: "{", headers: accept });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toContain("Bearer");
  });

  test("for another name, or of a page from elsewhere, is refused", async () => {
    const server = await started({}, { cors: { origins: ["https://app.example.com"] } });
    const refused = async (headers: Readonly<Record<string, string>>) =>
      (await server.call("/mcp", { json: list, headers: { ...accept, ...headers } })).status;
    expect(await refused({})).toBe(200);
    expect(await refused({ origin: server.origin })).toBe(200);
    expect(await refused({ origin: "https://app.example.com" })).toBe(200);
    expect(await refused({ origin: "https://evil.example" })).toBe(403);
    expect(await refused({ origin: "null" })).toBe(403);
    const named = await started({ hosts: ["api.example.com"] });
    const other = await named.call("/mcp", { json: list, headers: accept });
    expect([other.status, other.problem.code]).toEqual([403, "http.host_refused"]);
  });

  test("that is too long, or no JSON, is refused as over HTTP", async () => {
    const server = await started({}, { bodyLimit: 1_000 });
    const long = { ...list, params: { cursor: "x".repeat(2_000) } };
    expect((await server.call("/mcp", { json: long, headers: accept })).status).toBe(413);
    expect((await server.call("/mcp", { body: "{", headers: accept })).status).toBe(400);
    expect((await server.call("/mcp", { json: [list], headers: accept })).status).toBe(400);
    const form = { ...accept, "content-type": "application/x-www-form-urlencoded" };
    expect((await server.call("/mcp", { body: "a=b", headers: form })).status).toBe(415);
    expect((await server.call("/mcp", { headers: accept })).status).toBe(405);
  });

  test("counts against the same limits", async () => {
    const server = await started(
      {},
      { rateLimits: { limiter: new InMemoryRateLimiter(), key: { capacity: 2, refillMs: 3_600_000 } } },
    );
    const statuses: number[] = [];
    for (const _ of [1, 2, 3]) statuses.push((await server.call("/mcp", { json: list, headers: accept })).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await server.call("/notes")).status).toBe(429);
  });

  test("has its line in the log, with the operation and how it ended", async () => {
    const server = await started();
    const client = await connected(server, { key: server.keys.reader });
    await client.callTool({ name: "desk_write", arguments: { text: "No." } });
    expect(server.logger.entries).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ operation: "desk.write", errorCode: "forbidden" }) }),
    );
  });
});

describe("what cannot be offered is refused at the start", () => {
  test.each([
    ["a tool twice", [tools, tools], "two tools"],
    ["an operation that answers with a secret", [operationTool(identity, "createApiKey")], "secret"],
  ])("%s", async (_what, offered, sentence) => {
    await expect(startTestServer({ mcp: { tools: offered } })).rejects.toThrow(sentence);
  });
});

test("there is none unless it is asked for", async () => {
  const server = await startTestServer();
  closing.push(() => server.close());
  expect((await server.call("/mcp", { json: {} })).status).toBe(404);
});
