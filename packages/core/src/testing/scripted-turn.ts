import type { JsonObject } from "../kernel/schema.ts";

/** A tool call of a scripted turn. */
export interface ScriptedToolCall {
  /** `call_1`, `call_2` and so on when absent. */
  readonly id?: string;
  readonly name: string;
  /** Text is handed on as it is, so that a model can write what is no JSON. `{}` when absent. */
  readonly arguments?: JsonObject | string;
}

/** A failure as the AI SDK throws it, for a status of the provider's. */
export interface ScriptedFailure {
  readonly status: number;
  /** The provider's own word for it, `context_length_exceeded`. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One answer of a scripted model: all at once, or in pieces where it is streamed. */
export interface ScriptedAnswer {
  /** Several texts are the pieces of a stream; one text is cut after every blank. */
  readonly text?: string | readonly string[];
  readonly reasoning?: string | readonly string[];
  readonly toolCalls?: readonly ScriptedToolCall[];
  /** `tool-calls` when there are some and it is absent, else `stop`. */
  readonly finishReason?: string;
  /** 10 tokens in and 5 out when absent. `null`: the provider does not say. */
  readonly usage?: {
    readonly inputTokens?: number;
    readonly cachedInputTokens?: number;
    readonly cacheWriteInputTokens?: number;
    readonly outputTokens?: number;
    readonly reasoningTokens?: number;
  } | null;
  /** How long it takes until there is anything, in milliseconds by the model's clock. */
  readonly delayMs?: number;
  /** How it ends in place of an answer; a stream has its pieces before that. */
  readonly fails?: ScriptedFailure | Error;
  /** It never ends, after its pieces: until the caller gives up. */
  readonly hangs?: boolean;
  /** The connection is cut off after its pieces. */
  readonly cut?: boolean;
}

/** A text, an answer, or a function of what the model was asked. */
export type ScriptedTurn =
  | string
  | ScriptedAnswer
  | ((call: ScriptedCall) => string | ScriptedAnswer | Promise<string | ScriptedAnswer>);

/** What a scripted model was asked. */
export interface ScriptedCall {
  readonly streamed: boolean;
  /** All that `doGenerate` or `doStream` was given. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The messages, in the form of the model's version. */
  readonly prompt: readonly { readonly role: string; readonly content: unknown }[];
  /** Names of the tools that were offered. */
  readonly tools: readonly string[];
  /** Every text of the prompt, one a line: what a model may read its orders from. */
  readonly text: string;
  /** Whether the caller gave up: by the signal, or by letting go of the stream before its end. */
  readonly givenUp: boolean;
}
