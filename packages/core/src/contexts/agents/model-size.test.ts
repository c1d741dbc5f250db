import { expect, test } from "vitest";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import { estimateInputTokens } from "./model-size.ts";

const says = (text: string): ModelMessage => ({ role: "user", content: [{ type: "text", text }] });

test("a request is estimated by the bytes of its texts, and by its files", () => {
  expect(estimateInputTokens({ messages: [] })).toBe(2);
  expect(estimateInputTokens({ messages: [says("a".repeat(300))] })).toBe(110);
  expect(estimateInputTokens({ messages: [says("語".repeat(100))] })).toBe(110);
  const picture: ModelMessage = {
    role: "user",
    content: [{ type: "file", mediaType: "image/png", source: { type: "base64", base64: "a".repeat(4_000_000) } }],
  };
  expect(estimateInputTokens({ messages: [picture] })).toBe(2_010);
});

test("tools, their results and the schema of the output count", () => {
  const messages = [says("a")];
  const bare = estimateInputTokens({ messages });
  const tools = [{ name: "find", description: "d".repeat(300), inputSchema: {} }];
  const result: ModelMessage = {
    role: "tool",
    content: [{ type: "tool-result", callId: "c1", name: "find", outcome: "ok", value: "r".repeat(300) }],
  };
  for (const request of [
    { messages, tools },
    { messages: [...messages, result] },
    { messages, json: { schema: { title: "t".repeat(300) } } },
  ])
    expect(estimateInputTokens(request)).toBeGreaterThan(bare + 100);
});
