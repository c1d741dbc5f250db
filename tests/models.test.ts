import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { attemptsOf, ModelClient, type ModelClientOptions } from "../packages/core/src/contexts/agents/model-client.ts";
import { askForOutput } from "../packages/core/src/contexts/agents/model-output.ts";
import type { ModelRequest } from "../packages/core/src/contexts/agents/model-prompt.ts";
import type { ModelDelta } from "../packages/core/src/contexts/agents/model-stream.ts";
import { systemClock } from "../packages/core/src/kernel/clock.ts";
import {
  ModelAborted,
  ModelAnswerInvalid,
  ModelRefused,
  ModelUnavailable,
  partialOf,
} from "../packages/core/src/kernel/model-errors.ts";
import type { ModelMessage } from "../packages/core/src/kernel/model-messages.ts";
import { ChatServer, completion, delta, events, status, stream } from "./models/chat-server.ts";

const API_KEY = "sk-proj-secret123";
const PROMPT = "Ann's diagnosis is private";

let server: ChatServer;
beforeAll(async () => {
  server = await new ChatServer().start();
});
afterAll(() => server.stop());

function setup(options: Partial<ModelClientOptions> = {}) {
  const provider = createOpenAICompatible({
    name: "acme",
    baseURL: server.baseURL,
    apiKey: API_KEY,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  const gone = createOpenAICompatible({ name: "gone", baseURL: "http://127.0.0.1:1/v1" });
  return new ModelClient({
    models: { default: provider("large"), fast: provider("small"), gone: gone("none") },
    clock: systemClock(),
    random: () => 0,
    retry: { backoffMs: 1 },
    ...options,
  });
}

const tools = [{ name: "find", description: "Finds.", inputSchema: { type: "object", properties: {} } }];
const hello: ModelRequest = { messages: [{ role: "user", content: [{ type: "text", text: PROMPT }] }], tools };

const call = (index: number, fields: object) => ({ tool_calls: [{ index, ...fields }] });
const usage = {
  prompt_tokens: 30,
  completion_tokens: 12,
  total_tokens: 42,
  prompt_tokens_details: { cached_tokens: 20 },
  completion_tokens_details: { reasoning_tokens: 4 },
};

/** An answer with everything in it, and much that nobody has agreed on. */
const full = [
  ": a comment, as servers send it to keep a connection alive",
  delta({ role: "assistant", content: "" }),
  { ...delta({ reasoning_content: "Sie fragt nach Ann 🤔" }), system_fingerprint: "x", surprise: { deep: [1] } },
  delta({ content: "Ich suche „Ann“ " }),
  { id: "chat-1", choices: [], usage },
  "event: telemetry",
  delta({ content: "👩‍⚕️ — gleich.", unheard_of: true }),
  delta(call(0, { id: "call_0", type: "function", function: { name: "find", arguments: "" } })),
  delta(call(0, { function: { arguments: '{"name":"An' } })),
  delta(call(1, { id: "call_1", type: "function", function: { name: "find", arguments: '{"name":' } })),
  delta(call(0, { function: { arguments: 'n Müller"}' } })),
  delta({}, "tool_calls"),
];

const fullTurn = {
  text: "Ich suche „Ann“ 👩‍⚕️ — gleich.",
  reasoning: "Sie fragt nach Ann 🤔",
  toolCalls: [
    { type: "tool-call", id: "call_0", name: "find", arguments: { name: "Ann Müller" } },
    {
      type: "invalid-tool-call",
      id: "call_1",
      name: "find",
      text: '{"name":',
      reason: "Its arguments are not valid JSON.",
    },
  ],
  finishReason: "tool-calls",
  usage: { inputTokens: 30, cachedInputTokens: 20, cacheWriteInputTokens: 0, outputTokens: 12, reasoningTokens: 4 },
  response: { id: "chat-1", model: "large-2026-10" },
};

describe("a provider over HTTP", () => {
  test("gives the same turn wherever its bytes are cut, with usage before the end and with what nobody knows", async () => {
    const client = setup();
    const bytes = events(...full);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 12 }), async (cuts) => {
        server.answers(stream(bytes, { cuts }));
        const deltas: ModelDelta[] = [];
        const { turn, attempts } = await client.call(hello, { onDelta: (each) => deltas.push(each) });
        expect(turn).toMatchObject(fullTurn);
        expect(attempts).toHaveLength(1);
        expect(deltas.map((each) => (each.type === "text" ? each.text : "")).join("")).toBe(fullTurn.text);
      }),
      { numRuns: 40 },
    );
  });

  test("gives it whatever byte comes alone", async () => {
    const client = setup();
    const bytes = events(...full);
    server.answers(stream(bytes, { cuts: Array.from({ length: bytes.length }, (_, index) => index) }));
    expect((await client.call(hello, { onDelta: () => {} })).turn).toMatchObject(fullTurn);
  });

  test("gives it without a stream too", async () => {
    const tool_calls = [
      { id: "c1", type: "function", function: { name: "find", arguments: '{"name":"Ann"}' } },
      { id: "c2", type: "function", function: { name: "find", arguments: "[1]" } },
    ];
    server.answers(status(200, completion({ content: "Hm.", reasoning_content: "Ann?", tool_calls }, "tool_calls")));
    const { turn } = await setup().call(hello);
    expect(turn).toMatchObject({
      text: "Hm.",
      reasoning: "Ann?",
      finishReason: "tool-calls",
      usage: { inputTokens: 11, outputTokens: 7 },
    });
    expect(turn.toolCalls.map(({ type, id }) => `${type} ${id}`)).toEqual(["tool-call c1", "invalid-tool-call c2"]);
  });

  test("is told a whole conversation, invalid tool calls and their answers among it", async () => {
    const again = [{ id: "call_0", type: "function", function: { name: "find", arguments: "{}" } }];
    server.answers(
      stream(events(...full)),
      status(200, completion({ content: null, tool_calls: again }, "tool_calls")),
    );
    const client = setup();
    const { turn } = await client.call(hello, { onDelta: () => {} });
    const results: ModelMessage = {
      role: "tool",
      content: turn.toolCalls.map(({ type, id, name }) =>
        type === "tool-call"
          ? { type: "tool-result", callId: id, name, outcome: "ok", value: { found: 1 } }
          : { type: "tool-result", callId: id, name, outcome: "error", value: "Not valid JSON." },
      ),
    };
    const image = { type: "file", mediaType: "image/png", source: { type: "base64", base64: "iVBORw==" } } as const;
    const messages: ModelMessage[] = [
      { role: "system", content: "Be brief." },
      ...hello.messages,
      { role: "assistant", content: turn.content },
      results,
      { role: "user", content: [{ type: "text", text: "And this?" }, image] },
    ];
    const next = await client.call({
      messages,
      tools,
      toolChoice: { tool: "find" },
      maxOutputTokens: 50,
      temperature: 0,
    });
    // A server that counts from zero in every answer.
    expect(next.turn.toolCalls.map(({ id }) => id)).toEqual(["call_0_2"]);
    const [first, second] = server.requests;
    expect(first).toMatchObject({ path: "/v1/chat/completions", headers: { authorization: `Bearer ${API_KEY}` } });
    expect(second?.body).toMatchObject({
      model: "large",
      max_tokens: 50,
      temperature: 0,
      tool_choice: { type: "function", function: { name: "find" } },
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: PROMPT },
        {
          role: "assistant",
          content: fullTurn.text,
          tool_calls: [
            { id: "call_0", function: { name: "find", arguments: '{"name":"Ann Müller"}' } },
            { id: "call_1", function: { name: "find", arguments: "{}" } },
          ],
        },
        { role: "tool", tool_call_id: "call_0", content: '{"found":1}' },
        { role: "tool", tool_call_id: "call_1", content: "Not valid JSON." },
        {
          role: "user",
          content: [
            { type: "text", text: "And this?" },
            { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw==" } },
          ],
        },
      ],
    });
  });

  test("is asked for JSON by schema, and its fence is no obstacle", async () => {
    server.answers(status(200, completion({ content: 'Here:\n```json\n{"age": 41}\n```' })));
    const { output } = await askForOutput(setup(), z.object({ age: z.int() }), {
      messages: hello.messages,
      name: "age",
    });
    expect(output).toEqual({ age: 41 });
    expect(server.requests[0]?.body["response_format"]).toMatchObject({
      type: "json_schema",
      json_schema: { name: "age", schema: { required: ["age"], additionalProperties: false } },
    });
  });
});

