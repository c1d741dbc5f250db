import { z } from "zod";
import { defineError } from "./errors.ts";

// None of these quotes what a provider said, nor keeps its error as the cause: both may hold the prompt, or a key.

const model = z.string();
const reason = z.string();

/** The model cannot be asked now: a limit (429), a failure of the provider's own (5xx), or no connection. */
export class ModelUnavailable extends defineError("model.unavailable", {
  kind: "unavailable",
  details: z.object({
    model,
    reason,
    status: z.number().optional(),
    /** What the provider asks to wait, in milliseconds. */
    retryAfterMs: z.number().optional(),
  }),
  message: ({ model, reason, retryAfterMs }) =>
    `The model "${model}" is not available (${reason})${retryAfterMs === undefined ? "" : `; ask again in ${Math.ceil(retryAfterMs / 1000)} s`}.`,
}) {}

/** The provider said no to the request: its key is not accepted, or the request is not valid. Repeating it is no use. */
export class ModelRefused extends defineError("model.refused", {
  kind: "precondition",
  details: z.object({ model, reason, status: z.number().optional() }),
  message: ({ model, reason }) => `The model "${model}" refused the request (${reason}).`,
}) {}

/** The model did not answer in time. */
export class ModelTimeout extends defineError("model.timeout", {
  kind: "timeout",
  details: z.object({ model, timeoutMs: z.number() }),
  message: ({ model, timeoutMs }) => `The model "${model}" did not answer within ${timeoutMs} ms.`,
}) {}

/** What came is no answer: not the shape that was agreed on, or cut off before its end. */
export class ModelAnswerInvalid extends defineError("model.answer_invalid", {
  kind: "unavailable",
  details: z.object({ model, reason }),
  message: ({ model, reason }) => `The model "${model}" gave an answer that cannot be used: ${reason}.`,
}) {}

/** The caller gave up while the model was asked. `partialOf` tells what had come by then. */
export class ModelAborted extends defineError("model.aborted", {
  kind: "timeout",
  details: z.object({ model }),
  message: ({ model }) => `The call of the model "${model}" was given up by its caller.`,
}) {}

/** The model's output does not fit the schema that was asked for, also after it was told what is wrong. */
export class ModelOutputInvalid extends defineError("model.output_invalid", {
  kind: "unavailable",
  details: z.object({ model, issues: z.array(z.object({ path: z.string(), message: z.string() })) }),
  message: ({ model, issues }) =>
    `The output of the model "${model}" does not fit its schema: ${issues
      .slice(0, 3)
      .map(({ path, message }) => `${path === "" ? "it" : path} ${message}`)
      .join("; ")}.`,
}) {}

/** The host has no model of this name. */
export class ModelUnknown extends defineError("model.unknown", {
  kind: "not-found",
  details: z.object({ name: z.string() }),
  message: ({ name }) => `No model "${name}" is configured.`,
}) {}

/** What had come of an answer that was not finished. */
export interface PartialTurn {
  readonly text: string;
  readonly reasoning: string;
}

// Beside the error and not in it: errors are logged and sent, and this is what the model wrote.
const partials = new WeakMap<Error, PartialTurn>();

/** What had come before the error, where something had: text and reasoning of a stream that broke off. */
export function partialOf(error: unknown): PartialTurn | undefined {
  return error instanceof Error ? partials.get(error) : undefined;
}

/** Keeps what had come with the error. Nothing is kept where nothing had come. */
export function withPartial<E extends Error>(error: E, partial: PartialTurn): E {
  if (partial.text !== "" || partial.reasoning !== "") partials.set(error, partial);
  return error;
}
