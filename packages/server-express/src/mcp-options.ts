import type { Tool } from "@armature/core";

/** Which operations are offered to MCP clients, and as what. */
export interface McpOptions {
  /** What is offered, and nothing else: `operationTool(crm, "find")`, `connectorTools(hubspot)`. */
  readonly tools: readonly (Tool | readonly Tool[])[];
  /** Path below the router; `/mcp` when absent. */
  readonly path?: `/${string}` | undefined;
  /**
   * Host names that clients reach it under, without port; `localhost` and its addresses when absent. Others are refused,
   * and pages of other origins, so that no page in a browser can pass for one of these by its own name server.
   */
  readonly hosts?: readonly string[] | undefined;
  /** What it calls itself; `armature` when absent. */
  readonly name?: string | undefined;
  /** `1.0.0` when absent. */
  readonly version?: string | undefined;
  /** What a client may tell its model of all the tools. */
  readonly instructions?: string | undefined;
}