describe("a provider that fails", () => {
  const limit = { error: { message: "Slow down", type: "requests", code: "rate_limit_exceeded" } };

  test("with 429 is asked again after the time that it names", async () => {
    server.answers(status(429, limit, { "retry-after": "0.05" }), status(200, completion({ content: "Hello." })));
    const begun = performance.now();
    const { turn, attempts } = await setup().call(hello);
    expect(performance.now() - begun).toBeGreaterThan(45);
    expect(turn.text).toBe("Hello.");
    expect(attempts.map(({ outcome }) => outcome)).toEqual(["model.unavailable", "answered"]);
  });

  test("with 429 for an hour is not waited for", async () => {
    server.answers(status(429, limit, { "retry-after": "3600" }));
    const error = await setup()
      .call(hello)
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelUnavailable);
    expect(error.details).toEqual({
      model: "acme.chat/large",
      reason: "rate_limit_exceeded",
      status: 429,
      retryAfterMs: 3_600_000,
    });
  });

  test("with 500 leaves it to the next model", async () => {
    const down = status(500, { error: { message: "down" } });
    server.answers(down, down, down, stream(events(delta({ content: "Here." }, "stop"))));
    const { turn, model, attempts } = await setup().call(hello, { models: ["default", "fast"], onDelta: () => {} });
    expect(turn.text).toBe("Here.");
    expect(model).toEqual({ name: "fast", provider: "acme.chat", modelId: "small" });
    expect(attempts).toHaveLength(4);
    expect(server.requests.map(({ body }) => body["model"])).toEqual(["large", "large", "large", "small"]);
  });

  test("without a server leaves it to the next model", async () => {
    server.answers(status(200, completion({ content: "Here." })));
    const { turn, attempts } = await setup({ retry: { attempts: 1 } }).call(hello, { models: ["gone", "default"] });
    expect(turn.text).toBe("Here.");
    expect(attempts.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      "gone model.unavailable",
      "default answered",
    ]);
  });

  test("by refusing is not asked again, and neither the key nor the prompt is in the error", async () => {
    const words = `Incorrect API key provided: ${API_KEY}. You asked: ${PROMPT}`;
    const originals: unknown[] = [];
    const client = setup({ onFailure: ({ original }) => originals.push(original) });
    for (const [code, reason] of [
      [401, "invalid_api_key"],
      [400, "status 400"],
    ] as const) {
      const error = { message: words, code: code === 401 ? reason : null };
      server.answers(status(code, { error }));
      const refused = await client.call(hello).catch((thrown) => thrown);
      expect(refused).toBeInstanceOf(ModelRefused);
      expect(refused.details).toEqual({ model: "acme.chat/large", reason, status: code });
      expect(attemptsOf(refused)).toHaveLength(1);
      expect(refused.cause).toBeUndefined();
      expect(`${refused.stack} ${JSON.stringify(refused)}`).not.toMatch(/sk-proj|diagnosis/);
    }
    expect(String(originals[0])).toContain(API_KEY);
  });

  test("with a page in place of JSON gives no answer", async () => {
    const page = (response: Parameters<ReturnType<typeof status>>[0]) =>
      void response.writeHead(200, { "content-type": "text/html" }).end(`<html>${PROMPT}</html>`);
    server.answers(page, page);
    const error = await setup({ retry: { attempts: 2, backoffMs: 1 } })
      .call(hello)
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAnswerInvalid);
    expect(server.requests).toHaveLength(2);
    expect(JSON.stringify(error)).not.toContain("diagnosis");
  });

  test("in the midst of a stream, by saying so or by being cut off, is asked again from the start", async () => {
    const begin = delta({ content: "Hel" });
    const said = events(begin, { error: { message: PROMPT, type: "server_error", code: null } });
    const cut = Buffer.from(`data: ${JSON.stringify(begin)}\n\n`);
    const whole = events(delta({ content: "Hello." }), delta({}, "stop"));
    server.answers(stream(said), stream(cut, { end: (response) => void response.destroy() }), stream(whole));
    const deltas: ModelDelta[] = [];
    const { turn, attempts } = await setup().call(hello, {
      onDelta: (each) => deltas.push(each),
    });
    expect(turn.text).toBe("Hello.");
    expect(attempts.map(({ outcome }) => outcome)).toEqual(["model.unavailable", "model.unavailable", "answered"]);
    const text = (each: string) => ({ type: "text", text: each });
    expect(deltas).toEqual([text("Hel"), { type: "restarted" }, text("Hel"), { type: "restarted" }, text("Hello.")]);
  });

  test("by ending its stream early gives no answer, and what had come is known", async () => {
    server.answers(stream(events(delta({ content: "Hel" }))));
    const error = await setup({ retry: { attempts: 1 } })
      .call(hello, { onDelta: () => {} })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAnswerInvalid);
    expect(partialOf(error)).toEqual({ text: "Hel", reasoning: "" });
  });

  test("with a chunk that is no JSON gives no answer", async () => {
    const bytes = events(delta({ content: "Hel" }), 'data: {"choices": [{', delta({ content: "lo" }, "stop"));
    server.answers(stream(bytes));
    const error = await setup({ retry: { attempts: 1 } })
      .call(hello, { onDelta: () => {} })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAnswerInvalid);
  });
});

describe("a caller who gives up half-way", () => {
  test("gets what had come, and the provider is told at once", async () => {
    const bytes = Buffer.from(`data: ${JSON.stringify(delta({ content: "Hel" }))}\n\n`);
    server.answers(stream(bytes, { end: () => new Promise(() => {}) }));
    const giveUp = new AbortController();
    const error = await setup()
      .call(hello, { signal: giveUp.signal, onDelta: () => giveUp.abort() })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAborted);
    expect(partialOf(error)).toEqual({ text: "Hel", reasoning: "" });
    expect(await server.requests[0]?.left).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  test("whose time is over, likewise", async () => {
    const bytes = Buffer.from(`data: ${JSON.stringify(delta({ content: "Hel" }))}\n\n`);
    server.answers(stream(bytes, { end: () => new Promise(() => {}) }));
    const error = await setup({ retry: { attempts: 1 } })
      .call(hello, { timeoutMs: 300, onDelta: () => {} })
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "model.timeout", details: { timeoutMs: 300 } });
    expect(partialOf(error)).toEqual({ text: "Hel", reasoning: "" });
    expect(await server.requests[0]?.left).toBe(true);
  });
});
