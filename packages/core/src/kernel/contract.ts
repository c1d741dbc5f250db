import type { ErrorClass } from "./errors.ts";
import type { EventDefinition } from "./event.ts";
import { assertJsonOnly, jsonSchema, type Schema } from "./schema.ts";

export type OperationKind = "query" | "command" | "action" | "stream";
export type HttpRoute = `${"GET" | "POST" | "PUT" | "PATCH" | "DELETE"} /${string}`;

/** An operation without its types: what the runtime reads. */
export interface AnyOperation {
  readonly kind: OperationKind;
  readonly input: Schema;
  readonly output: Schema | undefined;
  readonly errors: readonly ErrorClass[];
  /** What the caller needs, `connectors:read`; `internal` for operations that only their own context may call. */
  readonly permission: string;
  readonly http: HttpRoute | undefined;
  readonly summary: string;
  /** Input field with the id of what the call is about, or `tenant`: the tenant itself. */
  readonly target: string | undefined;
  /** For actions: whether an attempt that was cut off may be run again under the same key. */
  readonly repeatable: boolean | "handler";
}

/** An operation with its types: what a caller sends, a handler gets, a handler returns, a caller gets. */
export interface Operation<Kind extends OperationKind, In, Args, Returned, Out, Errors, Permission extends string>
  extends AnyOperation {
  readonly kind: Kind;
  readonly permission: Permission;
  /** Never present: carries the types. */
  readonly $types?: {
    readonly in: In;
    readonly args: Args;
    readonly returned: Returned;
    readonly out: Out;
    readonly errors: Errors;
  };
}

export interface OperationOptions<In, Args, Returned, Out, E extends ErrorClass, Permission extends string> {
  /** A strict object: unknown fields are an `InvalidInput`. */
  readonly input: Schema<Args, In>;
  /** Without it the operation returns nothing. For a stream, the schema of one item. */
  readonly output?: Schema<Out, Returned>;
  /** Errors that the handler refuses with, beside the kernel's own. */
  readonly errors?: readonly E[];
  readonly permission: Permission;
  /** `POST /connectors/{connectorId}/disconnect`; without it the operation has no HTTP route. */
  readonly http?: HttpRoute;
  /** One sentence for the API description, and for an agent that may choose it as a tool. */
  readonly summary: string;
  /**
   * Input field with the id of what the call is about, for the audit and for `expectedVersion`; `tenant` when it is the
   * tenant itself. By default the route's first parameter.
   */
  readonly target?: Extract<keyof Args, string> | "tenant";
}

function define(
  kind: OperationKind,
  options: OperationOptions<never, never, never, never, ErrorClass, string>,
  repeatable: AnyOperation["repeatable"],
): AnyOperation {
  return Object.freeze({
    kind,
    input: options.input,
    output: options.output,
    errors: options.errors ?? [],
    permission: options.permission,
    http: options.http,
    summary: options.summary,
    target: options.target ?? /\{(\w+)\}/.exec(options.http ?? "")?.[1],
    repeatable,
  });
}

// biome-ignore format: one line each shows that only the kind differs
/** Reads. Runs without a transaction and cannot change anything. */
export function query<In, Args, const P extends string, E extends ErrorClass = never, Returned = void, Out = void>(options: OperationOptions<In, Args, Returned, Out, E, P>): Operation<"query", In, Args, Returned, Out, InstanceType<E>, P> {
  return define("query", options as never, false) as never;
}

/** Changes aggregates in one commit, and reaches nothing outside. */
export function command<In, Args, const P extends string, E extends ErrorClass = never, Returned = void, Out = void>(
  options: OperationOptions<In, Args, Returned, Out, E, P>,
): Operation<"command", In, Args, Returned, Out, InstanceType<E>, P> {
  return define("command", options as never, false) as never;
}

/**
 * Uses outside systems, and changes things only by calling commands. With an idempotency key it claims the key, acts,
 * and settles. `repeatable` says what happens when an attempt was cut off between the two: `true` runs it again under
 * the same key (the provider honours it), `false` answers `UnknownOutcome`, `"handler"` lets the handler decide by
 * `ctx.attempt`.
 */
export function action<In, Args, const P extends string, E extends ErrorClass = never, Returned = void, Out = void>(
  options: OperationOptions<In, Args, Returned, Out, E, P> & { readonly repeatable?: boolean | "handler" },
): Operation<"action", In, Args, Returned, Out, InstanceType<E>, P> {
  return define("action", options as never, options.repeatable ?? false) as never;
}

/** Yields items that are already durable, from a resume cursor. Over HTTP: server-sent events. */
export function stream<In, Args, const P extends string, E extends ErrorClass = never, Returned = void, Out = void>(
  options: OperationOptions<In, Args, Returned, Out, E, P>,
): Operation<"stream", In, Args, Returned, Out, InstanceType<E>, P> {
  return define("stream", options as never, false) as never;
}

export type Operations = Readonly<Record<string, AnyOperation>>;

/** What a context publishes: all that another context may import of it. */
export interface Contract<
  Name extends string = string,
  Ops extends Operations = Operations,
  Events extends EventDefinition = EventDefinition,
