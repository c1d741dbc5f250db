import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ModelOutputInvalid, ModelRefused } from "../../kernel/model-errors.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { ModelClient } from "./model-client.ts";
import { askForOutput, callsOf, readOutput } from "./model-output.ts";
import type { ModelRequest } from "./model-prompt.ts";
import type { ModelDelta } from "./model-stream.ts";

const contact = z.object({
  name: z.string(),
  age: z.int().min(0).optional(),
  tags: z.array(z.strictObject({ tag: z.string() })).default([]),
});

const request: ModelRequest = {
  messages: [
    { role: "system", content: "You read cards." },
    { role: "user", content: [{ type: "text", text: "Ann, 41" }] },
  ],
};

function setup(...turns: ScriptedTurn[]) {
  const model = new ScriptedModel(turns);
  const client = new ModelClient({ models: { default: model }, clock: fixedClock(), random: () => 0 });
  return { model, client };
}

describe("an output", () => {
  test("is asked for by schema, in the request and in the instructions, and parsed", async () => {
    const { model, client } = setup('{"name":"Ann","age":41}');
    const { output, calls } = await askForOutput(client, contact, { ...request, name: "contact" });
    expect(output).toEqual({ name: "Ann", age: 41, tags: [] });
    expect(calls).toHaveLength(1);
    const schema = {
      type: "object",
      properties: {
        name: { type: "string" },
        age: { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
        tags: {
          default: [],
          type: "array",
          items: {
            type: "object",
            properties: { tag: { type: "string" } },
            required: ["tag"],
            additionalProperties: false,
          },
        },
      },
      required: ["name"],
      additionalProperties: false,
    };
    const [{ options, prompt }] = model.calls as [(typeof model.calls)[0]];
    expect(options["responseFormat"]).toEqual({ type: "json", name: "contact", schema });
    expect(prompt.map(({ role }) => role)).toEqual(["system", "user"]);
    expect(prompt[0]?.content).toMatch(/^You read cards\.\n\nAnswer with JSON only/);
    expect(prompt[0]?.content).toContain(JSON.stringify(schema));
  });

  test("brings its instructions where there were none", async () => {
    const { model, client } = setup('{"name":"Ann"}');
    await askForOutput(client, contact, { messages: request.messages.slice(1) });
    expect(model.calls[0]?.prompt.map(({ role }) => role)).toEqual(["system", "user"]);
  });

  test("that does not fit is mended once: the model is told what is wrong", async () => {
    const { model, client } = setup('{"name":"Ann","age":"41"}', '{"name":"Ann","age":41}');
    const deltas: ModelDelta[] = [];
    const { output, calls } = await askForOutput(client, contact, request, { onDelta: (delta) => deltas.push(delta) });
    expect(output).toMatchObject({ age: 41 });
    expect(calls).toHaveLength(2);
    expect(model.calls[1]?.prompt.slice(2)).toEqual([
      { role: "assistant", content: [{ type: "text", text: '{"name":"Ann","age":"41"}' }] },
      {
        role: "user",
        content: [{ type: "text", text: expect.stringContaining("\n- age must be a number, not text.\n") }],
      },
    ]);
    expect(deltas.filter(({ type }) => type === "restarted")).toHaveLength(1);
    model.assertComplete();
  });

  test("that does not fit after that is an error, which tells where and what it has cost", async () => {
    const { client, model } = setup("I would rather not.", '{"name":7}');
    const error = await askForOutput(client, contact, request).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelOutputInvalid);
    expect(error.toJSON()).toEqual({
      code: "model.output_invalid",
      kind: "unavailable",
      message: 'The output of the model "scripted/scripted" does not fit its schema: name must be text, not a number.',
      details: { model: "scripted/scripted", issues: [{ path: "name", message: "must be text, not a number" }] },
    });
    expect(callsOf(error)).toHaveLength(2);
    model.assertComplete();
  });

  test("fails as its call does, and tells of the call before", async () => {
    const { client } = setup("no", { fails: { status: 400 } });
    const error = await askForOutput(client, contact, request).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ModelRefused);
    expect(callsOf(error)).toHaveLength(1);
    expect(callsOf("no error")).toEqual([]);
  });
});

describe("an answer is read", () => {
  const read = (text: string, structuredText?: string) =>
    readOutput(z.object({ a: z.int() }), { text, ...(structuredText === undefined ? {} : { structuredText }) });

  test.each([
    '{"a":1}',
    ' \n{"a":1}\n',
    '```json\n{"a":1}\n```',
    '```\n{"a":1}\n```',
    'Sure! Here it is:\n```JSON\n{\n  "a": 1\n}\n```\nAnything else?',
    'First I thought ```json\n{"a":"no"}\n``` but it is ```json\n{"a":1}\n```',
    'The answer is {"a":1}.',
  ])("from %j", (text) => {
    expect(read(text)).toEqual({ ok: true, value: { a: 1 } });
  });

  test("from a list too", () => {
    expect(readOutput(z.array(z.int()), { text: "It is [1,2]!" })).toEqual({ ok: true, value: [1, 2] });
  });

  test("from what the provider says is the output, and nothing else then", () => {
    expect(read("Drafts.", '{"a":1}').ok).toBe(true);
    expect(read('{"a":1}', "").ok).toBe(false);
  });

  test.each(["", "{", "no", '{"a":1'])("from %j only to say that it is no JSON", (text) => {
    expect(read(text)).toEqual({ ok: false, issues: [{ path: "", message: "is not valid JSON" }] });
  });
});
