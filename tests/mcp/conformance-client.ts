import { mcpContext, mcpServer } from "@armature/adapter-mcp";
import { createArmature, type Json, type JsonObject } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { z } from "zod";

const CALL_TIMEOUT_MS = 5_000;

const suiteContext = z.looseObject({
  toolCalls: z.array(z.object({ name: z.string(), arguments: z.record(z.string(), z.json()) })).optional(),
});

/** Looks at the tools of a server, pins them, and calls each, as an agent's tools are called. */
export async function callEverything(url: string, context: unknown): Promise<void> {
  const { offered } = await withServer(url, [], (clients) => clients.check({ server: "suite" }));
  const { toolCalls } = suiteContext.parse(context);
  const calls =
    toolCalls ?? offered.map(({ name, inputSchema }) => ({ name, arguments: argumentsFor(inputSchema, offered) }));
  await withServer(url, offered, async (clients) => {
    for (const { name, arguments: given } of calls) {
      const args = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
      await clients
        .invoke({ server: "suite", tool: name, arguments: args }, { timeoutMs: CALL_TIMEOUT_MS })
        .catch(() => undefined); // what became of it is the suite's to judge
    }
  });
}

async function withServer<T>(
  url: string,
  pinned: readonly unknown[],
  use: (clients: McpClients) => Promise<T>,
): Promise<T> {
  const app = await open(url, pinned);
  try {
    return await use(app.as({ tenant: "acme", user: "ann" }).mcp);
  } finally {
    await app.close();
  }
}

function open(url: string, pinned: readonly unknown[]) {
  return createArmature({
    store: inMemory(),
    contexts: [mcpContext([mcpServer({ name: "suite", url, pinned })])],
    allowedOrigins: [new URL(url).origin],
    authorizer: () => true,
    logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  });
}

type McpClients = ReturnType<Awaited<ReturnType<typeof open>>["as"]>["mcp"];

const EXAMPLES: Readonly<Record<string, Json>> = { number: 2, integer: 2, boolean: true, string: "x" };

function argumentsFor(schema: JsonObject, offered: readonly { readonly inputSchema: JsonObject }[]) {
  return Object.fromEntries(
    Object.entries((schema["properties"] ?? {}) as Readonly<Record<string, JsonObject>>).map(([key, { type }]) => [
      key,
      key === "schema" ? offered[0]!.inputSchema : (EXAMPLES[type as string] ?? {}),
    ]),
  ) as Record<string, never>;
}
