import { describe, expect, test } from "vitest";
import type { LanguageModel } from "../../kernel/language-model.ts";
import {
  ModelAborted,
  ModelAnswerInvalid,
  ModelRefused,
  ModelTimeout,
  ModelUnavailable,
  ModelUnknown,
  partialOf,
} from "../../kernel/model-errors.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import { attemptsOf, ModelClient, type ModelClientOptions } from "./model-client.ts";
import type { ModelRequest } from "./model-prompt.ts";
import type { ModelDelta } from "./model-stream.ts";

const hello: ModelRequest = { messages: [{ role: "user", content: [{ type: "text", text: "Hello" }] }] };
const limited = (seconds?: number) => ({
  fails: { status: 429, ...(seconds === undefined ? {} : { headers: { "retry-after": String(seconds) } }) },
});
const down = { fails: { status: 503 } };

function setup(models: Record<string, LanguageModel>, options: Partial<ModelClientOptions> = {}) {
  const clock = fixedClock();
  const client = new ModelClient({ models, clock, random: () => 0.5, ...options });
  return { clock, client };
}

/** Moves the time to where the client's next wait ends; `timeouts` of attempts are sleepers too. */
async function waited(clock: ReturnType<typeof fixedClock>, ms: number): Promise<void> {
  await clock.untilSleeping(1, ms);
  await clock.advance(ms);
}

const outcomes = (attempts: readonly { readonly name: string; readonly outcome: string }[]) =>
  attempts.map(({ name, outcome }) => `${name} ${outcome}`);

