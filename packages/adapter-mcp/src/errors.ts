import { defineError } from "@armature/core";
import { z } from "zod";

const place = { server: z.string(), tool: z.string() };

/** What the server offers under this name is not what the host has looked at. Nothing was called. */
export class McpToolChanged extends defineError("mcp.tool_changed", {
  kind: "precondition",
  details: z.object({ ...place, change: z.enum(["changed", "gone"]) }),
  message: ({ server, tool, change }) =>
    change === "gone"
      ? `The MCP server "${server}" has no tool "${tool}" any more.`
      : `The tool "${tool}" of the MCP server "${server}" is no longer what was pinned. It is not called until the host has pinned it again.`,
}) {}

/** The tool ran, and says that it could not do it. */
export class McpToolFailed extends defineError("mcp.tool_failed", {
  kind: "precondition",
  details: z.object({ ...place, text: z.string() }),
  message: ({ server, tool, text }) =>
    `The tool "${tool}" of the MCP server "${server}" failed${text === "" ? "." : `: ${text}`}`,
}) {}

/** The tool wants something of a person or a model before it goes on, and calls are one question and one answer here. */
export class McpInputRequired extends defineError("mcp.input_required", {
  kind: "precondition",
  details: z.object({ ...place, asks: z.array(z.string()) }),
  message: ({ server, tool, asks }) =>
    `The tool "${tool}" of the MCP server "${server}" asks for more before it does anything: ${asks.join("; ")}.`,
}) {}

/** The server takes no call with what the host has given for this caller. */
export class McpUnauthorized extends defineError("mcp.unauthorized", {
  kind: "precondition",
  details: z.object({ server: z.string(), status: z.number() }),
  message: ({ server, status }) =>
    `The MCP server "${server}" does not accept what it was given for this caller (${status}).`,
}) {}

/** The server refused the call as one that it does not understand, or its arguments. Nothing has happened. */
export class McpCallRefused extends defineError("mcp.call_refused", {
  kind: "precondition",
  details: z.object({ ...place, rpcCode: z.number() }),
  message: ({ server, tool, rpcCode }) => `The MCP server "${server}" refused the call of "${tool}" (${rpcCode}).`,
}) {}

/** The server answered, and not as the protocol has it. Whatever was called may have happened. */
export class McpProtocolBroken extends defineError("mcp.protocol_broken", {
  kind: "unavailable",
  details: z.object({ server: z.string(), reason: z.string() }),
  message: ({ server, reason }) => `The MCP server "${server}" does not keep to the protocol: ${reason}.`,
}) {}
