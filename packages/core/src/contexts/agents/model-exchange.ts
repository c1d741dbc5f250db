import type { LanguageModel } from "../../kernel/language-model.ts";
import { ModelAnswerInvalid } from "../../kernel/model-errors.ts";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import type { ModelTurn } from "../../kernel/model-turn.ts";
import { untilAborted } from "../../kernel/until-aborted.ts";
import { readTurn } from "./model-answer.ts";
import { type ModelRequest, nameOf, toCallOptions } from "./model-prompt.ts";
import { drain, letGo, type ModelDelta, NoStream, type StreamedAnswer } from "./model-stream.ts";

/**
 * One request to a model, and its answer as a turn.
 *
 * @throws {ModelAnswerInvalid} it is no answer; also the signal's reason, and what the model or its stream threw
 */
export async function exchange(
  model: LanguageModel,
  request: ModelRequest,
  signal: AbortSignal,
  answer: StreamedAnswer,
  onDelta: ((delta: ModelDelta) => void) | undefined,
): Promise<ModelTurn> {
  const callOptions = toCallOptions(model, request, signal);
  const name = nameOf(model);
  // A model need not heed the signal: it is not waited for beyond it.
  if (onDelta === undefined)
    return turnOf(await untilAborted(signal, Promise.resolve(model.doGenerate(callOptions))), model, request);
  const opening = Promise.resolve(model.doStream(callOptions));
  const opened = await untilAborted(signal, opening).catch((error) => {
    opening.then(letGo, () => {});
    throw error;
  });
  await drain(opened, answer, signal, onDelta).catch((error) => {
    throw error instanceof NoStream ? new ModelAnswerInvalid({ model: name, reason: "it is no stream" }) : error;
  });
  if (!answer.finished)
    throw new ModelAnswerInvalid({ model: name, reason: "the stream ended before the model was done" });
  return turnOf(answer.raw, model, request);
}

/** Reads an answer whose tool calls differ from those that the conversation has already. */
export function turnOf(raw: unknown, model: LanguageModel, { messages }: ModelRequest): ModelTurn {
  return readTurn(raw, nameOf(model), callIdsOf(messages));
}

function callIdsOf(messages: readonly ModelMessage[]): ReadonlySet<string> {
  return new Set(
    messages.flatMap(({ role, content }) =>
      role === "assistant"
        ? content.flatMap((part) => (part.type === "tool-call" || part.type === "invalid-tool-call" ? [part.id] : []))
        : [],
    ),
  );
}

/** Shows what comes of an answer to whoever watches. */
export interface Shower {
  readonly delta: (delta: ModelDelta) => void;
  /** A new attempt: what was shown of the one before is void. */
  begin(): void;
}

export function shower(onDelta: ((delta: ModelDelta) => void) | undefined): Shower | undefined {
  if (onDelta === undefined) return undefined;
  let shown = false;
  let broken = false;
  const delta = (each: ModelDelta) => {
    if (broken) return;
    shown = each.type !== "restarted";
    try {
      onDelta(each);
    } catch {
      // Who only watches cannot end the call.
      broken = true;
    }
  };
  return { delta, begin: () => (shown ? delta({ type: "restarted" }) : undefined) };
}