describe("a call", () => {
  test("gives the turn, who gave it, what it took and what it cost", async () => {
    const model = new ScriptedModel(["Hello, Ann."], { provider: "acme.chat", modelId: "large" });
    const prices = { currency: "EUR", models: { "acme/large": { inputPerMillion: 1, outputPerMillion: 2 } } };
    const { client } = setup({ default: model }, { prices });
    expect(await client.call(hello)).toMatchObject({
      turn: { text: "Hello, Ann.", finishReason: "stop" },
      model: { name: "default", provider: "acme.chat", modelId: "large" },
      attempts: [{ name: "default", model: "acme.chat/large", outcome: "answered", durationMs: 0 }],
      cost: { known: true, currency: "EUR", nanos: 20_000 },
    });
    model.assertComplete();
  });

  test("without a price in the catalogue says that its cost is not known", async () => {
    const { client } = setup({ default: new ScriptedModel(["Hello."]) });
    expect((await client.call(hello)).cost).toEqual({ known: false, reason: "no-price" });
  });

  test("asks again when the model is not available, each time after a longer wait", async () => {
    const model = new ScriptedModel([down, down, "At last."]);
    const { client, clock } = setup({ default: model });
    const call = client.call(hello);
    await waited(clock, 375);
    expect(model.calls).toHaveLength(2);
    await clock.advance(749);
    expect(model.calls).toHaveLength(2);
    await clock.advance(1);
    expect(outcomes((await call).attempts)).toEqual([
      "default model.unavailable",
      "default model.unavailable",
      "default answered",
    ]);
    expect(clock.sleeping).toBe(0);
  });

  test("waits as long as the provider asks", async () => {
    const model = new ScriptedModel([limited(30), "At last."]);
    const { client, clock } = setup({ default: model });
    const call = client.call(hello);
    await clock.untilSleeping(1, 30_000);
    await clock.advance(29_999);
    expect(model.calls).toHaveLength(1);
    await clock.advance(1);
    expect((await call).turn.text).toBe("At last.");
  });

  test("leaves a provider alone that asks for a longer wait than is worth it, and says how long", async () => {
    const { client, clock } = setup({ default: new ScriptedModel([limited(3_600)]) });
    const error = await client.call(hello).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelUnavailable);
    expect(error.details).toMatchObject({ status: 429, retryAfterMs: 3_600_000 });
    expect(clock.now()).toBe(fixedClock().now());
  });

  test("does not wait past its deadline", async () => {
    const { client, clock } = setup({ default: new ScriptedModel([limited(30)]) });
    await expect(client.call(hello, { deadline: clock.now() + 30_000 })).rejects.toThrow(ModelUnavailable);
  });

  test("whose deadline is over asks nobody", async () => {
    const model = new ScriptedModel([]);
    const { client, clock } = setup({ default: model });
    await expect(client.call(hello, { deadline: clock.now() })).rejects.toThrow(ModelTimeout);
    expect(model.calls).toEqual([]);
  });

  test("gives up after its attempts, and tells them", async () => {
    const model = new ScriptedModel([down, { cut: true }]);
    const { client, clock } = setup({ default: model }, { retry: { attempts: 2, backoffMs: 100 } });
    const call = client.call(hello).catch((error) => error);
    await waited(clock, 75);
    const error = await call;
    expect(error).toBeInstanceOf(ModelUnavailable);
    expect(error.details.reason).toBe("UND_ERR_SOCKET");
    expect(outcomes(attemptsOf(error))).toEqual(["default model.unavailable", "default model.unavailable"]);
  });

  test("is not repeated when it is refused, nor is another model asked", async () => {
    const model = new ScriptedModel([{ fails: { status: 401, code: "invalid_api_key" } }]);
    const other = new ScriptedModel([]);
    const { client } = setup({ default: model, other });
    const error = await client.call(hello, { models: ["default", "other"] }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelRefused);
    expect(error.details).toEqual({ model: "scripted/scripted", reason: "invalid_api_key", status: 401 });
    model.assertComplete();
    other.assertComplete();
  });

  test("goes to the next model when the first stays unavailable", async () => {
    const first = new ScriptedModel([down, limited(3_600)]);
    const second = new ScriptedModel(["Here."], { modelId: "small" });
    const { client, clock } = setup({ default: first, fast: second });
    const call = client.call(hello, { models: ["default", "fast"] });
    await waited(clock, 375);
    const { model, attempts } = await call;
    expect(model).toEqual({ name: "fast", provider: "scripted", modelId: "small" });
    expect(outcomes(attempts)).toEqual(["default model.unavailable", "default model.unavailable", "fast answered"]);
    first.assertComplete();
  });

  test("goes to the next model at once when the first is too slow", async () => {
    const first = new ScriptedModel([{ hangs: true }]);
    const { client, clock } = setup({ default: first, fast: new ScriptedModel(["Here."]) });
    const call = client.call(hello, { models: ["default", "fast"], timeoutMs: 5_000 });
    await waited(clock, 5_000);
    expect((await call).model.name).toBe("fast");
    expect(first.calls[0]?.givenUp).toBe(true);
  });

  test("asks a slow model again when there is no other", async () => {
    const { client, clock } = setup(
      { default: new ScriptedModel([{ hangs: true }, { hangs: true }]) },
      { retry: { attempts: 2 } },
    );
    const call = client.call(hello, { timeoutMs: 1_000 }).catch((error) => error);
    await waited(clock, 1_000);
    await waited(clock, 375);
    await waited(clock, 1_000);
    const error = await call;
    expect(error).toBeInstanceOf(ModelTimeout);
    expect(error.details).toEqual({ model: "scripted/scripted", timeoutMs: 1_000 });
    expect(attemptsOf(error).map(({ durationMs }) => durationMs)).toEqual([1_000, 1_000]);
  });

  test("does not wait for a model that does not heed its signal", async () => {
    const deaf: LanguageModel = {
      specificationVersion: "v4",
      provider: "acme",
      modelId: "deaf",
      doGenerate: () => new Promise(() => {}),
      doStream: () => new Promise(() => {}),
    };
    const { client, clock } = setup({ default: deaf }, { retry: { attempts: 1 } });
    for (const onDelta of [undefined, () => {}]) {
      const call = client.call(hello, { timeoutMs: 1_000, ...(onDelta && { onDelta }) }).catch((error) => error);
      await waited(clock, 1_000);
      expect(await call).toBeInstanceOf(ModelTimeout);
    }
  });

  test("that gives garbage is asked again", async () => {
    let asked = 0;
    const model: LanguageModel = {
      specificationVersion: "v3",
      provider: "acme",
      modelId: "odd",
      doGenerate: async () => (++asked === 1 ? { content: "text" } : { content: [{ type: "text", text: "Well." }] }),
      doStream: async () => ({}),
    };
    const { client, clock } = setup({ default: model });
    const call = client.call(hello);
    await waited(clock, 375);
    expect(outcomes((await call).attempts)).toEqual(["default model.answer_invalid", "default answered"]);
    const streamed = client.call(hello, { onDelta: () => {} }).catch((error) => error);
    await waited(clock, 375);
    await waited(clock, 750);
    expect(await streamed).toBeInstanceOf(ModelAnswerInvalid);
  });

  test("knows the ids of tool calls that the conversation has", async () => {
    const again = { id: "call_0", name: "find" };
    const { client } = setup({ default: new ScriptedModel([{ toolCalls: [again, again] }]) });
    const messages: ModelRequest["messages"] = [
      { role: "assistant", content: [{ type: "tool-call", ...again, arguments: {} }] },
    ];
    expect((await client.call({ messages })).turn.toolCalls.map(({ id }) => id)).toEqual(["call_0_2", "call_0_3"]);
  });

  test("names models that the host has, and at least one", async () => {
    const model = new ScriptedModel([]);
    const { client } = setup({ default: model });
    await expect(client.call(hello, { models: ["default", "toString"] })).rejects.toThrow(
      new ModelUnknown({ name: "toString" }),
    );
    await expect(client.call(hello, { models: [] })).rejects.toThrow(TypeError);
    expect(model.calls).toEqual([]);
  });

  test("that runs out of a script is a mistake of the test, and not repeated", async () => {
    const model = new ScriptedModel([]);
    const { client } = setup({ default: model });
    await expect(client.call(hello)).rejects.toThrow(
      'The scripted model "scripted" has 0 turns and was asked once more.',
    );
    expect(() => model.assertComplete()).toThrow("asked once more");
  });
});

