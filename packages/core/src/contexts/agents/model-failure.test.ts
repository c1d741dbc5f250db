import { APICallError } from "@ai-sdk/provider";
import { APICallError as APICallErrorV2, LoadAPIKeyError, UnsupportedFunctionalityError } from "@ai-sdk/provider-v2";
import { describe, expect, test } from "vitest";
import { Canceled } from "../../kernel/errors.ts";
import { partialOf, withPartial } from "../../kernel/model-errors.ts";
import { modelFailure } from "./model-failure.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const failure = (thrown: unknown) => modelFailure(thrown, "acme/large", NOW).toJSON();

const KEY = "sk-proj-abcDEF123456";
const PROMPT = "Ann's diagnosis is private";

function apiError(statusCode: number | undefined, fields: object = {}, ApiError: typeof APICallError = APICallError) {
  return new ApiError({
    message: `Invalid value: ${PROMPT}`,
    url: `https://models.example/v1?key=${KEY}`,
    requestBodyValues: { messages: [{ role: "user", content: PROMPT }] },
    responseBody: JSON.stringify({ error: { message: `${KEY}: ${PROMPT}` } }),
    ...(statusCode === undefined ? {} : { statusCode }),
    ...fields,
  });
}

describe("what a model throws", () => {
  test.each([408, 409, 429, 500, 502, 503, 529])("with status %i is that it is not available", (status) => {
    for (const ApiError of [APICallError, APICallErrorV2 as unknown as typeof APICallError])
      expect(failure(apiError(status, {}, ApiError))).toMatchObject({
        code: "model.unavailable",
        kind: "unavailable",
        details: { model: "acme/large", status, reason: `status ${status}` },
      });
  });

  test.each([400, 401, 402, 403, 404, 413, 422])("with status %i is a refusal", (status) => {
    expect(failure(apiError(status))).toMatchObject({
      code: "model.refused",
      kind: "precondition",
      details: { status },
    });
  });

  test("is named by the provider's own word, where it has one", () => {
    const data = { error: { message: PROMPT, type: "invalid_request_error", code: "context_length_exceeded" } };
    expect(failure(apiError(400, { data })).message).toBe(
      'The model "acme/large" refused the request (context_length_exceeded).',
    );
  });

  test("holds neither the prompt nor a key, in no field and no cause", () => {
    const data = { error: { message: PROMPT, type: KEY, code: PROMPT } };
    for (const status of [200, 400, 401, 429, 500, undefined])
      for (const thrown of [
        apiError(status, { data }),
        { error: apiError(status, { data }) },
        { lastError: apiError(status) },
      ]) {
        const error = modelFailure(thrown, "acme/large", NOW);
        const all = [error.message, error.stack, JSON.stringify(error), JSON.stringify(Object.values(error))].join();
        expect(all).not.toContain(KEY);
        expect(all).not.toContain("diagnosis");
        expect(error.cause).toBeUndefined();
      }
  });

  test.each([
    [{ "retry-after": "7" }, 7_000],
    [{ "Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT" }, 30_000],
    [{ "retry-after-ms": "250", "retry-after": "1" }, 250],
    [{ "retry-after-ms": "soon", "retry-after": "1" }, 1_000],
    [new Headers({ "retry-after": "2" }), 2_000],
    [{ "retry-after": "soon" }, undefined],
    [{}, undefined],
    [undefined, undefined],
  ])("and says to wait (%j) is asked again after that", (responseHeaders, expected) => {
    const details = failure({ statusCode: 429, responseHeaders }).details as { retryAfterMs?: number };
    expect(details.retryAfterMs).toBe(expected);
  });

  test.each<[string, unknown, string]>([
    ["a lost connection", apiError(undefined, { isRetryable: true }), "model.unavailable"],
    [
      "fetch's error",
      Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } }),
      "model.unavailable",
    ],
    ["a provider in trouble, in a stream", { type: "overloaded_error", message: PROMPT }, "model.unavailable"],
    ["a status of a stream", { message: PROMPT, code: 503 }, "model.unavailable"],
    ["a limit that the SDK has retried", { name: "AI_RetryError", lastError: apiError(429) }, "model.unavailable"],
    ["an error nobody knows", new Error(PROMPT), "model.unavailable"],
    ["what is no error", PROMPT, "model.unavailable"],
    ["nothing", undefined, "model.unavailable"],
    ["a request that a stream refuses", { type: "invalid_request_error", message: PROMPT }, "model.refused"],
    ["a missing key", new LoadAPIKeyError({ message: "no key" }), "model.refused"],
    ["what the provider cannot do", new UnsupportedFunctionalityError({ functionality: "files" }), "model.refused"],
    ["a page in place of JSON", apiError(200), "model.answer_invalid"],
    ["an answer of another shape", { name: "AI_TypeValidationError", message: PROMPT }, "model.answer_invalid"],
  ])("can be %s", (_, thrown, code) => {
    expect(failure(thrown).code).toBe(code);
  });

  test("stays what it is when it is an error of ours", () => {
    const own = new Canceled({ operation: "agents.run" });
    expect(modelFailure(own, "acme/large", NOW)).toBe(own);
  });
});

test("what had come before an error is beside it, and not in it", () => {
  const error = withPartial(modelFailure(undefined, "acme/large", NOW), { text: PROMPT, reasoning: "" });
  expect(partialOf(error)).toEqual({ text: PROMPT, reasoning: "" });
  expect(JSON.stringify(error) + JSON.stringify(Object.getOwnPropertyDescriptors(error))).not.toContain("diagnosis");
  expect(partialOf(withPartial(new Error("none"), { text: "", reasoning: "" }))).toBeUndefined();
  expect(partialOf("no error")).toBeUndefined();
});
