import type { CallOptions, JsonObject, Principal } from "@armature/core";
import type { CallToolResult, McpHttpHandler } from "@modelcontextprotocol/server";
import type { Authenticate, Endpoint } from "./endpoint.ts";
import { HostRefused, IdempotencyKeyRequired } from "./http-errors.ts";
import {
  apiHeaders,
  type Exchange,
  type HandlerRequest,
  type HandlerResponse,
  type HttpApp,
  headerOf,
} from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { readJsonBody } from "./json-body.ts";
import type { McpOptions } from "./mcp-options.ts";
import { callTool, describeTool, type OfferedTool, offeredTools } from "./mcp-tools.ts";
import { problemOf, typedError } from "./problem.ts";
import { idempotencyKeyOf, timeoutOf } from "./request-headers.ts";

const MIB = 1024 * 1024;
const DEFAULT_MAX_TIMEOUT_MS = 120_000;
const LIST_TTL_MS = 60_000;

/** What a client may name a call by, in its `_meta`, where it cannot send the header `Idempotency-Key`. */
const IDEMPOTENCY_KEY = "armature/idempotency-key";

/** One request, as the handlers of the protocol find it. */
interface Asking {
  readonly exchange: Exchange;
  readonly options: CallOptions & { readonly principal: Principal };
}

/**
 * The app's operations as tools of an MCP server, without state: each request is authenticated, counted and called as
 * one of the HTTP API.
 *
 * @throws {TypeError} a tool cannot be offered
 */
export function mcpEndpoint(
  app: HttpApp,
  options: HttpHandlerOptions,
  mcp: McpOptions,
  authenticate: Authenticate,
): Endpoint {
  const tools = offeredTools(app, mcp.tools);
  const { bodyLimit = MIB, maxTimeoutMs = DEFAULT_MAX_TIMEOUT_MS } = options;
  const checkHost = hostCheck(mcp.hosts, options.cors?.origins);
  // The library loads with the first request.
  let handler: Promise<McpHttpHandler> | undefined;
  return {
    name: "server.mcp",
    declared: [],
    async answer({ request, exchange }) {
      checkHost(request);
      const principal = await authenticate(request, exchange);
      const { headers, signal } = request;
      const asking: Asking = {
        exchange,
        options: {
          principal,
          signal,
          correlationId: exchange.requestId,
          traceparent: exchange.traceparent,
          idempotencyKey: idempotencyKeyOf(headers),
          timeoutMs: timeoutOf(headers, maxTimeoutMs),
        },
      };
      const parsedBody = await readJsonBody(request, bodyLimit);
      handler ??= mcpHandler(app, options, mcp, tools);
      const authInfo = { token: "", clientId: principal.actor.id, scopes: [], extra: { asking } };
      return toHandlerResponse(await (await handler).fetch(toRequest(request), { parsedBody, authInfo }));
    },
  };
}

async function mcpHandler(
  app: HttpApp,
  { logger, requireIdempotencyKey }: HttpHandlerOptions,
  { name = "armature", version = "1.0.0", instructions }: McpOptions,
  tools: ReadonlyMap<string, OfferedTool>,
): Promise<McpHttpHandler> {
  const { createMcpHandler, ProtocolError, ProtocolErrorCode, Server } = await import("@modelcontextprotocol/server");
  const described = [...tools.values()].map(describeTool);

  const call = async (offered: OfferedTool, args: JsonObject, asking: Asking): Promise<CallToolResult> => {
    const { exchange, options } = asking;
    exchange.operation = offered.id;
    try {
      const changes = offered.operation.kind !== "query";
      if (changes && requireIdempotencyKey === true && options.idempotencyKey === undefined)
        throw new IdempotencyKeyRequired({});
      return resultOf(await callTool(app, offered, args, options));
    } catch (error) {
      const typed = typedError(error, exchange, logger);
      exchange.code = typed.code;
      const declared = offered.operation.errors.map(({ code }) => code);
      const problem = problemOf(typed, exchange, declared);
      return { isError: true, content: [{ type: "text", text: problem.detail }], structuredContent: { ...problem } };
    }
  };

  return createMcpHandler(
    ({ authInfo }) => {
      const { asking } = authInfo!.extra as unknown as { readonly asking: Asking };
      const server = new Server(
        { name, version },
        {
          capabilities: { tools: {} },
          cacheHints: { "tools/list": { ttlMs: LIST_TTL_MS, cacheScope: "private" } },
          ...(instructions === undefined ? {} : { instructions }),
        },
      );
      server.setRequestHandler("tools/list", () => ({ tools: described as never }));
      server.setRequestHandler("tools/call", async ({ params }, { mcpReq }) => {
        const offered = tools.get(params.name);
        if (offered === undefined)
          throw new ProtocolError(ProtocolErrorCode.InvalidParams, "There is no tool of this name.");
        const key = (params._meta as Readonly<Record<string, unknown>> | undefined)?.[IDEMPOTENCY_KEY];
        const named = typeof key === "string" ? { idempotencyKey: key } : {};
        const options = { ...asking.options, ...named, signal: mcpReq.signal };
        return call(offered, (params.arguments ?? {}) as JsonObject, { ...asking, options });
      });
      return server;
    },
    // Its tools change with the deployment only, so there is nothing to listen to.
    { maxSubscriptions: 0, onerror: (error) => logger?.debug("An MCP request was refused", { error: error.name }) },
  );
}

/** Text for every client, and JSON for those that read it. */
function resultOf(result: unknown): CallToolResult {
  const text = typeof result === "string" ? result : JSON.stringify(result ?? null);
  const structured = typeof result === "object" && result !== null && !Array.isArray(result);
  return {
    content: [{ type: "text", text }],
    ...(structured ? { structuredContent: result as Record<string, unknown> } : {}),
  };
}

const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Refuses requests to other names, and of pages that are not from here: whoever owns a name can point it anywhere. */
function hostCheck(hosts: readonly string[] = LOCAL, origins: readonly string[] | "*" = []) {
  const known = new Set(hosts.map((host) => host.toLowerCase()));
  return ({ headers }: HandlerRequest): void => {
    const host = headerOf(headers, "host") ?? headerOf(headers, ":authority") ?? "";
    if (!known.has(URL.parse(`http://${host}`)?.hostname ?? "")) throw new HostRefused({ header: "Host" });
    const origin = headerOf(headers, "origin");
    if (origin === undefined || origins === "*" || origins.includes(origin)) return;
    if (!known.has(URL.parse(origin)?.hostname ?? "")) throw new HostRefused({ header: "Origin" });
  };
}

function toRequest({ method, url, headers, signal }: HandlerRequest): Request {
  const given = new Headers();
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && !name.startsWith(":")) given.set(name, [value].flat().join(", "));
  return new Request(new URL(url, "http://localhost"), { method, headers: given, signal });
}

// Nothing is streamed: there is nothing to listen to, and no tool says anything before its result.
async function toHandlerResponse(answer: Response): Promise<HandlerResponse> {
  const body = new Uint8Array(await answer.arrayBuffer());
  const headers = { ...apiHeaders, ...Object.fromEntries(answer.headers), "content-length": String(body.byteLength) };
  return { status: answer.status, headers, body };
}
