import { describe, expect, test } from "vitest";
import { type ModelMessage, modelMessage, modelTool } from "./model-messages.ts";
import { modelTurn } from "./model-turn.ts";
import { assertJsonOnly, tryParse } from "./schema.ts";

const conversation: readonly ModelMessage[] = [
  { role: "system", content: "You sell bicycles." },
  {
    role: "user",
    content: [
      { type: "text", text: "What is this?" },
      { type: "file", mediaType: "image/png", source: { type: "base64", base64: "iVBORw==" } },
      { type: "file", mediaType: "image/*", source: { type: "url", url: "https://cdn.example/a.png" } },
      { type: "file", mediaType: "application/pdf", source: { type: "reference", reference: { acme: "file-1" } } },
    ],
  },
  {
    role: "assistant",
    content: [
      { type: "reasoning", text: "", providerOptions: { anthropic: { signature: "c2ln" } } },
      { type: "tool-call", id: "c1", name: "find", arguments: { deep: [{ a: null }] } },
      { type: "invalid-tool-call", id: "c2", name: "find", text: "{", reason: "Its arguments are not valid JSON." },
    ],
  },
  {
    role: "tool",
    content: [{ type: "tool-result", callId: "c1", name: "find", outcome: "ok", value: { found: 3 } }],
  },
];

describe("a message", () => {
  test("is JSON, stays what it is when it is stored, and so does a turn's schema", () => {
    for (const schema of [modelMessage, modelTurn, modelTool]) assertJsonOnly(schema, "It");
    for (const message of conversation)
      expect(modelMessage.parse(JSON.parse(JSON.stringify(message)))).toEqual(message);
  });

  test.each<[string, unknown, string]>([
    [
      "a file at an address without TLS",
      file({ type: "url", url: "http://cdn.example/a.png" }),
      "content.0.source.url",
    ],
    ["a file of the machine", file({ type: "url", url: "file:///etc/passwd" }), "content.0.source.url"],
    ["bytes that are not base64", file({ type: "base64", base64: "ä" }), "content.0.source.base64"],
    ["a user who says nothing", { role: "user", content: [] }, "content"],
    ["a field that is not known", { role: "system", content: "x", extra: 1 }, "extra"],
    ["a tool call without an id", { role: "assistant", content: [call({ id: "" })] }, "content.0.id"],
    ["arguments that are no object", { role: "assistant", content: [call({ arguments: [] })] }, "content.0.arguments"],
  ])("is not %s", (_, message, path) => {
    const parsed = tryParse(modelMessage, message);
    expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.path)).toEqual([path]);
  });

  test("tells a tool by a name that every provider takes", () => {
    expect(modelTool.safeParse({ name: "find_contacts-2", inputSchema: {} }).success).toBe(true);
    for (const name of ["", "connectors.invoke", "über", "a".repeat(65)])
      expect(modelTool.safeParse({ name, inputSchema: {} }).success).toBe(false);
  });
});

function file(source: unknown) {
  return { role: "user", content: [{ type: "file", mediaType: "image/png", source }] };
}

function call(fields: object) {
  return { type: "tool-call", id: "c1", name: "find", arguments: {}, ...fields };
}