describe("a client", () => {
  test("takes no model of a version that it does not speak", () => {
    const old = {
      specificationVersion: "v1",
      provider: "acme",
      modelId: "old",
      doGenerate: async () => ({}),
      doStream: async () => ({}),
    };
    expect(() => setup({ default: old })).toThrow('The model "default" speaks version "v1"');
  });

  test("takes no prices that cannot be reckoned with", () => {
    const prices = { currency: "EUR", models: { large: { inputPerMillion: -1, outputPerMillion: 0 } } };
    expect(() => setup({}, { prices })).toThrow(
      "The model prices is not valid: models.large.inputPerMillion must be at least 0.",
    );
  });

  test("runs each attempt in what is around it, and tells who debugs what was thrown", async () => {
    const seen: string[] = [];
    const failure = new Error("the original");
    const model = new ScriptedModel([{ fails: failure }, "Well."]);
    const { client, clock } = setup(
      { default: model },
      {
        around: async ({ name, attempt, streamed }, run) => {
          seen.push(`${name} ${attempt} ${streamed}`);
          return run();
        },
        onFailure: ({ error, original }) => seen.push(`${error.name} ${original === failure}`),
      },
    );
    const call = client.call(hello);
    await waited(clock, 375);
    await call;
    expect(seen).toEqual(["default 1 false", "ModelUnavailable true", "default 2 false"]);
  });
});

