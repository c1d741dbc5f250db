import { action, CircuitOpen, defineContract, json } from "@armature/core";
import { z } from "zod";
import {
  McpCallRefused,
  McpInputRequired,
  McpProtocolBroken,
  McpToolChanged,
  McpToolFailed,
  McpUnauthorized,
} from "./errors.ts";

const name = z.string().min(1).max(128);
const jsonObject = z.record(z.string(), json);

/** A tool as its server describes it: what is compared, and what a host keeps of it. */
export const pinnedTool = z.object({
  name,
  title: z.string().optional(),
  description: z.string().optional(),
  inputSchema: jsonObject,
  outputSchema: jsonObject.optional(),
  annotations: jsonObject.optional(),
});
export type PinnedTool = z.infer<typeof pinnedTool>;

const status = z.enum(["pinned", "changed", "gone", "new"]);
const result = json;
/** What a tool has answered: JSON where it gives any, or else all of its text, or else the blocks of its answer. */
export type McpResult = z.infer<typeof result>;

const contract = defineContract("mcp", {
  invoke: action({
    input: z.strictObject({ server: name, tool: name, arguments: jsonObject.default({}) }),
    output: z.object({ result }),
    permission: "mcp:invoke",
    http: "POST /mcp-servers/{server}/tools/{tool}",
    errors: [
      McpToolChanged,
      McpToolFailed,
      McpInputRequired,
      McpUnauthorized,
      McpCallRefused,
      McpProtocolBroken,
      CircuitOpen,
    ],
    summary: "Calls a tool of an MCP server that the host has pinned.",
    repeatable: "handler",
  }),
  check: action({
    input: z.strictObject({ server: name }),
    output: z.object({
      /** What the server offers now, as it can be pinned. */
      offered: z.array(pinnedTool),
      /** How that compares with what is pinned, by name. */
      comparison: z.array(z.object({ name, status })),
    }),
    permission: "mcp:read",
    http: "POST /mcp-servers/{server}/check",
    errors: [McpUnauthorized, McpProtocolBroken],
    summary: "Asks an MCP server for its tools, and compares them with those that are pinned.",
    repeatable: true,
  }),
});

export interface Mcp extends Readonly<typeof contract> {}

/** Tools of MCP servers: called by agents and callers, and looked at before they are pinned. */
export const mcp: Mcp = contract;
