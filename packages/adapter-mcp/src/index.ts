export { mcpContext } from "./context.ts";
export { type Mcp, type McpResult, mcp, type PinnedTool } from "./contract.ts";
export {
  McpCallRefused,
  McpInputRequired,
  McpProtocolBroken,
  McpToolChanged,
  McpToolFailed,
  McpUnauthorized,
} from "./errors.ts";
export { type McpCaller, type McpHeaders, type McpServer, type McpToolOptions, mcpServer } from "./mcp-server.ts";
export { mcpTools } from "./mcp-tools.ts";
