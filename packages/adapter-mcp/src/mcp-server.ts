import { callHash, type JsonObject, type Principal, parse, type Secret, type ToolRisk } from "@armature/core";
import { z } from "zod";
import { type PinnedTool, pinnedTool } from "./contract.ts";

/** For whom a server is called, and how to read that tenant's secrets. */
export interface McpCaller {
  readonly tenant: string;
  readonly principal: Principal;
  /** The newest version of a secret that the tenant keeps (`secrets.put`), or undefined. */
  secret(name: string): Promise<Secret<string> | undefined>;
}

/** Where the host says otherwise than the server about one tool. */
export interface McpToolOptions {
  /** As models see it; `<server>_<tool>` when absent. */
  readonly name?: string;
  readonly description?: string;
  /** Instead of what follows from the server's annotations. */
  readonly risk?: ToolRisk;
  /** Whether a call may be repeated when it is not known whether it has happened. */
  readonly repeatable?: boolean;
}

/** An MCP server, as `mcpContext` and `mcpTools` take it. Made by `mcpServer`. */
export interface McpServer {
  readonly name: string;
  readonly url: string;
  readonly headers: (caller: McpCaller) => McpHeaders | Promise<McpHeaders>;
  readonly pinned: ReadonlyMap<string, PinnedTool>;
  readonly options: Readonly<Record<string, McpToolOptions>>;
  readonly maxBytes: number;
  readonly recheckMs: number;
}

/** By name. What is undefined is not sent. */
export type McpHeaders = Readonly<Record<string, string | Secret<string> | undefined>>;

/**
 * Names an MCP server whose tools agents may use.
 *
 * @throws {TypeError} the name or the address cannot be, or an option is of a tool that is not pinned
 * @throws {InvalidInput} what is pinned is no list of tools
 */
export function mcpServer(options: {
  /** `crm`: lower-case letters, digits and hyphens. It stands in calls and in the names of tools. */
  readonly name: string;
  /** Its endpoint. Like a provider's: https and public, unless its origin is among the host's `allowedOrigins`. */
  readonly url: string;
  /** What the calls for this caller are sent with, an access token say; nothing when absent. */
  readonly headers?: McpServer["headers"];
  /** What `mcp.check` has shown as `offered`, and somebody has looked at: the tools that may be called. */
  readonly pinned?: readonly unknown[];
  /** By the tool's name. */
  readonly tools?: Readonly<Record<string, McpToolOptions>>;
  /** Longest answer, in bytes; 1 MiB when absent. */
  readonly maxBytes?: number;
  /** For how long the tools of a server that were found to be as pinned are not asked for again, in ms; 60 s when absent. */
  readonly recheckMs?: number;
}): McpServer {
  const { name, maxBytes = 1024 * 1024, recheckMs = 60_000 } = options;
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new TypeError(`The MCP server's name "${name}" must be lower-case letters, digits and hyphens, 32 at most.`);
  const url = URL.parse(options.url);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "" || url.hash !== "")
    throw new TypeError(`The address of the MCP server "${name}" must be http or https, with no password in it.`);
  if (!(maxBytes >= 1) || !(recheckMs >= 0))
    throw new TypeError(`The MCP server "${name}" has a maxBytes or a recheckMs that cannot be.`);
  const tools = parse(z.array(pinnedTool), options.pinned ?? [], `What is pinned of the MCP server "${name}"`);
  const pinned = new Map(tools.map((tool) => [tool.name, tool]));
  if (pinned.size !== tools.length) throw new TypeError(`The MCP server "${name}" has a tool pinned twice.`);
  for (const tool of Object.keys(options.tools ?? {}))
    if (!pinned.has(tool)) throw new TypeError(`The tool "${tool}" of the MCP server "${name}" is not pinned.`);
  return Object.freeze({
    ...{ name, url: url.href, pinned, maxBytes, recheckMs },
    headers: options.headers ?? (() => ({})),
    // A tool may be called "constructor".
    options: Object.assign(Object.create(null), options.tools) as McpServer["options"],
  });
}

/** Names what a server says of a tool: equal descriptions give equal text. */
export function fingerprint(tool: PinnedTool): string {
  return callHash(tool.name, tool as JsonObject);
}

/** Whether a call that may have happened can be made again: it changes nothing, or does the same once more. */
export function isRepeatable({ options, pinned }: McpServer, tool: string): boolean {
  const { readOnlyHint, idempotentHint } = pinned.get(tool)?.annotations ?? {};
  return options[tool]?.repeatable ?? (readOnlyHint === true || idempotentHint === true);
}
