import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTurn } from "./model-answer.ts";
import { drain, type ModelDelta, NoStream, StreamedAnswer, StreamFailed } from "./model-stream.ts";

const idle = new AbortController().signal;

async function streamed(parts: readonly unknown[], signal = idle) {
  const answer = new StreamedAnswer();
  const deltas: ModelDelta[] = [];
  await drain({ stream: ReadableStream.from(parts) }, answer, signal, (delta) => deltas.push(delta));
  return { answer, deltas, turn: readTurn(answer.raw, "acme/large", new Set()) };
}

const finish = {
  type: "finish",
  finishReason: { unified: "stop", raw: "stop" },
  usage: {
    inputTokens: { total: 3, noCache: 3, cacheRead: 0, cacheWrite: 0 },
    outputTokens: { total: 2, text: 2, reasoning: 0 },
  },
} as const satisfies LanguageModelV4StreamPart;

describe("a stream", () => {
  test("comes to the turn that the answer at once would have been, whatever its pieces", async () => {
    const word = fc.string({ unit: "grapheme", minLength: 1 });
    const metadata = fc.option(fc.record({ acme: fc.record({ id: word }) }), { nil: undefined });
    const content = fc.array(
      fc.oneof(
        fc.record({ type: fc.constantFrom("text", "reasoning"), text: word, providerMetadata: metadata }),
        fc.record({
          type: fc.constant("tool-call"),
          toolName: fc.constantFrom("find", "merge"),
          input: fc.oneof(fc.json(), fc.string()),
          providerMetadata: metadata,
        }),
      ),
    );
    const noise = [{ type: "ping" }, { type: "raw", rawValue: 1 }, null, "what", { type: "text-delta" }];
    await fc.assert(
      fc.asyncProperty(content, fc.array(fc.nat()), async (pieces, cuts) => {
        let cut = 0;
        const next = () => cuts[cut++ % Math.max(1, cuts.length)] ?? 3;
        const cutUp = (text: string) => {
          const parts: string[] = [];
          for (let at = 0; at < text.length; ) {
            const size = 1 + (next() % 5);
            parts.push(text.slice(at, at + size));
            at += size;
          }
          return parts;
        };
        const parts = pieces.flatMap((piece, index): unknown[] => {
          const { providerMetadata } = piece;
          const extra = noise[next() % noise.length];
          if ("text" in piece) {
            const { type, text } = piece;
            const deltas = cutUp(text).map((delta) => ({ type: `${type}-delta`, id: "0", delta }));
            return [
              { type: `${type}-start`, id: "0", ...(next() % 2 ? { providerMetadata } : {}) },
              extra,
              ...deltas,
              { type: `${type}-end`, id: "0", providerMetadata },
            ];
          }
          const { toolName, input } = piece;
          const id = `c${index}`;
          const whole = { ...piece, toolCallId: id };
          if (next() % 2) return [whole, extra];
          const deltas = cutUp(input).map((delta) => ({ type: "tool-input-delta", id, delta }));
          return [{ type: "tool-input-start", id, toolName }, ...deltas, extra, { type: "tool-input-end", id }, whole];
        });
        // Usage and reason before the text, as some servers send them.
        const at = next() % (parts.length + 1);
        const { turn, deltas } = await streamed([...parts.slice(0, at), finish, ...parts.slice(at)]);
        const whole = {
          ...finish,
          content: pieces.map((piece, index) => ({
            ...piece,
            ...("text" in piece ? {} : { toolCallId: `c${index}` }),
          })),
        };
        expect(turn).toEqual(readTurn(whole, "acme/large", new Set()));
        const shown = deltas.map((delta) => (delta.type === "text" ? delta.text : "")).join("");
        expect(shown.toWellFormed()).toBe(turn.text);
      }),
      { numRuns: 300 },
    );
  });

  test("shows what comes as it comes", async () => {
    const { deltas } = await streamed([
      { type: "reasoning-delta", id: "r", delta: "Hm." },
      { type: "text-delta", id: "t", delta: "Yes" },
      { type: "text-delta", id: "t", delta: "" },
      { type: "tool-input-start", id: "c1", toolName: "find" },
      { type: "tool-input-delta", id: "c1", delta: '{"q"' },
      finish,
    ]);
    expect(deltas).toEqual([
      { type: "reasoning", text: "Hm." },
      { type: "text", text: "Yes" },
      { type: "tool-input", id: "c1", name: "find", text: '{"q"' },
    ]);
  });

  test("puts metadata together that comes in pieces", async () => {
    const { turn } = await streamed([
      { type: "reasoning-start", id: "r", providerMetadata: { acme: { itemId: "i1" } } },
      { type: "reasoning-delta", id: "r", delta: "", providerMetadata: { acme: { signature: "c2ln" } } },
      { type: "reasoning-end", id: "r" },
      finish,
    ]);
    expect(turn.content).toEqual([
      { type: "reasoning", text: "", providerOptions: { acme: { itemId: "i1", signature: "c2ln" } } },
    ]);
  });

  test("has warnings, ids and the last usage that was told", async () => {
    const { turn } = await streamed([
      { type: "stream-start", warnings: [{ type: "other", message: "Slow today." }] },
      { type: "response-metadata", id: "r1" },
      { type: "response-metadata", id: undefined, modelId: "large-1" },
      finish,
      { type: "finish", finishReason: "length" },
    ]);
    expect(turn).toMatchObject({
      warnings: [{ type: "other", message: "Slow today." }],
      response: { id: "r1", model: "large-1" },
      finishReason: "length",
      usage: { inputTokens: 3, outputTokens: 2 },
    });
  });

  test("has a tool call of which only the pieces came, though perhaps not one that can be run", async () => {
    const { turn } = await streamed([
      { type: "tool-input-start", id: "c1", toolName: "find" },
      { type: "tool-input-delta", id: "c1", delta: '{"q":"bi' },
      { ...finish, finishReason: { unified: "length", raw: "length" } },
    ]);
    expect(turn.toolCalls).toEqual([
      expect.objectContaining({ type: "invalid-tool-call", id: "c1", name: "find", text: '{"q":"bi' }),
    ]);
  });

  test("that says that it failed fails with what it said, and is let go", async () => {
    let letGo = false;
    const answer = new StreamedAnswer();
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue({ type: "text-delta", id: "t", delta: "Hel" });
        controller.enqueue({ type: "error", error: { type: "overloaded_error" } });
      },
      cancel: () => {
        letGo = true;
      },
    });
    const failure = await drain({ stream }, answer, idle, () => {}).catch((error) => error);
    expect(failure).toBeInstanceOf(StreamFailed);
    expect(failure.cause).toEqual({ type: "overloaded_error" });
    expect(answer.partial).toEqual({ text: "Hel", reasoning: "" });
    expect(answer.finished).toBe(false);
    expect(letGo).toBe(true);
  });

  test("that hangs is let go when the caller gives up", async () => {
    let letGo = false;
    const giveUp = new AbortController();
    const stream = new ReadableStream({
      pull: () => new Promise(() => {}),
      cancel: () => {
        letGo = true;
        return new Promise(() => {});
      },
    });
    const reading = drain({ stream }, new StreamedAnswer(), giveUp.signal, () => {});
    giveUp.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
    expect(letGo).toBe(true);
  });

  test.each([undefined, {}, { stream: [] }, { stream: {} }])("is not %j", async (opened) => {
    await expect(drain(opened, new StreamedAnswer(), idle, () => {})).rejects.toThrow(NoStream);
  });
});
