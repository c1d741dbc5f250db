import { AWAKE, type Clock } from "../../kernel/clock.ts";
import { ArmatureError } from "../../kernel/errors.ts";
import type { LanguageModel } from "../../kernel/language-model.ts";
import {
  ModelAborted,
  ModelAnswerInvalid,
  ModelTimeout,
  ModelUnavailable,
  ModelUnknown,
  withPartial,
} from "../../kernel/model-errors.ts";
import type { ModelTurn } from "../../kernel/model-turn.ts";
import { parse } from "../../kernel/parse.ts";
import { exchange, type Shower, shower, turnOf } from "./model-exchange.ts";
import { modelFailure } from "./model-failure.ts";
import { type Cost, costOf, type ModelPrices, modelPrices } from "./model-prices.ts";
import { isSpokenTo, type ModelRequest, nameOf } from "./model-prompt.ts";
import { type ModelDelta, StreamedAnswer, StreamFailed } from "./model-stream.ts";

/** How a model that is not available is asked again. */
export interface ModelRetry {
  /** How often each model is asked at most; 3 when absent. */
  readonly attempts?: number;
  /** The wait before the second attempt, in milliseconds; it doubles with each. 500 when absent. */
  readonly backoffMs?: number;
  /** The longest such wait; 8,000 when absent. */
  readonly maxBackoffMs?: number;
  /** The longest wait that a provider may ask for; whoever asks for more is left alone. 60,000 when absent. */
  readonly maxRetryAfterMs?: number;
}

/** One attempt, for who observes it. */
export interface ObservedAttempt {
  readonly model: LanguageModel;
  /** The host's name for the model. */
  readonly name: string;
  readonly request: ModelRequest;
  readonly streamed: boolean;
  /** Of this model, from 1. */
  readonly attempt: number;
}

export interface ModelClientOptions {
  /** The host's models by name. */
  readonly models: Readonly<Record<string, LanguageModel>>;
  readonly clock: Clock;
  /** A number from 0 up to 1, for the jitter of waits. */
  readonly random: () => number;
  readonly prices?: ModelPrices | undefined;
  readonly retry?: ModelRetry;
  /** Runs each attempt, for a span around it. It gives what `run` gives and throws what it throws. */
  readonly around?: (attempt: ObservedAttempt, run: () => Promise<ModelTurn>) => Promise<ModelTurn>;
  /**
   * Told what a model threw, and what was made of it. The original may hold the prompt and the provider's key: it is
   * for a debugger, never for a log.
   */
  readonly onFailure?: (failure: {
    readonly attempt: ObservedAttempt;
    readonly error: Error;
    readonly original: unknown;
  }) => void;
}

export interface ModelCallOptions {
  /** Names of models: the first is asked, the next when it is not available. `["default"]` when absent. */
  readonly models?: readonly string[];
  /** For each attempt, in milliseconds; 120,000 when absent. */
  readonly timeoutMs?: number;
  /** When all must be over, in milliseconds since 1970. */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
  /** Streams the answer and shows it piece by piece. One that throws is not called again. */
  readonly onDelta?: (delta: ModelDelta) => void;
}

/** An attempt, and what came of it. */
export interface ModelAttempt {
  /** The host's name for the model, and `provider/modelId`. */
  readonly name: string;
  readonly model: string;
  /** `answered`, or the error's code. */
  readonly outcome: string;
  readonly durationMs: number;
}

/** A turn, and how it was come by. */
export interface ModelCall {
  readonly turn: ModelTurn;
  readonly model: { readonly name: string; readonly provider: string; readonly modelId: string };
  /** All of them, the last one answered. */
  readonly attempts: readonly ModelAttempt[];
  /** Of the turn. What a provider asks for attempts that failed is not known. */
  readonly cost: Cost;
}

const attemptsMade = new WeakMap<Error, readonly ModelAttempt[]>();

/** The attempts that ended with this error of a call. */
export function attemptsOf(error: unknown): readonly ModelAttempt[] {
  return (error instanceof Error ? attemptsMade.get(error) : undefined) ?? [];
}

const TIMEOUT_MS = 120_000;

interface Candidate {
  readonly name: string;
  readonly model: LanguageModel;
}

/** Asks the host's models: by name, in time, again where it may help, and the next one where it does not. */
export class ModelClient {
  readonly #options: ModelClientOptions;
  readonly #prices: ModelPrices | undefined;
  readonly #retry: Required<ModelRetry>;

  /** @throws {TypeError} a model speaks a version of the interface that is not known */
  constructor(options: ModelClientOptions) {
    for (const [name, model] of Object.entries(options.models))
      if (!isSpokenTo(model))
        throw new TypeError(
          `The model "${name}" speaks version "${model.specificationVersion}" of the AI SDK's interface; v2, v3 and v4 are spoken here.`,
        );
    this.#options = options;
    this.#prices = options.prices === undefined ? undefined : parse(modelPrices, options.prices, "The model prices");
    this.#retry = { attempts: 3, backoffMs: 500, maxBackoffMs: 8_000, maxRetryAfterMs: 60_000, ...options.retry };
  }

