import type { ScriptedAnswer, ScriptedCall } from "./scripted-turn.ts";

/** A turn that is due, and who asked for it. */
export interface Scripted {
  readonly answer: ScriptedAnswer;
  readonly toolCalls: readonly { readonly toolCallId: string; readonly toolName: string; readonly input: string }[];
  readonly call: { givenUp: boolean } & Omit<ScriptedCall, "givenUp">;
  readonly signal: AbortSignal | undefined;
  readonly modelId: string;
  readonly id: string;
}

/** What a model throws in place of this answer; undefined when it answers. */
export function thrownBy({ fails, cut }: ScriptedAnswer): unknown {
  if (fails === undefined)
    return cut === true ? Object.assign(new TypeError("terminated"), { cause: { code: "UND_ERR_SOCKET" } }) : undefined;
  if (fails instanceof Error) return fails;
  const { status, code, headers = {} } = fails;
  return Object.assign(new Error(`The provider answered ${status}.`), {
    name: "AI_APICallError",
    statusCode: status,
    responseHeaders: headers,
    isRetryable: status === 429 || status >= 500,
    data: code === undefined ? undefined : { error: { code } },
  });
}

/** The answer of `doGenerate`. */
export function generated(
  scripted: Scripted,
  version: string,
): { readonly content: readonly object[]; readonly [part: string]: unknown } {
  const { answer, toolCalls, modelId, id } = scripted;
  const content = [
    ...part("reasoning", answer.reasoning),
    ...part("text", answer.text),
    ...toolCalls.map((call) => ({ type: "tool-call", ...call })),
  ];
  const answered = {
    content,
    ...ending(scripted, version),
    response: { id, modelId },
    warnings: [],
  };
  return answered;
}

/** The stream of `doStream`: a piece each time that somebody reads. */
export function streamed(scripted: Scripted, version: string): ReadableStream<object> {
  const { answer, call, signal } = scripted;
  const parts = partsOf(scripted, version);
  let ended = false;
  return new ReadableStream<object>(
    {
      start(controller) {
        const abort = () => {
          if (ended) return;
          call.givenUp = true;
          controller.error(signal?.reason);
        };
        if (signal?.aborted === true) abort();
        signal?.addEventListener("abort", abort, { once: true });
      },
      pull(controller) {
        const next = parts.next();
        if (next.done !== true) return controller.enqueue(next.value);
        if (answer.hangs === true) return new Promise(() => {});
        ended = true;
        if (answer.cut === true) return controller.error(thrownBy(answer));
        controller.close();
      },
      cancel() {
        call.givenUp = true;
      },
    },
    { highWaterMark: 0 },
  );
}

function* partsOf(scripted: Scripted, version: string): Generator<object> {
  const { answer, toolCalls, modelId, id } = scripted;
  yield { type: "stream-start", warnings: [] };
  yield { type: "response-metadata", id, modelId };
  for (const [type, text] of [
    ["reasoning", answer.reasoning],
    ["text", answer.text],
  ] as const) {
    if (text === undefined) continue;
    yield { type: `${type}-start`, id: `${type}-1` };
    for (const delta of piecesOf(text)) yield { type: `${type}-delta`, id: `${type}-1`, delta };
    yield { type: `${type}-end`, id: `${type}-1` };
  }
  if (answer.hangs === true || answer.cut === true) return;
  if (answer.fails !== undefined) {
    yield { type: "error", error: thrownBy(answer) };
    return;
  }
  for (const { toolCallId, toolName, input } of toolCalls) {
    yield { type: "tool-input-start", id: toolCallId, toolName };
    for (const delta of input.match(/[\s\S]{1,8}/g) ?? []) yield { type: "tool-input-delta", id: toolCallId, delta };
    yield { type: "tool-input-end", id: toolCallId };
    yield { type: "tool-call", toolCallId, toolName, input };
  }
  yield { type: "finish", ...ending(scripted, version) };
}

function part(type: "text" | "reasoning", text: ScriptedAnswer["text"]): readonly object[] {
  return text === undefined ? [] : [{ type, text: typeof text === "string" ? text : text.join("") }];
}

function piecesOf(text: string | readonly string[]): readonly string[] {
  return typeof text === "string" ? (text.match(/\S*\s*/g) ?? []).filter((piece) => piece !== "") : text;
}

function ending({ answer, toolCalls }: Scripted, version: string): object {
  const reason = answer.finishReason ?? (toolCalls.length > 0 ? "tool-calls" : "stop");
  const usage = answer.usage === undefined ? { inputTokens: 10, outputTokens: 5 } : (answer.usage ?? {});
  const { inputTokens, cachedInputTokens, cacheWriteInputTokens, outputTokens, reasoningTokens } = usage;
  if (version === "v2")
    return { finishReason: reason, usage: { inputTokens, outputTokens, cachedInputTokens, reasoningTokens } };
  return {
    finishReason: { unified: reason, raw: reason },
    usage: {
      inputTokens: {
        total: inputTokens,
        noCache: undefined,
        cacheRead: cachedInputTokens,
        cacheWrite: cacheWriteInputTokens,
      },
      outputTokens: { total: outputTokens, text: undefined, reasoning: reasoningTokens },
    },
  };
}
