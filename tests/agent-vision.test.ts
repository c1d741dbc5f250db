import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createArmature, defineAgent } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger } from "@armature/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { ChatServer, completion, status } from "./models/chat-server.ts";

let server: ChatServer;
beforeAll(async () => {
  server = await new ChatServer().start();
});
afterAll(() => server.stop());

// One pixel.
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const image = { type: "file", mediaType: "image/png", source: { type: "base64", base64: PNG } } as const;
const linked = {
  type: "file",
  mediaType: "image/jpeg",
  source: { type: "url", url: "https://cards.example/front.jpg" },
} as const;
const question = { type: "text", text: "Grade this card." } as const;

const grader = defineAgent({
  id: "card-grader",
  summary: "Grades cards by their picture.",
  instructions: "Grade the condition of the card from 1 to 10.",
  taskTypes: ["vision-grading"],
  output: z.strictObject({ grade: z.int().min(1).max(10), flaws: z.array(z.string()) }),
});

async function started() {
  const provider = createOpenAICompatible({
    ...{ name: "acme", baseURL: server.baseURL, apiKey: "sk-1", supportsStructuredOutputs: true },
  });
  const logger = recordingLogger();
  const store = inMemory();
  const app = await createArmature({
    ...{ store, logger, authorizer: () => true, agents: [grader], models: { default: provider("vision") } },
  });
  return { app, store, logger, acme: app.as({ tenant: "acme", user: "ann" }) };
}

test("a picture is graded over the wire, as bytes and as an address, and stands in its message alone", async () => {
  const { app, store, logger, acme } = await started();
  try {
    const graded = { grade: 7, flaws: ["a soft corner"] };
    server.answers(
      status(200, completion({ content: "It is a nice card." })),
      status(200, completion({ content: JSON.stringify(graded) })),
    );
    const input = [question, image, linked];
    const { runId, conversationId } = await acme.agents.run({ taskType: "vision-grading", input });
    await app.settled();
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", output: graded });
    const asked = server.requests.map(({ body }) => body.messages.find(({ role }) => role === "user"));
    expect(asked[0]).toEqual({
      role: "user",
      content: [
        { type: "text", text: question.text },
        { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } },
        { type: "image_url", image_url: { url: linked.source.url } },
      ],
    });
    // The repair reads it again.
    expect(asked[1]).toEqual(asked[0]);
    expect(server.requests[0]!.body["response_format"]).toMatchObject({ type: "json_schema" });
    const { items } = await acme.agents.messages({ conversationId });
    expect(items[0]!.content).toEqual(input);
    const events = await store.events("acme", { contexts: ["agents"], limit: 100 });
    const rows = await acme.audit.list({});
    expect(rows.items.length).toBeGreaterThan(0);
    expect(JSON.stringify([events, rows, logger.entries])).not.toContain(PNG.slice(0, 40));
  } finally {
    await app.close();
  }
});

test("what is no picture, is too large, or nobody can read is refused before a model is asked", async () => {
  const { app, acme } = await started();
  try {
    server.answers();
    const run = (part: object) =>
      acme.agents.run({ agent: "card-grader", input: [question, { ...image, ...part } as typeof image] });
    const refusals: readonly [object, string][] = [
      [{ mediaType: "picture" }, "mediaType"],
      [{ source: { type: "base64", base64: "not base64!" } }, "base64"],
      [{ source: { type: "url", url: "http://cards.example/front.jpg" } }, "url"],
      [{ source: { type: "base64", base64: "A".repeat(28_000_004) } }, "at most 20 MiB"],
    ];
    for (const [part, sentence] of refusals) {
      const error = await run(part).catch((thrown) => thrown);
      expect(error, sentence).toMatchObject({ code: "invalid_input", kind: "invalid" });
      expect(error.message).toContain(sentence);
      expect(error.message.length).toBeLessThan(500);
    }
    expect((await acme.agents.listRuns()).items).toEqual([]);
    // One that the model does not take.
    const { runId } = await run({ mediaType: "application/zip" });
    await app.settled();
    const failed = await acme.agents.get({ runId });
    expect(failed).toMatchObject({ status: "failed", error: { code: "model.refused" } });
    expect(JSON.stringify(failed)).not.toContain(PNG.slice(0, 40));
    expect(server.requests).toEqual([]);
  } finally {
    await app.close();
  }
});
