import {
  type ArmatureError,
  type OperationDescription,
  type Principal,
  toPrincipal,
  Unauthenticated,
} from "@armature/core";
import { health, readiness } from "./health.ts";
import {
  apiHeaders,
  type Exchange,
  type HandlerRequest,
  type HandlerResponse,
  type HttpApp,
  headerOf,
  jsonResponse,
} from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { oauthCallback, refusalPage } from "./oauth-callback.ts";
import { openApiDocument } from "./openapi.ts";
import { problemOf, typedError } from "./problem.ts";
import { apiKeyOf, idempotencyKeyOf, lastEventIdOf, timeoutOf } from "./request-headers.ts";
import { planInput, readInput } from "./request-input.ts";
import { RouteTable } from "./routes.ts";
import { eventStream, eventStreamHeaders } from "./server-sent-events.ts";

const MIB = 1024 * 1024;
const DEFAULT_MAX_TIMEOUT_MS = 120_000;
const DEFAULT_HEARTBEAT_MS = 15_000;

/** One request, as far as it was understood when its endpoint was found. */
export interface Call {
  readonly request: HandlerRequest;
  readonly exchange: Exchange;
  readonly query: string;
  readonly parameters: readonly (readonly [string, string])[];
}

/** What answers one method of one path. */
export interface Endpoint {
  /** `connectors.invoke`; `server.health` for the server's own. */
  readonly name: string;
  /** Codes of the errors of kind `internal` that the contract declares, and that are shown therefore. */
  readonly declared: readonly string[];
  answer(call: Call): HandlerResponse | Promise<HandlerResponse>;
  /** The answer to an error, where it is a person who sees it. */
  refuse?(error: ArmatureError, exchange: Exchange): HandlerResponse;
}

/** Every route: those of the contracts, and the server's own. */
export function routesOf(app: HttpApp, options: HttpHandlerOptions): RouteTable<Endpoint> {
  const routes = new RouteTable<Endpoint>();
  const addGet = (path: string, endpoint: Endpoint) => {
    routes.add("GET", path, endpoint);
    routes.add("HEAD", path, endpoint);
  };
  addGet("/health", own("health", health));
  addGet("/ready", own("ready", readiness(app, options.closing)));
  addGet("/openapi.json", own("openapi", openApi(app, options)));
  // Without HEAD: whoever only looks at the address must not use up the authorization.
  routes.add("GET", "/oauth/callback", {
    ...own("oauthCallback", ({ query }) => oauthCallback(app, query)),
    refuse: refusalPage,
  });
  for (const description of app.operations) {
    const { http } = description.operation;
    if (http === undefined) continue;
    const [method, template] = http.split(" ") as [string, string];
    const endpoint = operationEndpoint(app, description, method, template, options);
    if (method === "GET") addGet(template, endpoint);
    else routes.add(method, template, endpoint);
  }
  return routes;
}

function own(name: string, answer: Endpoint["answer"]): Endpoint {
  return { name: `server.${name}`, declared: [], answer };
}

function operationEndpoint(
  app: HttpApp,
  { id, operation }: OperationDescription,
  method: string,
  template: string,
  options: HttpHandlerOptions,
): Endpoint {
  const plan = planInput(id, method, template, operation);
  const { bodyLimit = MIB, maxTimeoutMs = DEFAULT_MAX_TIMEOUT_MS } = options;
  const declared = operation.errors.filter(({ kind }) => kind === "internal").map(({ code }) => code);
  return {
    name: id,
    declared,
    async answer({ request, exchange, query, parameters }) {
      // Before the body is read: who may not call cannot make us read either.
      const principal = await principalOf(app, request);
      exchange.tenant = principal.tenant;
      const { headers, signal } = request;
      const callOptions = {
        principal,
        signal,
        correlationId: exchange.requestId,
        traceparent: headerOf(headers, "traceparent"),
        idempotencyKey: idempotencyKeyOf(headers),
        timeoutMs: timeoutOf(headers, maxTimeoutMs),
      };
      const input = await readInput(plan, request, query, parameters, bodyLimit);
      if (operation.kind === "stream") {
        if (request.method === "HEAD") return { status: 200, headers: eventStreamHeaders };
        return streamResponse(request, exchange, declared, options, (over) =>
          app.stream(id, input, { ...callOptions, signal: over, after: lastEventIdOf(headers) }),
        );
      }
      const output = await app.call(id, input, callOptions);
      return operation.output === undefined ? { status: 204, headers: apiHeaders } : jsonResponse(200, output);
    },
  };
}

async function streamResponse(
  request: HandlerRequest,
  exchange: Exchange,
  declared: readonly string[],
  { heartbeatMs = DEFAULT_HEARTBEAT_MS, closing, logger }: HttpHandlerOptions,
  open: (over: AbortSignal) => ReturnType<HttpApp["stream"]>,
): Promise<HandlerResponse> {
  // By hand instead of AbortSignal.any: `closing` lives as long as the process, and must not collect dependents.
  const over = new AbortController();
  const abort = () => over.abort();
  const signals = [request.signal, ...(closing === undefined ? [] : [closing])];
  for (const signal of signals) signal.addEventListener("abort", abort, { once: true });
  if (signals.some(({ aborted }) => aborted)) abort();
  const release = () => {
    for (const signal of signals) signal.removeEventListener("abort", abort);
  };
  try {
    return await eventStream(open(over.signal), {
      heartbeatMs,
      signal: over.signal,
      problemOf: (error) => {
        const typed = typedError(error, exchange, logger);
        exchange.code = typed.code;
        return problemOf(typed, exchange, declared);
      },
      ended: () => {
        release();
        exchange.finish(200);
      },
    });
  } catch (error) {
    release();
    throw error;
  }
}

async function principalOf(app: HttpApp, request: HandlerRequest): Promise<Principal> {
  if (request.authenticate === undefined) {
    const key = apiKeyOf(request.headers);
    if (key === undefined) throw new Unauthenticated({});
    return app.authenticate(key);
  }
  const found = await request.authenticate();
  if (found === undefined) throw new Unauthenticated({});
  try {
    return toPrincipal(found);
  } catch (cause) {
    // The host's mistake and not the client's, so not an InvalidInput.
    throw new TypeError("The host's `authenticate` gave something that is no principal.", { cause });
  }
}

function openApi(app: HttpApp, options: HttpHandlerOptions): (call: Call) => HandlerResponse {
  let made: { readonly mountPath: string; readonly response: HandlerResponse } | undefined;
  return ({ request: { mountPath = "" } }) => {
    if (made?.mountPath !== mountPath)
      made = { mountPath, response: jsonResponse(200, openApiDocument(app.operations, mountPath, options.openapi)) };
    return made.response;
  };
}
