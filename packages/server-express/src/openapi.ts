import {
  Canceled,
  DeadlineExceeded,
  type ErrorClass,
  Forbidden,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  IdempotencyResultNotKept,
  InternalError,
  InvalidInput,
  type JsonObject,
  LimitExceeded,
  NotFound,
  type OperationDescription,
  Unauthenticated,
  UnknownOutcome,
  VersionConflict,
  VersionMismatch,
} from "@armature/core";
import { planVersions } from "./entity-tags.ts";
import {
  BodyTooLarge,
  IdempotencyKeyRequired,
  MediaTypeUnsupported,
  NotAcceptable,
  PreconditionFailed,
} from "./http-errors.ts";
import { jsonLinesTypes } from "./json-lines.ts";
import { SchemaComponents } from "./openapi-schemas.ts";
import { headerNames, serverPaths, sharedComponents } from "./openapi-server.ts";
import { isPaged } from "./pages.ts";
import { statusOf, typeOf } from "./problem.ts";
import { pathParametersOf, usesQueryString } from "./request-input.ts";

/** What the document says that no contract knows. */
export interface OpenApiOptions {
  readonly title?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  /** Where the API is reached from outside; the path that it is mounted at when absent. */
  readonly serverUrl?: string | undefined;
  /** How callers authenticate; API keys when absent. A host that authenticates by itself says how. */
  readonly securitySchemes?: Readonly<Record<string, JsonObject>> | undefined;
  /** Whether commands and actions by POST and PATCH are said to need an `Idempotency-Key`. */
  readonly idempotencyKeyRequired?: boolean | undefined;
}

const apiKeySchemes: Readonly<Record<string, JsonObject>> = {
  bearer: { type: "http", scheme: "bearer", description: "An API key, `arm_…`." },
  apiKey: { type: "apiKey", in: "header", name: "x-api-key", description: "An API key, `arm_…`." },
};

/** The OpenAPI 3.1 document of an app: a projection of its contracts, as the routes are. */
export function openApiDocument(
  operations: readonly OperationDescription[],
  mountPath: string,
  options: OpenApiOptions = {},
): JsonObject {
  const { securitySchemes = apiKeySchemes } = options;
  const components = new SchemaComponents();
  const errors = new ErrorComponents(components);
  const shared = sharedComponents(components, options.idempotencyKeyRequired === true);
  const paths: Record<string, Record<string, unknown>> = {};
  const add = (method: string, path: string, description: JsonObject) => {
    paths[path] = { ...paths[path], [method.toLowerCase()]: description };
  };
  for (const operation of operations) {
    const { http } = operation.operation;
    if (http === undefined) continue;
    const [method, path] = http.split(" ") as [string, string];
    add(method, path, describe(operation, method, path, components, errors, options));
  }
  for (const [path, description] of Object.entries(serverPaths)) add("GET", path, description);
  const contexts = [...new Set(operations.filter(({ operation }) => operation.http).map(({ context }) => context))];
  return {
    openapi: "3.1.0",
    info: {
      title: options.title ?? "Armature",
      version: options.version ?? "1",
      ...(options.description === undefined ? {} : { description: options.description }),
    },
    servers: [{ url: options.serverUrl ?? (mountPath === "" ? "/" : mountPath) }],
    security: Object.keys(securitySchemes).map((name) => ({ [name]: [] })),
    tags: [...contexts, "server"].map((name) => ({ name })),
    paths,
    components: { ...shared, schemas: components.all, securitySchemes },
  } as unknown as JsonObject;
}

