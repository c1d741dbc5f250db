import {
  action,
  createArmature,
  defineContext,
  defineContract,
  defineError,
  operationTool,
  query,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { armatureRouter } from "@armature/server-express";
import express from "express";
import { z } from "zod";

class Intended extends defineError("suite.intended", {
  kind: "precondition",
  details: z.object({}),
  message: () => "This tool intentionally returns an error for testing",
}) {}

const nothing = z.strictObject({});
const suite = defineContract("suite", {
  simpleText: query({
    input: nothing,
    output: z.string(),
    permission: "suite:read",
    summary: "Answers with a text.",
  }),
  failing: action({ input: nothing, errors: [Intended], permission: "suite:read", summary: "Fails." }),
  jsonSchema: query({
    input: z.strictObject({ name: z.string().optional(), street: z.string().optional() }),
    output: z.object({ name: z.string().optional() }),
    permission: "suite:read",
    summary: "Takes some fields.",
  }),
});

const suiteContext = defineContext(suite, {
  handlers: {
    simpleText: () => "This is a simple text response for testing.",
    failing: () => {
      throw new Intended({});
    },
    jsonSchema: ({ name }) => ({ name }),
  },
});

/** An app of ours with the tools that the protocol's own suite calls, as far as operations can be such tools. */
export async function conformanceServer() {
  const app = await createArmature({ store: inMemory(), contexts: [suiteContext], authorizer: () => true });
  const router = armatureRouter(app, {
    authenticate: () => ({ tenant: "acme", user: "ann" }),
    mcp: {
      tools: [
        operationTool(suite, "simpleText", { name: "test_simple_text" }),
        operationTool(suite, "failing", { name: "test_error_handling" }),
        operationTool(suite, "jsonSchema", { name: "suite_fields" }),
      ],
    },
  });
  const server = express().use("/api", router).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { readonly port: number };
  return {
    url: `http://localhost:${port}/api/mcp`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await app.close();
    },
  };
}
