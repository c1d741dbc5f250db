import type { LanguageModelV4GenerateResult } from "@ai-sdk/provider";
import type { LanguageModelV2 } from "@ai-sdk/provider-v2";
import type { LanguageModelV3GenerateResult } from "@ai-sdk/provider-v3";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ModelAnswerInvalid } from "../../kernel/model-errors.ts";
import { modelTurn } from "../../kernel/model-turn.ts";
import { isStorable } from "../../runtime/storable.ts";
import { readTurn, readUsage } from "./model-answer.ts";

const none = new Set<string>();
const read = (raw: unknown, taken: ReadonlySet<string> = none) => readTurn(raw, "acme/large", taken);
const contentOf = (...content: unknown[]) => read({ content }).content;
const calling = (input: unknown, fields: object = {}) =>
  contentOf({ type: "tool-call", toolCallId: "c1", toolName: "find", input, ...fields })[0];

type V2Result = Awaited<ReturnType<LanguageModelV2["doGenerate"]>>;

const content = [
  { type: "reasoning", text: "Hm.", providerMetadata: { acme: { signature: "c2ln" } } },
  { type: "text", text: "I look. " },
  { type: "source", sourceType: "url", id: "s1", url: "https://example.com" },
  { type: "tool-call", toolCallId: "c1", toolName: "find", input: '{"q":"bikes"}' },
  { type: "text", text: "Wait." },
] as const satisfies V2Result["content"] & LanguageModelV4GenerateResult["content"];

const v2: V2Result = {
  content: [...content],
  finishReason: "tool-calls",
  usage: { inputTokens: 100, outputTokens: 20, totalTokens: 120, cachedInputTokens: 60, reasoningTokens: 5 },
  response: { id: "r1", modelId: "large-1", timestamp: new Date(0) },
  warnings: [{ type: "unsupported-setting", setting: "seed", details: "No seed." }],
};
const usage = {
  inputTokens: { total: 100, noCache: 40, cacheRead: 60, cacheWrite: undefined },
  outputTokens: { total: 20, text: 15, reasoning: 5 },
};
const v3: LanguageModelV3GenerateResult = {
  ...v2,
  content: [...content],
  finishReason: { unified: "tool-calls", raw: "tool_calls" },
  usage,
  warnings: [{ type: "unsupported", feature: "seed", details: "No seed." }],
};
const v4: LanguageModelV4GenerateResult = { ...v3, content: [...content, { type: "custom", kind: "acme.new" }] };

describe("a turn", () => {
  test.each([
    ["v2", v2, "unsupported-setting"],
    ["v3", v3, "unsupported"],
    ["v4", v4, "unsupported"],
  ])("is the same whether the model speaks %s", (_, raw, warning) => {
    const call = { type: "tool-call", id: "c1", name: "find", arguments: { q: "bikes" } };
    expect(read(raw)).toEqual({
      content: [
        { type: "reasoning", text: "Hm.", providerOptions: { acme: { signature: "c2ln" } } },
        { type: "text", text: "I look. " },
        call,
        { type: "text", text: "Wait." },
      ],
      text: "I look. Wait.",
      reasoning: "Hm.",
      toolCalls: [call],
      finishReason: "tool-calls",
      usage: {
        inputTokens: 100,
        cachedInputTokens: 60,
        cacheWriteInputTokens: 0,
        outputTokens: 20,
        reasoningTokens: 5,
      },
      response: { id: "r1", model: "large-1" },
      warnings: [{ type: warning, about: "seed", message: "No seed." }],
    });
  });

  test.each([
    ["stop", "stop"],
    [{ unified: "length", raw: "max_tokens" }, "length"],
    [{ unified: "content-filter", raw: undefined }, "content-filter"],
    [{ unified: "interrupted", raw: "paused" }, "other"],
    ["unknown", "other"],
    [undefined, "other"],
    [{ unified: 3 }, "other"],
  ])("that ended with %j ended with %s", (finishReason, expected) => {
    expect(read({ content: [], finishReason }).finishReason).toBe(expected);
  });

  test("has the structured output apart where the provider tells it apart", () => {
    expect(read({ content: [], structuredOutputText: "" }).structuredText).toBe("");
    expect(read({ content: [] })).not.toHaveProperty("structuredText");
  });

  test.each([undefined, null, "text", { content: "text" }, { content: [{ type: "text", text: 3 }] }])(
    "is not made of %j",
    (raw) => {
      expect(() => read(raw)).toThrow(ModelAnswerInvalid);
    },
  );

  test("is made of anything else, and can always be stored", () => {
    const piece = fc.oneof(
      fc.anything(),
      fc.record(
        {
          type: fc.constantFrom("text", "reasoning", "tool-call", "file", "custom", "what"),
          text: fc.oneof(fc.string({ unit: "binary" }), fc.constant("a\u0000b\ud800")),
          toolCallId: fc.oneof(fc.anything(), fc.string({ unit: "binary", maxLength: 300 })),
          toolName: fc.oneof(fc.anything(), fc.string({ unit: "binary", maxLength: 300 })),
          input: fc.oneof(fc.anything(), fc.json(), fc.constant('{"\\u0000\\ud800":"\\u0000\\udc00"}')),
          providerMetadata: fc.oneof(
            fc.anything(),
            fc.dictionary(fc.string(), fc.dictionary(fc.string(), fc.jsonValue())),
          ),
        },
        { requiredKeys: ["type", "text"] },
      ),
    );
    const raw = fc.record({
      content: fc.array(piece),
      finishReason: fc.anything(),
      usage: fc.anything(),
      response: fc.anything(),
      warnings: fc.anything(),
    });
    let turns = 0;
    fc.assert(
      fc.property(raw, (given) => {
        let turn: ReturnType<typeof read>;
        try {
          turn = read(given);
        } catch (error) {
          expect(error).toBeInstanceOf(ModelAnswerInvalid);
          return;
        }
        turns += 1;
        expect(modelTurn.parse(JSON.parse(JSON.stringify(turn)))).toEqual(turn);
        expect(isStorable(turn)).toBe(true);
        const ids = turn.toolCalls.map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
      }),
      { numRuns: 200 },
    );
    expect(turns).toBeGreaterThan(40);
  });
});

