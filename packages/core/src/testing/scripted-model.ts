import { z } from "zod";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { defineError } from "../kernel/errors.ts";
import type { LanguageModel } from "../kernel/language-model.ts";
import { generated, type Scripted, streamed, thrownBy } from "./scripted-answer.ts";
import type { ScriptedCall, ScriptedTurn } from "./scripted-turn.ts";

export interface ScriptedModelOptions {
  /** `v2`, `v3` or `v4`, which it is when absent. */
  readonly specificationVersion?: "v2" | "v3" | "v4";
  readonly provider?: string;
  readonly modelId?: string;
  /** What delays are timed by; the machine's when absent. */
  readonly clock?: Clock;
}

/** The model was asked more often than it has turns. */
class ScriptExhausted extends defineError("scripted_model.exhausted", {
  kind: "internal",
  details: z.object({ model: z.string(), turns: z.number() }),
  message: ({ model, turns }) =>
    `The scripted model "${model}" has ${turns} turn${turns === 1 ? "" : "s"} and was asked once more.`,
}) {}

/**
 * A model that says what the test has written down, for agents and whatever else asks models: no network, no key, the
 * same every time. It speaks the AI SDK's interface, so whatever takes one of its models takes this one.
 *
 * Each call takes the next turn. When there is none left, the call fails, and `assertComplete` says so as well, whatever
 * the code under test made of the failure.
 */
export class ScriptedModel implements LanguageModel {
  readonly specificationVersion: "v2" | "v3" | "v4";
  readonly provider: string;
  readonly modelId: string;
  /** By media type, which addresses the model reads itself: none. */
  readonly supportedUrls: Readonly<Record<string, RegExp[]>> = {};
  readonly #turns: readonly ScriptedTurn[];
  readonly #clock: Clock;
  readonly #calls: (ScriptedCall & { givenUp: boolean })[] = [];
  #toolCalls = 0;

  constructor(turns: readonly ScriptedTurn[], options: ScriptedModelOptions = {}) {
    this.specificationVersion = options.specificationVersion ?? "v4";
    this.provider = options.provider ?? "scripted";
    this.modelId = options.modelId ?? "scripted";
    this.#turns = turns;
    this.#clock = options.clock ?? systemClock();
  }

  /** Every call, in order, those without a turn too. */
  get calls(): readonly ScriptedCall[] {
    return [...this.#calls];
  }

  /** Throws unless every turn was used, and none was missing. */
  assertComplete(): void {
    const asked = this.#calls.length;
    const total = this.#turns.length;
    if (asked > total) throw new ScriptExhausted({ model: this.modelId, turns: total });
    if (asked === total) return;
    const unused = this.#turns.slice(asked).map((turn, index) => `  ${asked + index + 1}. ${described(turn)}`);
    throw new Error(`The scripted model "${this.modelId}" was not asked for\n${unused.join("\n")}`);
  }

  async doGenerate(options: object): Promise<{ readonly content: readonly object[] }> {
    const scripted = await this.#next(options, false);
    const { answer, call, signal } = scripted;
    if (answer.hangs === true) await this.#forever(call, signal);
    const thrown = thrownBy(answer);
    if (thrown !== undefined) throw thrown;
    return generated(scripted, this.specificationVersion);
  }

  async doStream(options: object): Promise<{ readonly stream: ReadableStream<object> }> {
    const scripted = await this.#next(options, true);
    // Without a piece there is no stream yet: the provider's answer is a status.
    const thrown = scripted.answer.text === undefined ? thrownBy(scripted.answer) : undefined;
    if (thrown !== undefined) throw thrown;
    return { stream: streamed(scripted, this.specificationVersion) };
  }

  async #next(options: object, asStream: boolean): Promise<Scripted> {
    const given = options as Readonly<Record<string, unknown>>;
    const signal = given["abortSignal"] instanceof AbortSignal ? given["abortSignal"] : undefined;
    signal?.throwIfAborted();
    const call = { ...callOf(given, asStream), givenUp: false };
    const turn = this.#turns[this.#calls.push(call) - 1];
    if (turn === undefined) throw new ScriptExhausted({ model: this.modelId, turns: this.#turns.length });
    const said = typeof turn === "function" ? await turn(call) : turn;
    const answer = typeof said === "string" ? { text: said } : said;
    if (answer.delayMs !== undefined)
      await this.#clock.sleep(answer.delayMs, signal).catch((error) => {
        call.givenUp = true;
        throw error;
      });
    const toolCalls = (answer.toolCalls ?? []).map(({ id, name, arguments: input = {} }) => ({
      toolCallId: id ?? `call_${++this.#toolCalls}`,
      toolName: name,
      input: typeof input === "string" ? input : JSON.stringify(input),
    }));
    return { answer, toolCalls, call, signal, modelId: this.modelId, id: `scripted-${this.#calls.length}` };
  }

  #forever(call: { givenUp: boolean }, signal: AbortSignal | undefined): Promise<never> {
    return new Promise((_, reject) => {
      const abort = () => {
        call.givenUp = true;
        reject(signal?.reason);
      };
      if (signal?.aborted === true) abort();
      signal?.addEventListener("abort", abort, { once: true });
    });
  }
}

function callOf(options: Readonly<Record<string, unknown>>, asStream: boolean): Omit<ScriptedCall, "givenUp"> {
  const prompt = (options["prompt"] ?? []) as ScriptedCall["prompt"];
  const tools = ((options["tools"] ?? []) as readonly { readonly name: string }[]).map(({ name }) => name);
  return {
    streamed: asStream,
    options,
    prompt,
    tools,
    text: prompt.flatMap(({ content }) => textsIn(content)).join("\n"),
  };
}

// Texts of messages, and whatever text stands in the results of tools.
function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  if (typeof value !== "object" || value === null || value instanceof URL) return [];
  const { type, text, output } = value as Readonly<Record<string, unknown>>;
  if (type === "text" && typeof text === "string") return [text];
  if (type === "tool-result") return textsIn((output as { readonly value?: unknown } | undefined)?.value);
  return type === undefined ? Object.values(value).flatMap(textsIn) : [];
}

function described(turn: ScriptedTurn): string {
  if (typeof turn === "function") return "a function";
  return JSON.stringify(typeof turn === "string" ? turn : { ...turn, fails: turn.fails && "…" });
}
