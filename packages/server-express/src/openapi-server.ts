import type { JsonObject } from "@armature/core";
import type { SchemaComponents } from "./openapi-schemas.ts";
import { statusOfKind } from "./problem.ts";

const problemContent = { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } };
const statusContent = {
  "application/json": { schema: { type: "object", properties: { status: { type: "string" } }, required: ["status"] } },
};

/** The server's own addresses. None of them asks who calls. */
export const serverPaths: Readonly<Record<string, JsonObject>> = {
  "/health": {
    operationId: "server.health",
    tags: ["server"],
    summary: "Says that the process is up.",
    security: [],
    responses: { 200: { description: "It is.", content: statusContent } },
  },
  "/ready": {
    operationId: "server.ready",
    tags: ["server"],
    summary: "Says whether everything that the server needs answers.",
    security: [],
    responses: {
      200: { description: "It does.", content: statusContent },
      503: { description: "It does not, or the server is shutting down.", content: problemContent },
    },
  },
  "/openapi.json": {
    operationId: "server.openapi",
    tags: ["server"],
    summary: "Shows this document.",
    security: [],
    responses: {
      200: { description: "The document.", content: { "application/json": { schema: { type: "object" } } } },
    },
  },
  "/oauth/callback": {
    operationId: "server.oauthCallback",
    tags: ["server"],
    summary: "Completes an authorization; providers send the person's browser here.",
    security: [],
    parameters: ["state", "code", "iss", "error"].map((name) => ({
      name,
      in: "query",
      required: name === "state",
      schema: { type: "string" },
    })),
    responses: {
      200: { description: "A page that says so.", content: { "text/html": { schema: { type: "string" } } } },
      303: {
        description: "On to the host's page, with `connectorId` and `status` added.",
        headers: { location: { schema: { type: "string" } } },
      },
      default: { description: "A page that says why not.", content: { "text/html": { schema: { type: "string" } } } },
    },
  },
};

/** What the descriptions of operations refer to. */
export function sharedComponents(components: SchemaComponents, keyNeeded: boolean): JsonObject {
  components.add("Problem", problemSchema);
  return {
    parameters: {
      IdempotencyKey: idempotencyKey,
      ...(keyNeeded ? { NeededIdempotencyKey: { ...idempotencyKey, required: true } } : {}),
      IfMatch: header(
        "if-match",
        { type: "string" },
        'Entity tags, like `"7"`: it is done only when the version is one of them, else the answer is 412. `*` is any version; weak tags match none.',
      ),
      IfNoneMatch: header(
        "if-none-match",
        { type: "string" },
        'Entity tags of what the client has, like `"7"`: when the version is one of them, the answer is 304 and has no body.',
      ),
      Timeout: header(
        "armature-timeout",
        { type: "integer", minimum: 1 },
        "How long the client waits, in milliseconds. The server may have a lower limit.",
      ),
      RequestId: header(
        "x-request-id",
        { type: "string", minLength: 1, maxLength: 128 },
        "The client's id of this request, printable ASCII without blanks. It is returned, and stands in events and audit rows as the correlation id; one is made when it is absent.",
      ),
      Traceparent: header("traceparent", { type: "string" }, "W3C trace context of the caller."),
      LastEventId: header(
        "last-event-id",
        { type: "string" },
        "Cursor of the last item that the client has: the stream goes on after it.",
      ),
    },
    headers: {
      RequestId: described("The id of this request: the client's, or one that was made."),
      RateLimit: described(
        'What is left of each limit that was asked: `"key";r=99;t=1`, `t` in seconds until it is full.',
      ),
      RateLimitPolicy: described('Each limit that was asked: `"key";q=100;w=60`, requests in seconds.'),
      ETag: described("The version of what is shown, as `If-Match` and `If-None-Match` take it."),
      Link: described('`rel="next"`: the next page, relative to this address. Absent on the last one.'),
    },
    responses: {
      Problem: { description: "Problem details (RFC 9457).", content: problemContent },
      NotModified: { description: "The client has it: a tag of `If-None-Match` is that of the present version." },
    },
  };
}

/** How the headers of `sharedComponents` are called. */
export const headerNames: Readonly<Record<string, string>> = {
  RequestId: "x-request-id",
  RateLimit: "ratelimit",
  RateLimitPolicy: "ratelimit-policy",
  ETag: "etag",
  Link: "link",
};

const described = (description: string): JsonObject => ({ description, schema: { type: "string" } });

const idempotencyKey = header(
  "idempotency-key",
  { type: "string", minLength: 1, maxLength: 300 },
  "Same key, same input: the first call's answer, and its effect once. While that call is under way the answer is 409, with another input 422. A quoted string as in draft-ietf-httpapi-idempotency-key-header, or bare; 1 to 255 printable ASCII characters without blanks. Kept per caller and operation.",
);

function header(name: string, schema: JsonObject, description: string): JsonObject {
  return { name, in: "header", required: false, description, schema };
}

const problemSchema: JsonObject = {
  type: "object",
  description: "Problem details (RFC 9457). Programs look at `code` or `kind`; people read `detail`.",
  properties: {
    type: { type: "string", format: "uri" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    kind: { enum: Object.keys(statusOfKind) },
    requestId: { type: "string" },
    traceId: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { path: { type: "string" }, message: { type: "string" } },
        required: ["path", "message"],
      },
    },
    details: true,
  },
  required: ["type", "title", "status", "detail", "code", "kind", "requestId", "traceId"],
};