describe("a tool call", () => {
  test.each([
    ['{"q":1}', { q: 1 }],
    [' {"q":1}\n', { q: 1 }],
    ["", {}],
    [undefined, {}],
    [{ q: 1 }, { q: 1 }],
  ])("with the input %j has arguments", (input, expected) => {
    expect(calling(input)).toEqual({ type: "tool-call", id: "c1", name: "find", arguments: expected });
  });

  test.each([
    ['{"q":', "Its arguments are not valid JSON."],
    ["[1]", "Its arguments are JSON, but not an object."],
    ["null", "Its arguments are JSON, but not an object."],
    ['"text"', "Its arguments are JSON, but not an object."],
    [`{"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}`, "Its arguments are nested too deeply."],
  ])("with the input %.20j is there, and cannot be run", (input, reason) => {
    expect(calling(input)).toMatchObject({ type: "invalid-tool-call", id: "c1", name: "find", reason });
  });

  test("without a name is there, so that it can be answered", () => {
    expect(calling("{}", { toolName: undefined })).toMatchObject({
      type: "invalid-tool-call",
      name: "unknown",
      reason: "It names no tool.",
    });
  });

  test("keeps the beginning of what it cannot read", () => {
    const call = calling(`{"a": "${"x".repeat(10_000)}`);
    expect(call).toMatchObject({ text: expect.stringMatching(/^\{"a": "x{3993}…$/) });
  });

  test("that the provider runs itself is none of ours", () => {
    expect(
      contentOf({ type: "tool-call", toolCallId: "c1", toolName: "web", input: "{}", providerExecuted: true }),
    ).toEqual([]);
  });

  test("has an id that no other has, in this turn or before", () => {
    const raw = ["c1", "c1", "c1", "", undefined, "c1_2"].map((toolCallId) => ({
      type: "tool-call",
      toolCallId,
      toolName: "find",
      input: "{}",
    }));
    const ids = read({ content: raw }, new Set(["c1", "call_1"])).toolCalls.map(({ id }) => id);
    expect(ids).toEqual(["c1_2", "c1_3", "c1_4", "call_2", "call_3", "c1_2_2"]);
  });
});

describe("usage", () => {
  const nothing = { cachedInputTokens: 0, cacheWriteInputTokens: 0, reasoningTokens: 0 };

  test("that the provider does not tell is unknown, and its parts are none", () => {
    const lost = { inputTokens: { total: undefined }, outputTokens: {} };
    for (const raw of [
      undefined,
      null,
      {},
      lost,
      { inputTokens: Number.NaN, outputTokens: -1 },
      { inputTokens: 1e300 },
    ])
      expect(readUsage(raw)).toEqual(nothing);
  });

  test("is added up from its parts where the whole is missing", () => {
    const parts = {
      inputTokens: { noCache: 10, cacheRead: 5, cacheWrite: 3 },
      outputTokens: { text: 7, reasoning: 2 },
    };
    expect(readUsage(parts)).toEqual({
      inputTokens: 18,
      cachedInputTokens: 5,
      cacheWriteInputTokens: 3,
      outputTokens: 9,
      reasoningTokens: 2,
    });
  });

  test("counts what was cached apart to the whole, where a provider does not", () => {
    expect(readUsage({ inputTokens: 4, cachedInputTokens: 1_000, outputTokens: 1 })).toMatchObject({
      inputTokens: 1_004,
    });
  });
});
