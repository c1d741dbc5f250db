import { InvalidInput, type Logger } from "@armature/core";
import { clientAddress } from "./client-address.ts";
import { compressed } from "./compression.ts";
import { type CorsHeaders, corsHeaders } from "./cors.ts";
import type { Endpoint } from "./endpoint.ts";
import { routesOf } from "./endpoints.ts";
import { MethodNotAllowed, RouteUnknown } from "./http-errors.ts";
import {
  apiHeaders,
  type Exchange,
  type HandlerRequest,
  type HandlerResponse,
  type HttpApp,
  type HttpHandler,
} from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { problemOf, problemResponse, typedError } from "./problem.ts";
import { limitHeaders, RequestLimits } from "./rate-limits.ts";
import { requestIdOf } from "./request-headers.ts";
import type { Match, RouteTable } from "./routes.ts";
import { securityHeaders } from "./security-headers.ts";
import { startServerSpan } from "./server-span.ts";

/** What every request of one handler goes through. */
interface Handling {
  readonly routes: RouteTable<Endpoint>;
  readonly limits: RequestLimits | undefined;
  readonly logger: Logger | undefined;
}

/**
 * Answers HTTP requests by the contracts of an app: every route, parameter, status and error follows from
 * `app.operations`. Works on plain values, so that any server can carry it.
 *
 * @throws {TypeError} when two routes are the same, an input cannot travel as its route wants, or an option is wrong
 */
export function createHttpHandler(app: HttpApp, options: HttpHandlerOptions = {}): HttpHandler {
  const { logger, rateLimits, trustedProxies = [], hstsSeconds = 0 } = options;
  const limits = rateLimits === undefined ? undefined : new RequestLimits(rateLimits, logger);
  const handling: Handling = { routes: routesOf(app, options, limits), limits, logger };
  const addressOf = clientAddress(trustedProxies);
  const always = securityHeaders(hstsSeconds);
  const cors = options.cors === undefined ? undefined : corsHeaders(options.cors);
  return async (request) => {
    const exchange = exchangeOf(request, addressOf(request.peerAddress, request.headers), logger);
    const plain = await respond(handling, request, exchange);
    const response = options.compression === true ? await compressed(plain, request.headers) : plain;
    const body = request.method === "HEAD" ? undefined : response.body;
    const headers = {
      ...always,
      ...limitHeaders(exchange.levels),
      ...response.headers,
      ...sharing(cors, request, response),
      "x-request-id": exchange.requestId,
    };
    // A stream has its line written when it is over.
    if (body === undefined || body instanceof Uint8Array) exchange.finish(response.status);
    return { ...response, body, headers };
  };
}

function sharing(
  cors: CorsHeaders | undefined,
  request: HandlerRequest,
  response: HandlerResponse,
): Readonly<Record<string, string>> {
  if (cors === undefined) return {};
  const { vary, ...headers } = cors(request, response.headers);
  const varies = [response.headers["vary"], vary].filter((each) => each !== undefined);
  return varies.length === 0 ? headers : { ...headers, vary: varies.join(", ") };
}

async function respond(
  { routes, limits, logger }: Handling,
  request: HandlerRequest,
  exchange: Exchange,
): Promise<HandlerResponse> {
  let endpoint: Endpoint | undefined;
  try {
    // A client that speaks to a proxy sends the whole address (RFC 9112, 3.2.2).
    const [path = "", query = ""] = split(request.url.replace(/^https?:\/\/[^/?#]*/i, ""));
    const match = matchPath(routes, request.method, path);
    endpoint = match.type === "found" ? match.endpoint : undefined;
    exchange.operation = endpoint?.name;
    if (endpoint?.unlimited !== true) await limits?.arrived(exchange);
    if (match.type === "none") throw new RouteUnknown({});
    if (match.type === "method") {
      const allow = [...match.allow, "OPTIONS"];
      if (request.method !== "OPTIONS") throw new MethodNotAllowed({ allow });
      return { status: 204, headers: { ...apiHeaders, allow: allow.join(", ") } };
    }
    return await match.endpoint.answer({ request, exchange, query, parameters: match.parameters });
  } catch (error) {
    const typed = typedError(error, exchange, logger);
    exchange.code = typed.code;
    return endpoint?.refuse?.(typed, exchange) ?? problemResponse(problemOf(typed, exchange, endpoint?.declared ?? []));
  }
}

function split(url: string): readonly string[] {
  const at = url.indexOf("?");
  return at < 0 ? [url] : [url.slice(0, at), url.slice(at + 1)];
}

function matchPath(routes: RouteTable<Endpoint>, method: string, path: string): Match<Endpoint> {
  try {
    return routes.match(method, path);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new InvalidInput({ subject: "The path", issues: [{ path: "", message: "is not percent-encoded UTF-8" }] });
  }
}

// Names who and what and how it went; never an address, a query string, a header or a body.
function exchangeOf(
  { method, headers, signal }: HandlerRequest,
  address: string | undefined,
  logger: Logger | undefined,
): Exchange {
  const startedAt = performance.now();
  const span = startServerSpan(method, headers);
  const exchange: Exchange = {
    requestId: requestIdOf(headers),
    traceId: span.traceId,
    traceparent: span.traceparent,
    address,
    levels: [],
    finish(status) {
      const { requestId, operation, tenant, code } = exchange;
      span.end({ status, operation, code });
      const quiet = operation === "server.health" || operation === "server.ready";
      const level = status >= 500 ? "warn" : quiet ? "debug" : "info";
      logger?.[level]("request", {
        method,
        status,
        durationMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
        requestId,
        traceId: span.traceId,
        ...(operation === undefined ? {} : { operation }),
        ...(tenant === undefined ? {} : { tenant }),
        ...(code === undefined ? {} : { errorCode: code }),
        ...(signal.aborted ? { disconnected: true } : {}),
      });
    },
  };
  return exchange;
}
