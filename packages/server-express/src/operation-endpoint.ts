import {
  type CallOptions,
  hasSensitive,
  type OperationDescription,
  type Principal,
  VersionMismatch,
} from "@armature/core";
import type { Authenticate, Endpoint } from "./endpoint.ts";
import { entityTag, expectedVersions, isUnchanged, planVersions, preconditionsOf, versionOf } from "./entity-tags.ts";
import { IdempotencyKeyRequired } from "./http-errors.ts";
import { apiHeaders, type HandlerResponse, type HttpApp, jsonResponse } from "./http-exchange.ts";
import type { HttpHandlerOptions } from "./http-handler-options.ts";
import { isPaged, pageLink } from "./pages.ts";
import { idempotencyKeyOf, lastEventIdOf, timeoutOf } from "./request-headers.ts";
import { planInput, readInput } from "./request-input.ts";
import { streamFormat, streamHeaders, streamResponse } from "./stream-response.ts";
import { whileKeyWorks } from "./while-key-works.ts";

const MIB = 1024 * 1024;
const DEFAULT_MAX_TIMEOUT_MS = 120_000;

interface Serving {
  readonly app: HttpApp;
  readonly options: HttpHandlerOptions;
  readonly authenticate: Authenticate;
}

/** What answers an operation's route. */
export function operationEndpoint(
  { app, options, authenticate }: Serving,
  { id, operation }: OperationDescription,
  method: string,
  template: string,
): Endpoint {
  const plan = planInput(id, method, template, operation);
  const versions = planVersions(operation);
  const paged = isPaged(operation);
  const { bodyLimit = MIB, maxTimeoutMs = DEFAULT_MAX_TIMEOUT_MS } = options;
  const declared = operation.errors.filter(({ kind }) => kind === "internal").map(({ code }) => code);
  const needsKey = options.requireIdempotencyKey === true && requiresKey(operation.kind, method);
  const holdsNoSecret = operation.kind === "query" && operation.output !== undefined && !hasSensitive(operation.output);
  return {
    name: id,
    declared,
    async answer({ request, exchange, query, parameters }) {
      // Before the body is read: who may not call cannot make us read either.
      const principal = await authenticate(request, exchange);
      const { headers, signal } = request;
      const callOptions = {
        principal,
        signal,
        correlationId: exchange.requestId,
        traceparent: exchange.traceparent,
        idempotencyKey: idempotencyKeyOf(headers),
        timeoutMs: timeoutOf(headers, maxTimeoutMs),
      };
      if (needsKey && callOptions.idempotencyKey === undefined) throw new IdempotencyKeyRequired({});
      const preconditions = preconditionsOf(headers, request.method, versions);
      const input = await readInput(plan, request, query, parameters, bodyLimit);
      if (operation.kind === "stream") {
        if (request.method === "HEAD") return { status: 200, headers: streamHeaders(streamFormat(request)) };
        return streamResponse(request, exchange, declared, options, async (over) => {
          const asked = { ...callOptions, signal: over, after: lastEventIdOf(headers) };
          return whileKeyWorks(app, request, await app.openStream(id, input, asked));
        });
      }
      const output = await callAt(
        app,
        id,
        input,
        callOptions,
        versions.bound ? expectedVersions(preconditions) : undefined,
      );
      if (operation.output === undefined) return { status: 204, headers: apiHeaders };
      const version = versionOf(versions, output);
      const validators = entityTag(version);
      if (operation.kind === "query" && isUnchanged(preconditions, version))
        return { status: 304, headers: { ...apiHeaders, ...validators } };
      const response = jsonResponse(200, output, { ...validators, ...(paged ? pageLink(query, output) : {}) });
      // Only what a client asked for by a key that it holds: no page of a stranger can have it send that.
      const compressible = holdsNoSecret && version === undefined && request.authenticate === undefined;
      return { ...response, compressible } satisfies HandlerResponse;
    },
  };
}

/** What the IETF draft asks for: the methods whose repetition HTTP does not promise to be harmless. */
function requiresKey(kind: string, method: string): boolean {
  return (kind === "command" || kind === "action") && (method === "POST" || method === "PATCH");
}

type Options = CallOptions & { readonly principal: Principal };

/** Calls an operation at one of these versions of what it is about. */
async function callAt(
  app: HttpApp,
  id: string,
  input: unknown,
  options: Options,
  versions: readonly number[] | undefined,
): Promise<unknown> {
  const [first, ...others] = versions ?? [];
  try {
    return await app.call(id, input, { ...options, expectedVersion: first });
  } catch (error) {
    // It is at one version at a time, and the refusal names it.
    if (!(error instanceof VersionMismatch) || !others.includes(error.details.actual)) throw error;
    return app.call(id, input, { ...options, expectedVersion: error.details.actual });
  }
}