function describe(
  { id, context, operation }: OperationDescription,
  method: string,
  path: string,
  components: SchemaComponents,
  errors: ErrorComponents,
  { idempotencyKeyRequired = false }: OpenApiOptions,
): JsonObject {
  const input = components.resolve(components.inline(operation.input, "input", `${id}.input`)) as ObjectSchema;
  const { properties = {}, required = [] } = input;
  const inPath = pathParametersOf(path);
  const others = Object.keys(properties).filter((name) => !inPath.includes(name));
  const inQuery = usesQueryString(method);
  const changes = operation.kind === "command" || operation.kind === "action";
  const keyNeeded = idempotencyKeyRequired && changes && (method === "POST" || method === "PATCH");
  const versions = planVersions(operation);
  const conditional = { reads: versions.tagged && operation.kind === "query", binds: versions.bound };
  const parameter = (name: string, where: "path" | "query") => {
    const { description, ...schema } = properties[name] as JsonObject;
    return {
      name,
      in: where,
      required: where === "path" || required.includes(name),
      ...(typeof description === "string" ? { description } : {}),
      schema,
    };
  };
  return {
    operationId: id,
    tags: [context],
    summary: operation.summary,
    description: `A ${operation.kind}. Needs the permission \`${operation.permission}\`.`,
    parameters: [
      ...inPath.map((name) => parameter(name, "path")),
      ...(inQuery ? others.map((name) => parameter(name, "query")) : []),
      ...(changes
        ? [{ $ref: `#/components/parameters/${keyNeeded ? "NeededIdempotencyKey" : "IdempotencyKey"}` }]
        : []),
      ...(conditional.reads || conditional.binds ? [{ $ref: "#/components/parameters/IfMatch" }] : []),
      ...(conditional.reads ? [{ $ref: "#/components/parameters/IfNoneMatch" }] : []),
      ...(operation.kind === "stream" ? [{ $ref: "#/components/parameters/LastEventId" }] : []),
      { $ref: "#/components/parameters/Timeout" },
      { $ref: "#/components/parameters/RequestId" },
      { $ref: "#/components/parameters/Traceparent" },
    ],
    ...(inQuery || others.length === 0 ? {} : { requestBody: requestBody(input, others) }),
    responses: {
      ...successOf(id, operation, components, versions.tagged),
      ...(conditional.reads ? { 304: { $ref: "#/components/responses/NotModified" } } : {}),
      ...errors.responses([
        ...operation.errors,
        ...generalErrors(operation.kind, inPath.length > 0, !inQuery && others.length > 0),
        ...(keyNeeded ? [IdempotencyKeyRequired] : []),
        ...(conditional.reads || conditional.binds ? [PreconditionFailed] : []),
        ...(conditional.binds ? [VersionMismatch] : []),
      ]),
    },
  } as unknown as JsonObject;
}

type ObjectSchema = JsonObject & {
  readonly properties?: Readonly<Record<string, JsonObject>>;
  readonly required?: readonly string[];
};

function requestBody(input: ObjectSchema, fields: readonly string[]): unknown {
  const required = (input.required ?? []).filter((name) => fields.includes(name));
  const properties = Object.fromEntries(fields.map((name) => [name, input.properties![name]]));
  return {
    required: required.length > 0,
    content: { "application/json": { schema: { ...input, properties, required } } },
  };
}

function successOf(
  id: string,
  operation: OperationDescription["operation"],
  components: SchemaComponents,
  tagged: boolean,
): Readonly<Record<string, unknown>> {
  const { kind, output } = operation;
  const named = [
    "RequestId",
    "RateLimit",
    "RateLimitPolicy",
    ...(tagged ? ["ETag"] : []),
    ...(isPaged(operation) ? ["Link"] : []),
  ];
  const headers = Object.fromEntries(
    named.map((name) => [headerNames[name], { $ref: `#/components/headers/${name}` }]),
  );
  if (output === undefined) return { 204: { description: "Done.", headers } };
  const schema = components.inline(output, "output", `${id}.output`);
  if (kind !== "stream") return { 200: { description: "Done.", headers, content: { "application/json": { schema } } } };
  const description =
    "Server-sent events. The data of each is an item as JSON (the schema is that of one item) and its id the cursor to " +
    "resume from. An event `end` says that the stream is over, an event `problem` that it failed; without either it was " +
    "cut off. As JSON lines (`Accept: application/x-ndjson`) each line is `cursor` and `item`, the last line says `end`, " +
    "and a line `problem` that it failed; without either it was cut off.";
  const item = components.add(`${id}.item`, schema);
  const events = { type: "string", contentMediaType: "application/json", contentSchema: item };
  const lines = components.add(`${id}.line`, {
    oneOf: [
      { type: "object", properties: { cursor: { type: "string" }, item }, required: ["cursor", "item"] },
      { type: "object", properties: { end: { const: true } }, required: ["end"] },
      { type: "object", properties: { problem: { $ref: "#/components/schemas/Problem" } }, required: ["problem"] },
    ],
  } as unknown as JsonObject);
  const text = { type: "string", contentMediaType: "application/json", contentSchema: lines };
  const content = Object.fromEntries([
    ["text/event-stream", { schema: events }],
    ...jsonLinesTypes.map((type) => [type, { schema: text }]),
  ]);
  return { 200: { description, headers, content } };
}

