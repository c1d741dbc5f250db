import { ArmatureError } from "../../kernel/errors.ts";
import { ModelAnswerInvalid, ModelRefused, ModelUnavailable } from "../../kernel/model-errors.ts";
import { retryAfterOf } from "../../kernel/retry-after.ts";

/** Errors of the AI SDK by their names: `instanceof` would know those of one copy only. */
const NAMED: Readonly<Record<string, "invalid" | "refused">> = {
  AI_EmptyResponseBodyError: "invalid",
  AI_InvalidResponseDataError: "invalid",
  AI_JSONParseError: "invalid",
  AI_NoContentGeneratedError: "invalid",
  AI_TypeValidationError: "invalid",
  AI_InvalidArgumentError: "refused",
  AI_InvalidPromptError: "refused",
  AI_LoadAPIKeyError: "refused",
  AI_LoadSettingError: "refused",
  AI_NoSuchModelError: "refused",
  AI_NoSuchProviderReferenceError: "refused",
  AI_UnsupportedFunctionalityError: "refused",
};

/** What providers call their errors in a stream, where there is no status any more. */
const SAID: Readonly<Record<string, "refused">> = {
  authentication_error: "refused",
  invalid_api_key: "refused",
  invalid_request_error: "refused",
  not_found_error: "refused",
  permission_error: "refused",
  context_length_exceeded: "refused",
};

/** Statuses that say "not now", beside 5xx. */
const NOT_NOW = [408, 409, 425, 429];

/**
 * What a model threw, as one of our errors. It is recognised by its shape (`statusCode`, `responseHeaders`,
 * `isRetryable`), so errors of every version and copy of the AI SDK are. What is not recognised counts as unavailable:
 * asking again, or another model, is what helps with most of it. Errors of our own are left as they are.
 */
export function modelFailure(thrown: unknown, model: string, now: number): ArmatureError {
  if (thrown instanceof ArmatureError) return thrown;
  const error = fieldsOf(fieldsOf(thrown)["lastError"] ?? thrown);
  const status = statusOf(error);
  const said = codeOf(error);
  const name = typeof error["name"] === "string" ? error["name"] : "";
  const retryAfterMs = waitOf(error["responseHeaders"], now);
  const told = status === undefined || status < 400 ? {} : { status };
  const reason = said ?? (status === undefined ? (word(name) ?? "no reason was given") : `status ${status}`);
  const unavailable = () =>
    new ModelUnavailable({
      model,
      reason,
      ...told,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  const refused = () => new ModelRefused({ model, reason, ...told });
  // Also of what was cut off after a status that was fine.
  if (error["isRetryable"] === true) return unavailable();
  if (status !== undefined) {
    if (status >= 500 || NOT_NOW.includes(status)) return unavailable();
    if (status >= 400) return refused();
    return new ModelAnswerInvalid({ model, reason: `an answer with status ${status} could not be read` });
  }
  const known = NAMED[name] ?? (said === undefined ? undefined : SAID[said]);
  if (known === "refused") return refused();
  if (known === "invalid") return new ModelAnswerInvalid({ model, reason: `it could not be read (${word(name)})` });
  return unavailable();
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function statusOf(error: Readonly<Record<string, unknown>>): number | undefined {
  for (const field of ["statusCode", "status", "code"]) {
    const value = error[field];
    if (typeof value === "number" && Number.isInteger(value) && value >= 100 && value < 600) return value;
  }
  return undefined;
}

// A provider's own word for what is wrong, from where providers put it, or the system's for a lost connection.
function codeOf(error: Readonly<Record<string, unknown>>): string | undefined {
  const data = fieldsOf(error["data"]);
  const inner = fieldsOf(data["error"]);
  const within = fieldsOf(error["error"]);
  const cause = fieldsOf(error["cause"]);
  const places = [inner["code"], inner["type"], data["code"], error["code"], error["type"], within["code"]];
  for (const place of [...places, within["type"], cause["code"], fieldsOf(cause["cause"])["code"]]) {
    const found = typeof place === "string" ? word(place) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

// Only what cannot be a key, a name or a sentence: letters and the marks between them.
function word(text: string): string | undefined {
  return text.length <= 64 && /^[A-Za-z]+(?:[_.-][A-Za-z]+)*$/.test(text) ? text : undefined;
}

function waitOf(headers: unknown, now: number): number | undefined {
  const read = (name: string): string | undefined => {
    if (headers instanceof Headers) return headers.get(name) ?? undefined;
    const found = Object.entries(fieldsOf(headers)).find(([key]) => key.toLowerCase() === name)?.[1];
    return typeof found === "string" ? found : undefined;
  };
  const exact = read("retry-after-ms")?.trim();
  if (exact !== undefined && /^\d+(\.\d+)?$/.test(exact)) return retryAfterOf(String(Number(exact) / 1000), now);
  return retryAfterOf(read("retry-after"), now);
}
