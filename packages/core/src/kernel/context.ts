import type { AggregateClass, AggregateRoot } from "./aggregate.ts";
import type { Clock, Instant } from "./clock.ts";
import {
  type Client,
  type Contract,
  checkSchemas,
  type Operation,
  type OperationKind,
  type OwnClient,
  type StreamItem,
} from "./contract.ts";
import type { EventDefinition, ReceivedEvent } from "./event.ts";
import type { ExecutionDefinition } from "./execution.ts";
import type { ExecutionCommands, ExecutionQueries } from "./execution-calls.ts";
import type { HttpClient, Lease, Logger, RateLimiter, SecretStore } from "./ports.ts";
import type { Principal } from "./principal.ts";
import { type ProjectionDefinition, projectionSources } from "./projection.ts";
import type { Reads } from "./reads.ts";
import { assertJsonOnly } from "./schema.ts";
import type { Delay, RecurrenceOptions } from "./timers.ts";

/** A dependency whose commands join the caller's commit. It must run in the same process on the same database. */
export interface Atomic<C extends Contract = Contract> {
  readonly atomic: C;
}

/** Declares in `dependsOn` that this contract's commands join the caller's commit. */
export function atomic<C extends Contract>(contract: C): Atomic<C> {
  return Object.freeze({ atomic: contract });
}

export type Dependency = Contract | Atomic;
type ContractOf<D> = D extends Atomic<infer C> ? C : D extends Contract ? D : never;
type AtomicOf<D> = D extends Atomic<infer C> ? C : never;

/** The contract itself, or a sentence that says what is missing. */
export type Declared<X extends Contract, C extends Contract, D> = X["name"] extends C["name"] | ContractOf<D>["name"]
  ? X
  : `"${X["name"]}" is not in dependsOn`;

type Reach<X extends Contract, C extends Contract, Kind extends OperationKind> = X["name"] extends C["name"]
  ? OwnClient<X, Kind>
  : Client<X, Kind>;

type Sendable<O> =
  O extends Operation<infer _Kind, infer In, infer _A, infer _R, infer _O, infer _E, infer _P> ? In : never;

type Awaitable<T> = T | Promise<T>;

/** What every handler gets. */
export interface CallContext {
  readonly principal: Principal;
  readonly tenant: string;
  /** Fixed for the whole call. */
  readonly now: Instant;
  /** Aborted when the caller gives up or the deadline passes. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Id of this call; with an idempotency key, the same over repeats. */
  readonly callId: string;
  readonly traceId: string;
  readonly traceparent: string;
  readonly correlationId: string;
  /** Whether the principal holds the permission. */
  can(permission: string): Promise<boolean>;
  /** Throws `Forbidden` unless the principal holds the permission. */
  require(permission: string): Promise<void>;
}

/** A query reads. */
export interface QueryContext<C extends Contract, D> extends CallContext, Reads {
  readonly executions: ExecutionQueries;
  use<const X extends Contract>(contract: X & Declared<X, C, D>): Reach<X, C, "query">;
}

/** A stream reads, from a cursor on. */
export interface StreamContext<C extends Contract, D> extends QueryContext<C, D> {
  /** Cursor of the last item that the caller has. */
  readonly after: string | undefined;
  /** To wait between looks. */
  readonly clock: Clock;
}

