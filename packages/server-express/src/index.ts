export { armatureRouter, type RouterOptions } from "./armature-router.ts";
export { ConfigInvalid, readConfig, type ServerConfig } from "./config.ts";
export type { CorsOptions } from "./cors.ts";
export { type FetchOptions, toFetchHandler } from "./fetch-adapter.ts";
export {
  BodyTooLarge,
  HostRefused,
  httpErrors,
  IdempotencyKeyRequired,
  MediaTypeUnsupported,
  MethodNotAllowed,
  NotAcceptable,
  NotReady,
  PreconditionFailed,
  RouteUnknown,
} from "./http-errors.ts";
export type { HandlerRequest, HandlerResponse, HttpApp, HttpHandler, RequestHeaders } from "./http-exchange.ts";
export { createHttpHandler } from "./http-handler.ts";
export type { HttpHandlerOptions } from "./http-handler-options.ts";
export type { McpOptions } from "./mcp-options.ts";
export { type NodeRequestOptions, serveNode } from "./node-adapter.ts";
export { type OpenApiOptions, openApiDocument } from "./openapi.ts";
export { type PinoLoggerOptions, pinoLogger } from "./pino-logger.ts";
export type { Problem } from "./problem.ts";
export type { RateLimits } from "./rate-limits.ts";
export { type RunningServer, type StartOptions, startServer } from "./server.ts";
