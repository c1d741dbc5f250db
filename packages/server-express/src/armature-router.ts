import type { PrincipalInput } from "@armature/core";
import { type Request, Router } from "express";
import type { HttpApp } from "./http-exchange.ts";
import { createHttpHandler } from "./http-handler.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { serveNode } from "./node-adapter.ts";

export interface RouterOptions extends HttpHandlerOptions {
  /**
   * Who calls, by the host's own means: its session, its tokens. Undefined answers 401. Without it callers present
   * API keys.
   */
  readonly authenticate?:
    | ((request: Request) => PrincipalInput | undefined | Promise<PrincipalInput | undefined>)
    | undefined;
}

/**
 * All routes of an app's contracts, for a host's own Express 5 app: `server.use("/api", armatureRouter(app))`. It
 * answers everything below its path, so what comes after it there is not reached.
 */
export function armatureRouter(app: HttpApp, options: RouterOptions = {}): Router {
  const { authenticate, ...handlerOptions } = options;
  // The document does not promise API keys where the host has another way.
  const securitySchemes = options.openapi?.securitySchemes ?? (authenticate === undefined ? undefined : {});
  const handler = createHttpHandler(app, { ...handlerOptions, openapi: { ...options.openapi, securitySchemes } });
  const router = Router();
  router.use((req, res) =>
    serveNode(handler, req, res, {
      url: req.url,
      mountPath: req.baseUrl,
      parsedBody: req.body,
      authenticate: authenticate === undefined ? undefined : async () => authenticate(req),
      closing: options.closing,
    }),
  );
  return router;
}
