import { expect, test } from "vitest";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import { KeptConversations } from "./kept-conversations.ts";

const asks: ModelMessage = { role: "assistant", content: [] };
const found = (value: string): ModelMessage => ({
  role: "tool",
  content: [{ type: "tool-result", callId: "call_1", name: "find", outcome: "ok", value }],
});

test("results that were not written down are not taken for those that another process has found", () => {
  const kept = new KeptConversations();
  const begun = { agent: "a", version: 1, tools: [], order: "o", shownTo: [] };
  kept.keep("acme", "run_1", 1, { ...begun, messages: [], said: 1 });
  const second = kept.next("acme", "run_1", 2, { said: [asks, found("here")] })!;
  kept.keep("acme", "run_1", 2, second, 1_000);
  const said = [asks, found("later")];
  // Another process took over, found its own, and took the second step; then this one has the run again.
  expect(kept.next("acme", "run_1", 3, { said, priorAt: 16_000 })).toBeUndefined();
  expect(kept.next("acme", "run_1", 3, { said, priorAt: 1_000 })?.messages).toEqual([asks, found("here"), ...said]);
});