> {
  readonly name: Name;
  readonly operations: Ops;
  readonly events: readonly Events[];
}

/** Declares a contract and checks its names and permissions; `defineContext` checks its schemas and routes. */
export function defineContract<
  const Name extends string,
  const Ops extends Operations,
  const E extends EventDefinition = never,
>(name: Name, operations: Ops, options: { readonly events?: readonly E[] } = {}): Contract<Name, Ops, E> {
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(name)) throw new TypeError(`The context name "${name}" must be lower snake case.`);
  for (const [key, operation] of Object.entries(operations)) {
    const id = `${name}.${key}`;
    // A client is a plain object with these names: with a `then` it would be taken for a promise.
    if (!/^[a-z][A-Za-z0-9]{0,59}$/.test(key) || key === "then")
      throw new TypeError(`The operation name "${id}" must be lower camel case, and not "then".`);
    if (operation.permission !== "internal" && !isPermissionOf(name, operation.permission))
      throw new TypeError(`${id} needs a permission that starts with "${name}:", or "internal".`);
    if (operation.permission === "internal" && operation.http !== undefined)
      throw new TypeError(`${id} is internal and cannot have an HTTP route.`);
    if ((operation.summary ?? "").trim() === "") throw new TypeError(`${id} needs a summary.`);
    if (operation.kind === "stream" && operation.output === undefined)
      throw new TypeError(`${id} needs an output: the schema of one item.`);
  }
  return Object.freeze({
    name,
    operations: Object.freeze({ ...operations }),
    events: Object.freeze([...(options.events ?? [])]),
  });
}

/**
 * Throws unless JSON can carry every input, output and event, and each route finds its parameters. Not done where a
 * contract is declared: looking into schemas takes time, and who imports a contract to call it should not pay for it.
 */
export function checkSchemas({ name, operations, events }: Contract): void {
  for (const [key, operation] of Object.entries(operations)) {
    const id = `${name}.${key}`;
    assertJsonOnly(operation.input, `The input of ${id}`);
    if (operation.output !== undefined) assertJsonOnly(operation.output, `The output of ${id}`);
    checkRoute(id, operation);
  }
  for (const { type, data } of events) assertJsonOnly(data, `The event "${type}"`);
}

function isPermissionOf(name: string, permission: string): boolean {
  return permission.startsWith(`${name}:`) && /^[a-z][a-z0-9_.-]*$/.test(permission.slice(name.length + 1));
}

function checkRoute(id: string, operation: AnyOperation): void {
  const { type, properties, additionalProperties } = jsonSchema(operation.input, "input") as {
    type?: string;
    properties?: Record<string, unknown>;
    additionalProperties?: unknown;
  };
  if (type !== "object") throw new TypeError(`The input of ${id} must be an object.`);
  if (additionalProperties !== false)
    throw new TypeError(`The input of ${id} must be a strict object: a field that it does not know is a mistake.`);
  for (const [, parameter] of (operation.http ?? "").matchAll(/\{([^}]*)\}/g))
    if (properties?.[parameter!] === undefined)
      throw new TypeError(`${id} has the path parameter "${parameter}" and its input has no such field.`);
}

/** How a caller calls one operation. */
export interface CallOptions {
  /** Same key, same input: the first call's result, and its effect once. At most 255 characters. */
  readonly idempotencyKey?: string | undefined;
  /** The call is given up after this time. Default 30 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * For commands: the version of the operation's target that the caller has seen. When it is at another one, nothing
   * happens and the call is refused with `VersionMismatch`.
   */
  readonly expectedVersion?: number | undefined;
  /** W3C `traceparent` of the caller. */
  readonly traceparent?: string | undefined;
  /** Id shared by everything that one outside call sets off; made when absent. */
  readonly correlationId?: string | undefined;
  /** For streams: the cursor of the last item that the caller has. */
  readonly after?: string | undefined;
}

/** An item of a stream with the cursor to resume after it. */
export interface StreamItem<T> {
  readonly cursor: string;
  readonly item: T;
}

type Arguments<In> = {} extends In ? [input?: In, options?: CallOptions] : [input: In, options?: CallOptions];

/** The function that a caller sees for an operation. */
export type Call<O> =
  O extends Operation<infer Kind, infer In, infer _Args, infer _Returned, infer Out, infer _E, infer _P>
    ? Kind extends "stream"
      ? (...args: Arguments<In>) => AsyncIterable<StreamItem<Out>>
      : (...args: Arguments<In>) => Promise<Out>
    : never;

/** A contract as its callers see it: one function per operation of the given kinds. */
export type Client<C extends Contract, Kind extends OperationKind = OperationKind> = {
  readonly [K in keyof C["operations"] as C["operations"][K] extends { permission: "internal" }
    ? never
    : C["operations"][K]["kind"] extends Kind
      ? K
      : never]: Call<C["operations"][K]>;
};

/** A contract as its own context sees it: internal operations too. */
export type OwnClient<C extends Contract, Kind extends OperationKind = OperationKind> = {
  readonly [K in keyof C["operations"] as C["operations"][K]["kind"] extends Kind ? K : never]: Call<
    C["operations"][K]
  >;
};
