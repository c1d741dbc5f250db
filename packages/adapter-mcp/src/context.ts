import {
  type ActionContext,
  ArmatureError,
  CircuitOpen,
  defineContext,
  InvalidInput,
  NotFound,
  UnknownOutcome,
} from "@armature/core";
import { type Mcp, type McpResult, mcp, type PinnedTool } from "./contract.ts";
import { McpProtocolBroken, McpToolChanged } from "./errors.ts";
import { JsonSchemas } from "./json-schemas.ts";
import { KnownServers } from "./known-servers.ts";
import type { McpConnection } from "./mcp-connection.ts";
import { fingerprint, isRepeatable, type McpServer } from "./mcp-server.ts";

type Ctx = ActionContext<Mcp, never>;

/**
 * The context whose operations are calls of these MCP servers: give it to `createArmature` with the agents that have
 * their tools.
 *
 * @throws {TypeError} two servers have one name
 */
export function mcpContext(servers: readonly McpServer[]) {
  const byName = new Map(servers.map((server) => [server.name, server]));
  if (byName.size !== servers.length) throw new TypeError("Two MCP servers have the same name.");
  const find = (name: string) => {
    const server = byName.get(name);
    if (server === undefined) throw new NotFound({ type: "MCP server", id: name });
    return server;
  };
  const schemas = new JsonSchemas();
  const known = new KnownServers();

  return defineContext(mcp, {
    handlers: {
      invoke: async ({ server: name, tool: toolName, arguments: args }, ctx) => {
        const server = find(name);
        const tool = server.pinned.get(toolName);
        if (tool === undefined) throw new NotFound({ type: "MCP tool", id: `${name}/${toolName}` });
        const repeatable = isRepeatable(server, toolName);
        if (ctx.attempt > 1 && !repeatable) throw new UnknownOutcome({ operation: `${name}/${toolName}` });
        const misfit = await schemas.misfit(tool.inputSchema, args);
        if (misfit !== undefined)
          throw new InvalidInput({
            subject: `The input of ${name}/${toolName}`,
            issues: [{ path: "", message: misfit }],
          });
        const connection = await beforehand(name, repeatable, () => pinnedConnection(ctx, server, tool));
        try {
          const { structured, result } = await connection.call(tool, args);
          if (tool.outputSchema !== undefined && (await schemas.misfit(tool.outputSchema, structured)) !== undefined)
            throw new McpProtocolBroken({ server: name, reason: "its answer is not of the shape that was pinned" });
          return { result: result as McpResult };
        } finally {
          await connection.close();
        }
      },

      check: async ({ server: name }, ctx) => {
        const server = find(name);
        const connection = await connect(ctx, server, undefined);
        try {
          const offered = await connection.tools();
          return { offered: [...offered], comparison: compare(server, offered) };
        } finally {
          await connection.close();
        }
      },
    },
  });

  /** A connection to the server, which offers the tool as it was pinned. */
  async function pinnedConnection(ctx: Ctx, server: McpServer, tool: PinnedTool): Promise<McpConnection> {
    const now = ctx.clock.now();
    const found = known.find(server, ctx.principal, now);
    const connection = await connect(ctx, server, found?.discovery);
    try {
      const fingerprints = found?.fingerprints ?? fingerprintsOf(await connection.tools());
      if (found === undefined)
        known.keep(server, ctx.principal, { discovery: connection.discovery, fingerprints, checkedAt: now });
      const offered = fingerprints.get(tool.name);
      if (offered === fingerprint(tool)) return connection;
      known.forget(server, ctx.principal);
      throw new McpToolChanged({
        ...{ server: server.name, tool: tool.name },
        change: offered === undefined ? "gone" : "changed",
      });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }
}

// The protocol's library loads with the first call.
const connect: typeof McpConnection.open = async (...given) =>
  (await import("./mcp-connection.ts")).McpConnection.open(...given);

// Nothing was called yet, and a call that must not be repeated has to know that.
async function beforehand<T>(server: string, repeatable: boolean, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const passing = error instanceof ArmatureError && (error.kind === "unavailable" || error.kind === "timeout");
    if (repeatable || !passing) throw error;
    throw new CircuitOpen({ provider: server, retryAfterMs: 1_000 }, { cause: error });
  }
}

function fingerprintsOf(tools: readonly PinnedTool[]): ReadonlyMap<string, string> {
  return new Map(tools.map((tool) => [tool.name, fingerprint(tool)]));
}

function compare({ pinned }: McpServer, offered: readonly PinnedTool[]) {
  const fingerprints = fingerprintsOf(offered);
  const ours = [...pinned.values()].map((tool) => {
    const theirs = fingerprints.get(tool.name);
    const status = theirs === undefined ? "gone" : theirs === fingerprint(tool) ? "pinned" : "changed";
    return { name: tool.name, status } as const;
  });
  const news = offered.filter(({ name }) => !pinned.has(name)).map(({ name }) => ({ name, status: "new" as const }));
  return [...ours, ...news];
}