describe("a streamed call", () => {
  test.each(["v2", "v3", "v4"] as const)(
    "gives the same turn as one that is not, by %s",
    async (specificationVersion) => {
      const answer = {
        reasoning: "Hm.",
        text: ["Hel", "lo"],
        toolCalls: [
          { id: "c1", name: "find", arguments: { q: "bikes" } },
          { id: "c2", name: "find", arguments: "{" },
        ],
        usage: { inputTokens: 7, cachedInputTokens: 2, outputTokens: 9, reasoningTokens: 1 },
      };
      const model = new ScriptedModel([answer, answer], { specificationVersion });
      const { client } = setup({ default: model });
      const deltas: ModelDelta[] = [];
      const { turn: streamed } = await client.call(hello, { onDelta: (delta) => deltas.push(delta) });
      const { turn: whole } = await client.call(hello);
      expect({ ...streamed, response: {} }).toEqual({ ...whole, response: {} });
      expect(streamed.text).toBe("Hello");
      expect(deltas.slice(0, 3)).toEqual([
        { type: "reasoning", text: "Hm." },
        { type: "text", text: "Hel" },
        { type: "text", text: "lo" },
      ]);
      expect(model.calls.map(({ streamed }) => streamed)).toEqual([true, false]);
    },
  );

  test("that is given up half-way keeps what had come, and lets go of the stream", async () => {
    const model = new ScriptedModel([{ reasoning: "Hm.", text: ["Hel", "lo"], hangs: true }]);
    const { client, clock } = setup({ default: model });
    const giveUp = new AbortController();
    const call = client.call(hello, {
      signal: giveUp.signal,
      onDelta: (delta) => {
        if (delta.type === "text" && delta.text === "lo") giveUp.abort(new Error("enough"));
      },
    });
    const error = await call.catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAborted);
    expect(partialOf(error)).toEqual({ text: "Hello", reasoning: "Hm." });
    expect(JSON.stringify(error)).not.toContain("Hel");
    expect(model.calls[0]?.givenUp).toBe(true);
    expect(clock.sleeping).toBe(0);
  });

  test("that is given up before it begins, or while it waits, asks nobody", async () => {
    const model = new ScriptedModel([limited(30)]);
    const { client, clock } = setup({ default: model });
    await expect(client.call(hello, { signal: AbortSignal.abort() })).rejects.toThrow(ModelAborted);
    expect(model.calls).toHaveLength(0);
    const giveUp = new AbortController();
    const call = client.call(hello, { signal: giveUp.signal });
    await clock.untilSleeping(1, 30_000);
    giveUp.abort();
    await expect(call).rejects.toThrow(ModelAborted);
    expect(clock.sleeping).toBe(0);
  });

  test("that breaks off is begun anew, which who watches is told", async () => {
    const model = new ScriptedModel([
      { text: ["Hel"], cut: true },
      { text: ["Hel"], fails: { status: 529, code: "overloaded_error" } },
      { text: ["Hello"] },
    ]);
    const { client, clock } = setup({ default: model });
    const deltas: ModelDelta[] = [];
    const call = client.call(hello, { onDelta: (delta) => deltas.push(delta) });
    await waited(clock, 375);
    await waited(clock, 750);
    expect((await call).turn.text).toBe("Hello");
    const text = (each: string) => ({ type: "text", text: each });
    expect(deltas).toEqual([text("Hel"), { type: "restarted" }, text("Hel"), { type: "restarted" }, text("Hello")]);
  });

  test("has its answer when all that is missing is the end of the stream", async () => {
    const parts = [
      { type: "text-delta", id: "t", delta: "Hello" },
      { type: "finish", finishReason: "stop" },
    ];
    const model: LanguageModel = {
      specificationVersion: "v2",
      provider: "acme",
      modelId: "endless",
      doGenerate: async () => ({}),
      doStream: async () => ({
        stream: new ReadableStream({
          start: (controller) => {
            for (const part of parts) controller.enqueue(part);
          },
        }),
      }),
    };
    const { client, clock } = setup({ default: model });
    const shown = Promise.withResolvers<ModelDelta>();
    const call = client.call(hello, { timeoutMs: 1_000, onDelta: shown.resolve });
    await shown.promise;
    await clock.advance(0);
    await waited(clock, 1_000);
    expect((await call).turn).toMatchObject({ text: "Hello", finishReason: "stop" });
  });

  test("that ends before the model was done is no answer", async () => {
    const model: LanguageModel = {
      specificationVersion: "v4",
      provider: "acme",
      modelId: "short",
      doGenerate: async () => ({}),
      doStream: async () => ({ stream: ReadableStream.from([{ type: "text-delta", id: "t", delta: "Hel" }]) }),
    };
    const { client } = setup({ default: model }, { retry: { attempts: 1 } });
    const error = await client.call(hello, { onDelta: () => {} }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelAnswerInvalid);
    expect(partialOf(error)).toEqual({ text: "Hel", reasoning: "" });
  });

  test("is not disturbed by who watches it", async () => {
    const { client } = setup({ default: new ScriptedModel([{ text: ["Hel", "lo"] }]) });
    let told = 0;
    const onDelta = () => {
      told += 1;
      throw new Error("a defect");
    };
    expect((await client.call(hello, { onDelta })).turn.text).toBe("Hello");
    expect(told).toBe(1);
  });

  test("that comes when nobody waits any more is let go", async () => {
    let letGo = false;
    const opened = Promise.withResolvers<object>();
    const model: LanguageModel = {
      specificationVersion: "v4",
      provider: "acme",
      modelId: "late",
      doGenerate: async () => ({}),
      doStream: () => opened.promise,
    };
    const { client, clock } = setup({ default: model }, { retry: { attempts: 1 } });
    const call = client.call(hello, { timeoutMs: 1_000, onDelta: () => {} }).catch((error) => error);
    await waited(clock, 1_000);
    expect(await call).toBeInstanceOf(ModelTimeout);
    const cancel = () => {
      letGo = true;
    };
    opened.resolve({ stream: new ReadableStream({ cancel }) });
    await new Promise((resolve) => setImmediate(resolve));
    expect(letGo).toBe(true);
  });
});