function generalErrors(
  kind: OperationDescription["operation"]["kind"],
  hasPath: boolean,
  hasBody: boolean,
): readonly ErrorClass[] {
  return [
    InvalidInput,
    Unauthenticated,
    Forbidden,
    ...(hasPath ? [NotFound] : []),
    ...(hasBody ? [BodyTooLarge, MediaTypeUnsupported] : []),
    ...(kind === "command" || kind === "action"
      ? [VersionConflict, IdempotencyKeyReused, IdempotencyInProgress, IdempotencyResultNotKept]
      : []),
    ...(kind === "action" ? [UnknownOutcome] : []),
    ...(kind === "stream" ? [NotAcceptable] : []),
    LimitExceeded,
    DeadlineExceeded,
    Canceled,
    InternalError,
  ];
}

/** The issues of an input stand beside the details, as `errors`. */
function detailsOf(error: ErrorClass, schema: JsonObject): JsonObject {
  if (error.code !== InvalidInput.code) return schema;
  const { issues: _, ...properties } = schema["properties"] as JsonObject;
  return { ...schema, properties, required: Object.keys(properties) };
}

/** Errors as components, and as the responses that tell them. */
class ErrorComponents {
  readonly #components: SchemaComponents;
  readonly #refs = new Map<string, JsonObject>();

  constructor(components: SchemaComponents) {
    this.#components = components;
  }

  /** One response for each status, with every error that has it. */
  responses(errors: readonly ErrorClass[]): Readonly<Record<string, unknown>> {
    const byStatus = new Map<number, Map<string, ErrorClass>>();
    for (const error of errors) {
      const status = statusOf(error);
      byStatus.set(status, (byStatus.get(status) ?? new Map<string, ErrorClass>()).set(error.code, error));
    }
    const responses = [...byStatus].map(([status, classes]) => {
      const schemas = [...classes.values()].map((error) => this.#ref(error));
      const schema = schemas.length === 1 ? schemas[0] : { oneOf: schemas };
      const description = [...classes.keys()].map((code) => `\`${code}\``).join(", ");
      return [status, { description, content: { "application/problem+json": { schema } } }];
    });
    return { ...Object.fromEntries(responses), default: { $ref: "#/components/responses/Problem" } };
  }

  #ref(error: ErrorClass): JsonObject {
    let ref = this.#refs.get(error.code);
    if (ref === undefined) {
      const name = `error.${error.code}`;
      const details = detailsOf(error, this.#components.inline(error.details, "output", name));
      const bare = error.kind === "internal" && error.code === InternalError.code;
      const properties = {
        type: { const: typeOf(error.code) },
        status: { const: statusOf(error) },
        code: { const: error.code },
        kind: { const: error.kind },
        ...(bare ? {} : { details }),
      };
      ref = this.#components.add(name, {
        allOf: [{ $ref: "#/components/schemas/Problem" }, { type: "object", properties, required: ["code"] }],
      } as unknown as JsonObject);
      this.#refs.set(error.code, ref);
    }
    return ref;
  }
}