/** A command changes aggregates; all its changes are one commit. */
export interface CommandContext<C extends Contract, D> extends CallContext, Reads {
  readonly executions: ExecutionCommands;
  /** Makes a new aggregate part of the commit. */
  add<A extends AggregateRoot>(aggregate: A): A;
  /** `con_01k…` */
  newId(prefix: string): string;
  /** Unguessable bytes. A run that is repeated after a lost race gets others. */
  random(bytes: number): Uint8Array;
  use<const X extends Contract>(
    contract: X & Declared<X, C, D>,
  ): Reach<X, C, X["name"] extends AtomicOf<D>["name"] ? "query" | "command" : "query">;
  /**
   * Has a command run once, after this commit, as the same principal. Or an action that is `repeatable`: at least
   * once, until it is done. With a delay, not before its time has come.
   *
   * @returns the sent command's id. One that is delayed can be called off by it, with `unschedule`.
   */
  send<const X extends Contract, K extends keyof Reach<X, C, "command" | "action"> & string>(
    contract: X & Declared<X, C, D>,
    operation: K,
    input: Sendable<X["operations"][K]>,
    delay?: Delay,
  ): string;
  /**
   * Has a command run again and again from this commit on, as the same principal: each time once, and once for all the
   * times that passed while nothing was running. Scheduling under a key again replaces what is there; with the same
   * recurrence the next time stays what it was.
   *
   * @param key its name in the tenant and this context: 1 to 200 letters, digits and `.` `_` `:` `~` `-`
   */
  schedule<const X extends Contract, K extends keyof Reach<X, C, "command" | "action"> & string>(
    key: string,
    contract: X & Declared<X, C, D>,
    operation: K,
    input: Sendable<X["operations"][K]>,
    recurrence: RecurrenceOptions,
  ): void;
  /**
   * Calls off what this context has scheduled under the key, or sent with a delay; without effect when there is nothing.
   * With `required` the commit is refused (`VersionConflict`) when it is no longer there: either this command is
   * committed, or what was scheduled is sent, and never both.
   */
  unschedule(key: string, options?: { readonly required?: boolean }): void;
}

/** An action uses outside systems, and changes things only by calling commands. */
export interface ActionContext<C extends Contract, D> extends CallContext {
  /** 1, or more when an earlier attempt with the same key was cut off. */
  readonly attempt: number;
  /** When the call is given up, in milliseconds since 1970. */
  readonly deadline: number;
  readonly http: HttpClient;
  readonly secrets: SecretStore;
  readonly lease: Lease;
  readonly rateLimiter: RateLimiter;
  readonly clock: Clock;
  /**
   * Adds whole numbers to the tenant's counter with this key (at most 512 characters), whatever the call comes to. They
   * are durable with the commit that writes down how the call ended, so counting costs no round trip.
   */
  count(key: string, numbers: Readonly<Record<string, number>>): void;
  /** `con_01k…` */
  newId(prefix: string): string;
  /** Unguessable bytes. */
  random(bytes: number): Uint8Array;
  use<const X extends Contract>(contract: X & Declared<X, C, D>): Reach<X, C, OperationKind>;
}

type Handler<O, C extends Contract, D> =
  O extends Operation<infer Kind, infer _In, infer Args, infer Returned, infer _Out, infer _E, infer _P>
    ? Kind extends "query"
      ? (input: Args, ctx: QueryContext<C, D>) => Awaitable<Returned>
      : Kind extends "command"
        ? (input: Args, ctx: CommandContext<C, D>) => Awaitable<Returned>
        : Kind extends "action"
          ? (input: Args, ctx: ActionContext<C, D>) => Awaitable<Returned>
          : (input: Args, ctx: StreamContext<C, D>) => AsyncIterable<StreamItem<Returned>>
    : never;

/** One handler for each operation of the contract. */
export type Handlers<C extends Contract, D> = {
  readonly [K in keyof C["operations"]]: Handler<C["operations"][K], C, D>;
};

/** What happens when an event arrives. Its effect in the store happens once. */
export interface Subscription {
  readonly event: EventDefinition;
  /** Explicit and permanent: `connectors.disconnect-all`. */
  readonly consumer: string;
  // biome-ignore lint/suspicious/noExplicitAny: the typed form is `On`; here events of all types are in one list
  readonly handle: (event: any, ctx: any) => Awaitable<void>;
}

/** Declares a subscription to an event of this context or of one in `dependsOn`. */
export type On<C extends Contract, D> = <E extends C["events"][number] | ContractOf<D>["events"][number]>(
  event: E,
  options: { readonly consumer: string },
  handle: (
    event: E extends EventDefinition<infer Type, infer Data> ? ReceivedEvent<Type, Data> : never,
    ctx: CommandContext<C, D>,
  ) => Awaitable<void>,
) => Subscription;