  /**
   * Asks a model. Nothing of this is repeated that has had an effect: a model only writes.
   *
   * @throws {ModelUnknown} the host has no such model; nothing was asked
   * @throws {ModelUnavailable | ModelTimeout | ModelAnswerInvalid} that is how the last attempt ended
   * @throws {ModelRefused} at once: neither another attempt nor another model is tried
   * @throws {ModelAborted} by the signal
   */
  async call(request: ModelRequest, options: ModelCallOptions = {}): Promise<ModelCall> {
    const candidates = (options.models ?? ["default"]).map((name) => this.#candidate(name));
    if (candidates.length === 0) throw new TypeError("A call names at least one model.");
    const attempts: ModelAttempt[] = [];
    const show = shower(options.onDelta);
    try {
      for (let index = 0; ; index += 1) {
        const candidate = candidates[index]!;
        const turn = await this.#ask(candidate, request, options, show, attempts, index === candidates.length - 1);
        if (turn === undefined) continue;
        const { name, model } = candidate;
        const { provider, modelId } = model;
        return { turn, model: { name, provider, modelId }, attempts, cost: costOf(this.#prices, model, turn.usage) };
      }
    } catch (error) {
      if (error instanceof Error) attemptsMade.set(error, attempts);
      throw error;
    }
  }

  // The turn; undefined when the next model is to be asked.
  async #ask(
    candidate: Candidate,
    request: ModelRequest,
    options: ModelCallOptions,
    show: Shower | undefined,
    attempts: ModelAttempt[],
    last: boolean,
  ): Promise<ModelTurn | undefined> {
    const { clock } = this.#options;
    const { deadline = Number.POSITIVE_INFINITY, signal } = options;
    for (let attempt = 1; ; attempt += 1) {
      const begun = clock.now();
      const record = (outcome: string) =>
        attempts.push({
          name: candidate.name,
          model: nameOf(candidate.model),
          outcome,
          durationMs: clock.now() - begun,
        });
      try {
        const turn = await this.#attempt(candidate, request, options, show, attempt);
        record("answered");
        return turn;
      } catch (error) {
        record(error instanceof ArmatureError ? error.code : "internal");
        if (!isPassing(error)) throw error;
        // A model that is slow is slow again, where there is another.
        const over = attempt >= this.#retry.attempts || (!last && error instanceof ModelTimeout);
        const wait = over ? undefined : this.#wait(error, attempt);
        const again = wait !== undefined && clock.now() + wait < deadline;
        if (!again && (last || clock.now() >= deadline)) throw error;
        if (!again) return undefined;
        await clock.sleep(wait, signal).catch(() => {
          throw new ModelAborted({ model: nameOf(candidate.model) });
        });
      }
    }
  }

  // Undefined when it is too long to be worth it.
  #wait(error: Error, attempt: number): number | undefined {
    const { backoffMs, maxBackoffMs, maxRetryAfterMs } = this.#retry;
    const asked = error instanceof ModelUnavailable ? error.details.retryAfterMs : undefined;
    if (asked !== undefined) return asked > maxRetryAfterMs ? undefined : asked;
    const jitter = 0.5 + this.#options.random() / 2;
    return Math.min(backoffMs * 2 ** (attempt - 1), maxBackoffMs) * jitter;
  }

  async #attempt(
    { name, model }: Candidate,
    request: ModelRequest,
    options: ModelCallOptions,
    show: Shower | undefined,
    attempt: number,
  ): Promise<ModelTurn> {
    const { clock, around = (_attempt, run) => run(), onFailure } = this.#options;
    const { timeoutMs = TIMEOUT_MS, deadline = Number.POSITIVE_INFINITY, signal } = options;
    const observed: ObservedAttempt = { model, name, request, streamed: show !== undefined, attempt };
    const allowedMs = Math.max(0, Math.min(timeoutMs, deadline - clock.now()));
    if (allowedMs === 0) throw new ModelTimeout({ model: nameOf(model), timeoutMs: 0 });
    const answer = new StreamedAnswer();
    const timer = new AbortController();
    const late = new AbortController();
    const either = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    clock.sleep(allowedMs, timer.signal).then(
      () => late.abort(),
      () => {},
    );
    show?.begin();
    return around(observed, async () => {
      try {
        signal?.throwIfAborted();
        return await exchange(model, request, either, answer, show?.delta);
      } catch (original) {
        // The answer was there, and only its end was missing.
        if (answer.finished && signal?.aborted !== true && !(original instanceof ModelAnswerInvalid))
          return turnOf(answer.raw, model, request);
        const error = signal?.aborted
          ? new ModelAborted({ model: nameOf(model) })
          : late.signal.aborted
            ? new ModelTimeout({ model: nameOf(model), timeoutMs: allowedMs })
            : modelFailure(original instanceof StreamFailed ? original.cause : original, nameOf(model), clock.now());
        onFailure?.({ attempt: observed, error, original });
        throw withPartial(error, answer.partial);
      } finally {
        timer.abort(AWAKE);
      }
    });
  }

  #candidate(name: string): Candidate {
    const { models } = this.#options;
    const model = Object.hasOwn(models, name) ? models[name] : undefined;
    if (model === undefined) throw new ModelUnknown({ name });
    return { name, model };
  }
}

function isPassing(error: unknown): error is ModelUnavailable | ModelTimeout | ModelAnswerInvalid {
  return error instanceof ModelUnavailable || error instanceof ModelTimeout || error instanceof ModelAnswerInvalid;
}
