import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createArmature, defineAgent } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { recordingLogger, ScriptedModel } from "@armature/core/testing";
import { armatureRouter } from "@armature/server-express";
import express from "express";
import { expect, test } from "vitest";

const poet = defineAgent({ id: "poet", summary: "Writes.", instructions: "Write." });

interface SentEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: { readonly type?: string; readonly text?: string; readonly [field: string]: unknown };
}

/** Server-sent events as they come over the wire. */
async function* eventsOf(response: Response): AsyncIterable<SentEvent> {
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data !== undefined) yield { id: field("id"), event: field("event"), data: JSON.parse(data) };
    }
  }
}

test("over HTTP an answer comes piece by piece, and a client that was cut off goes on where it was", async () => {
  const written = Promise.withResolvers<void>();
  const model = new ScriptedModel([
    async () => {
      await written.promise;
      return { text: ["Roses ", "are "], hangs: true };
    },
  ]);
  const app = await createArmature({
    ...{ store: inMemory(), logger: recordingLogger(), authorizer: () => true },
    ...{ agents: [poet], models: { default: model } },
  });
  const web = express().use(armatureRouter(app, { authenticate: async () => ({ tenant: "acme", user: "ann" }) }));
  const server = web.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = async (path: string, body: object): Promise<{ readonly runId: string }> => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${origin}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    return response.status === 204 ? { runId: "" } : ((await response.json()) as { runId: string });
  };
  const follow = (runId: string, headers: Record<string, string> = {}) =>
    fetch(`${origin}/agents/runs/${runId}/events`, { headers });
  try {
    const { runId } = await post("/agents/runs", { agent: "poet", input: "Write.", streamed: true });
    const seen: SentEvent[] = [];
    const textOf = () => seen.map(({ data }) => (data.type === "delta" ? data.text : "")).join("");
    for await (const event of eventsOf(await follow(runId))) {
      seen.push(event);
      if (event.data.type === "status") written.resolve();
      // Here the client hangs up.
      if (textOf() === "Roses are ") break;
    }
    const durable = seen.filter(({ data }) => data.type !== "delta");
    expect(durable.map(({ data }) => data.type)).toEqual(["message", "status"]);
    const lastId = seen.at(-1)!.id!;
    expect(lastId).toBe(durable.at(-1)!.id);

    const again = await follow(runId, { "last-event-id": lastId });
    await post(`/agents/runs/${runId}/cancel`, { reason: "Enough." });
    const rest: SentEvent[] = [];
    for await (const event of eventsOf(again)) rest.push(event);
    // What is under way is told of from its beginning: it was under no cursor.
    expect(rest[0]!.data).toMatchObject({ type: "delta", offset: 0, text: "Roses are " });
    expect(rest.slice(-2).map(({ event, data }) => event ?? data.type)).toEqual(["status", "end"]);
    expect(rest.at(-2)!.data).toMatchObject({ run: { status: "canceled" } });
  } finally {
    await app.close();
    server.closeAllConnections();
    server.close();
  }
});
