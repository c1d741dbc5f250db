import type { LanguageModelV4CallOptions, LanguageModelV4Message } from "@ai-sdk/provider";
import type { LanguageModelV2CallOptions, LanguageModelV2Message } from "@ai-sdk/provider-v2";
import type { LanguageModelV3CallOptions, LanguageModelV3Message } from "@ai-sdk/provider-v3";
import { describe, expect, test } from "vitest";
import { ModelRefused } from "../../kernel/model-errors.ts";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import { isSpokenTo, type ModelRequest, toCallOptions } from "./model-prompt.ts";

const signal = new AbortController().signal;
const v2 = new ScriptedModel([], { specificationVersion: "v2" });
const v3 = new ScriptedModel([], { specificationVersion: "v3" });
const v4 = new ScriptedModel([], { specificationVersion: "v4" });
const v5 = { ...v4, specificationVersion: "v5", doGenerate: v4.doGenerate, doStream: v4.doStream };

const files: ModelMessage = {
  role: "user",
  content: [
    { type: "text", text: "Look:" },
    { type: "file", mediaType: "image/png", source: { type: "base64", base64: "iVBORw==" }, filename: "a.png" },
    { type: "file", mediaType: "image/*", source: { type: "url", url: "https://cdn.example/a.png" } },
  ],
};

const rest: readonly ModelMessage[] = [
  { role: "system", content: "Be brief.", providerOptions: { anthropic: { cacheControl: { type: "ephemeral" } } } },
  {
    role: "assistant",
    content: [
      { type: "reasoning", text: "Hm.", providerOptions: { anthropic: { signature: "c2ln" } } },
      { type: "reasoning", text: "" },
      { type: "text", text: "" },
      { type: "tool-call", id: "c1", name: "find", arguments: { q: "bikes" } },
      { type: "invalid-tool-call", id: "c2", name: "find it!", text: "{", reason: "Its arguments are not valid JSON." },
    ],
  },
  {
    role: "tool",
    content: [
      { type: "tool-result", callId: "c1", name: "find", outcome: "ok", value: { found: 3 } },
      {
        type: "tool-result",
        callId: "c2",
        name: "find it!",
        outcome: "error",
        value: "Its arguments are not valid JSON.",
      },
    ],
  },
  { role: "assistant", content: [] },
];

// What the interface calls them is the same in all versions, and typed as each of them.
const expectedRest: LanguageModelV2Message[] & LanguageModelV3Message[] & LanguageModelV4Message[] = [
  { role: "system", content: "Be brief.", providerOptions: { anthropic: { cacheControl: { type: "ephemeral" } } } },
  {
    role: "assistant",
    content: [
      { type: "reasoning", text: "Hm.", providerOptions: { anthropic: { signature: "c2ln" } } },
      { type: "tool-call", toolCallId: "c1", toolName: "find", input: { q: "bikes" } },
      { type: "tool-call", toolCallId: "c2", toolName: "find_it_", input: {} },
    ],
  },
  {
    role: "tool",
    content: [
      { type: "tool-result", toolCallId: "c1", toolName: "find", output: { type: "json", value: { found: 3 } } },
      {
        type: "tool-result",
        toolCallId: "c2",
        toolName: "find_it_",
        output: { type: "error-text", value: "Its arguments are not valid JSON." },
      },
    ],
  },
];

describe("a prompt", () => {
  test("has the same messages in each version, without what is empty", () => {
    for (const model of [v2, v3, v4, v5])
      expect(toCallOptions(model, { messages: rest }, signal)["prompt"]).toEqual(expectedRest);
  });

  test("has files as each version wants them", () => {
    const before4: LanguageModelV2Message & LanguageModelV3Message = {
      role: "user",
      content: [
        { type: "text", text: "Look:" },
        { type: "file", mediaType: "image/png", data: "iVBORw==", filename: "a.png" },
        { type: "file", mediaType: "image/*", data: new URL("https://cdn.example/a.png") },
      ],
    };
    const since4: LanguageModelV4Message = {
      role: "user",
      content: [
        { type: "text", text: "Look:" },
        { type: "file", mediaType: "image/png", data: { type: "data", data: "iVBORw==" }, filename: "a.png" },
        { type: "file", mediaType: "image/*", data: { type: "url", url: new URL("https://cdn.example/a.png") } },
      ],
    };
    for (const model of [v2, v3])
      expect(toCallOptions(model, { messages: [files] }, signal)["prompt"]).toEqual([before4]);
    for (const model of [v4, v5])
      expect(toCallOptions(model, { messages: [files] }, signal)["prompt"]).toEqual([since4]);
  });

  test("has a file that the provider keeps where the version knows such files, and is refused elsewhere", () => {
    const kept: ModelMessage = {
      role: "user",
      content: [{ type: "file", mediaType: "image/png", source: { type: "reference", reference: { acme: "file-1" } } }],
    };
    expect(toCallOptions(v4, { messages: [kept] }, signal)["prompt"]).toEqual([
      {
        role: "user",
        content: [{ type: "file", mediaType: "image/png", data: { type: "reference", reference: { acme: "file-1" } } }],
      },
    ] satisfies LanguageModelV4Message[]);
    for (const model of [v2, v3])
      expect(() => toCallOptions(model, { messages: [kept] }, signal)).toThrow(ModelRefused);
  });

  test("comes with tools, settings and the form of the answer", () => {
    const request: ModelRequest = {
      messages: [],
      tools: [{ name: "find", description: "Finds.", inputSchema: { type: "object" }, strict: true }],
      toolChoice: { tool: "find" },
      json: { schema: { type: "object" }, name: "answer" },
      maxOutputTokens: 100,
      temperature: 0,
      topP: 0.5,
      stopSequences: ["END"],
      seed: 7,
      providerOptions: { acme: { tier: "low" } },
    };
    const common = {
      prompt: [],
      toolChoice: { type: "tool", toolName: "find" },
      responseFormat: { type: "json", schema: { type: "object" }, name: "answer" },
      maxOutputTokens: 100,
      temperature: 0,
      topP: 0.5,
      stopSequences: ["END"],
      seed: 7,
      providerOptions: { acme: { tier: "low" } },
      abortSignal: signal,
    } satisfies LanguageModelV2CallOptions;
    const tool = { type: "function", name: "find", description: "Finds.", inputSchema: { type: "object" } } as const;
    expect(toCallOptions(v2, request, signal)).toEqual({
      ...common,
      tools: [tool],
    } satisfies LanguageModelV2CallOptions);
    const strict = { ...common, tools: [{ ...tool, strict: true }] };
    expect(toCallOptions(v3, request, signal)).toEqual(strict satisfies LanguageModelV3CallOptions);
    expect(toCallOptions(v4, request, signal)).toEqual(strict satisfies LanguageModelV4CallOptions);
  });

  test("says nothing of tools where there are none, and lets the model choose where nothing is said", () => {
    expect(toCallOptions(v4, { messages: [], tools: [], toolChoice: "required" }, signal)).toEqual({
      prompt: [],
      abortSignal: signal,
    });
    const tools = [{ name: "find", inputSchema: {} }];
    expect(toCallOptions(v4, { messages: [], tools }, signal)["toolChoice"]).toEqual({ type: "auto" });
  });
});

test("models from version 2 on are spoken to", () => {
  const versions = ["v1", "v2", "v3", "v4", "v5", "v10", "2", "", "v"];
  const spoken = versions.filter((specificationVersion) => isSpokenTo({ ...v5, specificationVersion }));
  expect(spoken).toEqual(["v2", "v3", "v4", "v5", "v10"]);
});