/** A context as `createArmature` takes it. Made by `defineContext`. */
export interface ContextDefinition<C extends Contract = Contract> {
  readonly contract: C;
  readonly dependsOn: readonly Dependency[];
  readonly aggregates: readonly AggregateClass[];
  // biome-ignore lint/suspicious/noExplicitAny: handlers of any operation; `defineContext` has checked them
  readonly handlers: Readonly<Record<string, (input: any, ctx: any) => any>>;
  readonly subscriptions: readonly Subscription[];
  readonly projections: readonly ProjectionDefinition[];
  readonly executions: readonly ExecutionDefinition[];
}

/** The contracts whose events a context may hear: its own, and those that it depends on. */
export function heardContracts({
  contract,
  dependsOn,
}: Pick<ContextDefinition, "contract" | "dependsOn">): readonly Contract[] {
  return [contract, ...dependsOn.map((each) => ("atomic" in each ? each.atomic : each))];
}

/**
 * Binds a contract to its aggregates, handlers and subscriptions.
 *
 * @throws {TypeError} a handler is missing, or a schema describes what JSON cannot carry; the sentence says which
 */
export function defineContext<
  C extends Contract,
  const D extends Dependency = never,
  H extends Handlers<C, D> = Handlers<C, D>,
>(
  contract: C,
  options: {
    readonly dependsOn?: readonly D[];
    readonly aggregates?: readonly AggregateClass[];
    readonly handlers: H & { readonly [K in Exclude<keyof H, keyof C["operations"]>]: never };
    readonly subscriptions?: (on: On<C, D>) => readonly Subscription[];
    /** Read models of events of this context and of those in `dependsOn`; queries and streams read them. */
    readonly projections?: readonly ProjectionDefinition[];
    /** What its commands may start as durable executions. */
    readonly executions?: readonly ExecutionDefinition[];
  },
): ContextDefinition<C> {
  const handlers = options.handlers as unknown as ContextDefinition["handlers"];
  for (const name of Object.keys(contract.operations))
    if (!Object.hasOwn(handlers, name) || typeof handlers[name] !== "function")
      throw new TypeError(`${contract.name}.${name} has no handler.`);
  checkSchemas(contract);
  for (const { definition } of options.aggregates ?? [])
    assertJsonOnly(definition.state, `The state of "${definition.type}"`);
  const on = ((event: EventDefinition, { consumer }: { consumer: string }, handle: Subscription["handle"]) => {
    if (!consumer.startsWith(`${contract.name}.`))
      throw new TypeError(`The consumer "${consumer}" must start with "${contract.name}.".`);
    return { event, consumer, handle };
  }) as unknown as On<C, D>;
  const dependsOn = options.dependsOn ?? [];
  const projections = options.projections ?? [];
  for (const [at, projection] of projections.entries()) {
    projectionSources(projection, heardContracts({ contract, dependsOn }));
    if (projections.findIndex(({ name }) => name === projection.name) !== at)
      throw new TypeError(`The context "${contract.name}" has two projections "${projection.name}".`);
  }
  const executions = options.executions ?? [];
  for (const [at, { name, version, ended }] of executions.entries()) {
    if (executions.findIndex((other) => other.name === name && other.version === version) !== at)
      throw new TypeError(`The context "${contract.name}" has two definitions "${name}" of version ${version}.`);
    if (ended !== undefined && contract.operations[ended]?.kind !== "command")
      throw new TypeError(`"${contract.name}.${ended}", which is to hear how "${name}" ends, is no command.`);
  }
  return Object.freeze({
    contract,
    dependsOn,
    aggregates: options.aggregates ?? [],
    handlers,
    subscriptions: options.subscriptions?.(on) ?? [],
    projections,
    executions,
  });
}
