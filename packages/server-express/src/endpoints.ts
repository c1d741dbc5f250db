import { type Principal, toPrincipal, Unauthenticated } from "@armature/core";
import { apiDocs } from "./api-docs.ts";
import type { Authenticate, Call, Endpoint } from "./endpoint.ts";
import { health, readiness } from "./health.ts";
import {
  type Exchange,
  type HandlerRequest,
  type HandlerResponse,
  type HttpApp,
  jsonResponse,
} from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { mcpEndpoint } from "./mcp-endpoint.ts";
import { oauthCallback, refusalPage } from "./oauth-callback.ts";
import { openApiDocument } from "./openapi.ts";
import { operationEndpoint } from "./operation-endpoint.ts";
import type { RequestLimits } from "./rate-limits.ts";
import { apiKeyOf } from "./request-headers.ts";
import { RouteTable } from "./routes.ts";

/** Every route: those of the contracts, and the server's own. */
export function routesOf(
  app: HttpApp,
  options: HttpHandlerOptions,
  limits: RequestLimits | undefined,
): RouteTable<Endpoint> {
  const routes = new RouteTable<Endpoint>();
  const addGet = (path: string, endpoint: Endpoint) => {
    routes.add("GET", path, endpoint);
    routes.add("HEAD", path, endpoint);
  };
  addGet("/health", { ...own("health", health), unlimited: true });
  addGet("/ready", { ...own("ready", readiness(app, options.closing)), unlimited: true });
  // RFC 7517: by these whoever we call can tell that it was us.
  addGet(
    "/.well-known/jwks.json",
    own("keys", () => jsonResponse(200, app.publicKeys(), { "cache-control": "public, max-age=300" })),
  );
  addGet("/openapi.json", own("openapi", openApi(app, options)));
  if (options.docs === true)
    for (const [path, answer] of apiDocs(URL.parse(options.openapi?.serverUrl ?? "")?.origin))
      addGet(path, own("docs", answer));
  // Without HEAD: whoever only looks at the address must not use up the authorization.
  routes.add("GET", "/oauth/callback", {
    ...own("oauthCallback", ({ query }) => oauthCallback(app, query)),
    refuse: refusalPage,
  });
  const authenticate: Authenticate = (request, exchange) => countedPrincipal(app, request, exchange, limits);
  if (options.mcp !== undefined)
    routes.add("POST", options.mcp.path ?? "/mcp", mcpEndpoint(app, options, options.mcp, authenticate));
  for (const description of app.operations) {
    const { http } = description.operation;
    if (http === undefined) continue;
    const [method, template] = http.split(" ") as [string, string];
    const endpoint = operationEndpoint({ app, options, authenticate }, description, method, template);
    if (method === "GET") addGet(template, endpoint);
    else routes.add(method, template, endpoint);
  }
  return routes;
}

function own(name: string, answer: Endpoint["answer"]): Endpoint {
  return { name: `server.${name}`, declared: [], answer };
}

async function countedPrincipal(
  app: HttpApp,
  request: HandlerRequest,
  exchange: Exchange,
  limits: RequestLimits | undefined,
): Promise<Principal> {
  const key = request.authenticate === undefined ? apiKeyOf(request.headers) : undefined;
  if (key !== undefined) await limits?.presented(exchange);
  let principal: Principal;
  try {
    principal = await principalOf(app, request, key);
  } catch (error) {
    if (key !== undefined && error instanceof Unauthenticated) await limits?.rejected(exchange);
    throw error;
  }
  exchange.tenant = principal.tenant;
  await limits?.accepted(exchange, principal);
  return principal;
}

async function principalOf(app: HttpApp, request: HandlerRequest, key: string | undefined): Promise<Principal> {
  if (request.authenticate === undefined) {
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
    if (made?.mountPath !== mountPath) {
      const document = openApiDocument(app.operations, mountPath, {
        ...options.openapi,
        idempotencyKeyRequired: options.requireIdempotencyKey,
      });
      made = { mountPath, response: { ...jsonResponse(200, document), compressible: true } };
    }
    return made.response;
  };
}
