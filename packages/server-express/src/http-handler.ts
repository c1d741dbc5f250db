import { InvalidInput, type Logger } from "@armature/core";
import { type Endpoint, routesOf } from "./endpoints.ts";
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
import { requestIdOf, traceIdOf } from "./request-headers.ts";
import type { Match, RouteTable } from "./routes.ts";

/**
 * Answers HTTP requests by the contracts of an app: every route, parameter, status and error follows from
 * `app.operations`. Works on plain values, so that any server can carry it.
 *
 * @throws {TypeError} when two routes are the same, or an input cannot travel as its route wants
 */
export function createHttpHandler(app: HttpApp, options: HttpHandlerOptions = {}): HttpHandler {
  const { logger } = options;
  const routes = routesOf(app, options);
  return async (request) => {
    const exchange = exchangeOf(request, logger);
    const response = await respond(routes, request, exchange, logger);
    const body = request.method === "HEAD" ? undefined : response.body;
    // A stream has its line written when it is over.
    if (body === undefined || body instanceof Uint8Array) exchange.finish(response.status);
    return { ...response, body, headers: { ...response.headers, "x-request-id": exchange.requestId } };
  };
}

async function respond(
  routes: RouteTable<Endpoint>,
  request: HandlerRequest,
  exchange: Exchange,
  logger: Logger | undefined,
): Promise<HandlerResponse> {
  let endpoint: Endpoint | undefined;
  try {
    // A client that speaks to a proxy sends the whole address (RFC 9112, 3.2.2).
    const [path = "", query = ""] = split(request.url.replace(/^https?:\/\/[^/?#]*/i, ""));
    const match = matchPath(routes, request.method, path);
    if (match.type === "none") throw new RouteUnknown({});
    if (match.type === "method") {
      const allow = [...match.allow, "OPTIONS"];
      if (request.method !== "OPTIONS") throw new MethodNotAllowed({ allow });
      return { status: 204, headers: { ...apiHeaders, allow: allow.join(", ") } };
    }
    endpoint = match.endpoint;
    exchange.operation = endpoint.name;
    return await endpoint.answer({ request, exchange, query, parameters: match.parameters });
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
function exchangeOf({ method, headers, signal }: HandlerRequest, logger: Logger | undefined): Exchange {
  const startedAt = performance.now();
  let traceId: string | undefined; // seldom asked for
  const exchange: Exchange = {
    requestId: requestIdOf(headers),
    get traceId() {
      traceId ??= traceIdOf(headers);
      return traceId;
    },
    finish(status) {
      const { requestId, operation, tenant, code } = exchange;
      const quiet = operation === "server.health" || operation === "server.ready";
      const level = status >= 500 ? "warn" : quiet ? "debug" : "info";
      logger?.[level]("request", {
        method,
        status,
        durationMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
        requestId,
        ...(operation === undefined ? {} : { operation }),
        ...(tenant === undefined ? {} : { tenant }),
        ...(code === undefined ? {} : { errorCode: code }),
        ...(signal.aborted ? { disconnected: true } : {}),
      });
    },
  };
  return exchange;
}
