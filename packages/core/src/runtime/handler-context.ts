import type { AggregateClass, AggregateRoot } from "../kernel/aggregate.ts";
import { restoreAggregate } from "../kernel/aggregate.ts";
import { toInstant } from "../kernel/clock.ts";
import type { CallContext, Dependency, QueryContext } from "../kernel/context.ts";
import type { CallOptions, Contract, OperationKind, StreamItem } from "../kernel/contract.ts";
import { Forbidden, NotFound } from "../kernel/errors.ts";
import type { FindOptions } from "../kernel/reads.ts";
import type { Counter, CounterQuery, Page, StoredAggregate } from "../kernel/store.ts";
import { type CallRequest, callOptions, type RunnableOperation } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import { declared, isAtomic } from "./declared.ts";
import { executionCommands, executionQueries } from "./executions/execution-handles.ts";
import { everyPage, toFindQuery } from "./find-query.ts";
import { saysNothingHappened } from "./idempotency.ts";
import { madeWhenUsed } from "./made-when-used.ts";
import { withProjections } from "./projection-reads.ts";
import type { CallPorts } from "./runtime-ports.ts";
import { sending } from "./sending.ts";
import { UnitOfWork } from "./unit-of-work.ts";

/** How handlers reach other operations; the pipeline implements it. */
export interface Calls {
  call(id: string, input: unknown, request: CallRequest): Promise<unknown>;
  stream(id: string, input: unknown, request: CallRequest): AsyncIterable<StreamItem<unknown>>;
  /** Runs a command of an atomic dependency as part of the caller's unit of work. */
  join(id: string, input: unknown, call: CallInfo, work: UnitOfWork): Promise<unknown>;
}

type TryLoad = <A extends AggregateRoot>(type: AggregateClass<A>, id: string) => Promise<A | undefined>;

/** Whether a handler's calls have changed anything by now. */
export interface Effects {
  happened: boolean;
}

type Restore = <A extends AggregateRoot>(type: AggregateClass<A>, stored: StoredAggregate) => A;

const WORK = Symbol("unit of work");

/** The unit of work behind a command's context object: for contexts of our own that change what others keep. */
export function workOf(ctx: object): UnitOfWork {
  return (ctx as { readonly [WORK]: UnitOfWork })[WORK];
}

type Reads = QueryContext<Contract, Dependency>;

const Reading = madeWhenUsed<Reads>({
  ...{ principal: true, tenant: true, now: true, signal: true, log: true, can: true, require: true },
  ...{ callId: true, traceId: true, traceparent: true, correlationId: true },
  ...{ load: true, tryLoad: true, find: true, findAll: true, counters: true, use: true, executions: true },
});

/** Builds the `ctx` of each kind of operation, with no more on it than the kind may use. */
export class HandlerContexts {
  readonly #ports: CallPorts;
  readonly #calls: Calls;

  constructor(ports: CallPorts, calls: Calls) {
    this.#ports = ports;
    this.#calls = calls;
  }

  query(target: RunnableOperation, call: CallInfo) {
    return new Reading(() => {
      // Nothing of it is committed: it is there for its batched loads.
      const work = new UnitOfWork(this.#ports.store, this.#ports.ids, call);
      return this.#reading(target, call, (type, id) => work.load(target.context.contract.name, type, id));
    });
  }

  stream(target: RunnableOperation, call: CallInfo) {
    const scope = { tenant: call.principal.tenant, context: target.context.contract.name };
    // A stream goes on for long: each load looks anew.
    const tryLoad: TryLoad = async (type, id) => {
      const [stored] = await this.#ports.store.load(scope, [{ type: type.definition.type, id }]);
      return stored === undefined ? undefined : restoreAggregate(new type(id), stored);
    };
    return { ...this.#reading(target, call, tryLoad), after: call.after, clock: this.#ports.clock };
  }

  command(target: Pick<RunnableOperation, "id" | "context">, call: CallInfo, work: UnitOfWork) {
    const { ids } = this.#ports;
    const context = target.context.contract.name;
    const tryLoad = <A extends AggregateRoot>(type: AggregateClass<A>, id: string) => work.load(context, type, id);
    return {
      ...this.#common(target, call),
      load: orNotFound(tryLoad),
      ...this.#finding(target, call, tryLoad, (type, stored) => work.found(context, type, stored)),
      add: <A extends AggregateRoot>(aggregate: A) => work.add(context, aggregate),
      newId: (prefix: string) => ids.next(prefix),
      random: (bytes: number) => ids.random(bytes),
      use: this.#use(target, call, ["query"], { work }),
      ...sending(ids, target, call, work),
      executions: executionCommands(this.#ports, target.context, call, work),
      [WORK]: work,
    };
  }

  action(target: RunnableOperation, call: CallInfo, attempt: number, effects: Effects) {
    const { ids, http, secrets, lease, rateLimiter, clock } = this.#ports;
    return {
      ...this.#common(target, call),
      attempt,
      deadline: call.deadline,
      http,
      secrets,
      lease,
      rateLimiter,
      clock,
      count: (key: string, numbers: Readonly<Record<string, number>>) => call.counts.add(key, numbers),
      newId: (prefix: string) => ids.next(prefix),
      random: (bytes: number) => ids.random(bytes),
      use: this.#use(target, call, ["query", "command", "action", "stream"], { effects }),
    };
  }

  #common(target: Pick<RunnableOperation, "id" | "context">, call: CallInfo): CallContext {
    const { authorizer, logger } = this.#ports;
    const { principal, trace } = call;
    const can = (permission: string) => authorizer.allows(principal, permission);
    const fields = { tenant: principal.tenant, operation: target.id, traceId: trace.traceId };
    return {
      principal,
      tenant: principal.tenant,
      now: toInstant(call.startedAt),
      signal: call.signal,
      log: {
        debug: (message, more) => logger.debug(message, { ...fields, ...more }),
        info: (message, more) => logger.info(message, { ...fields, ...more }),
        warn: (message, more) => logger.warn(message, { ...fields, ...more }),
        error: (message, more) => logger.error(message, { ...fields, ...more }),
      },
      callId: call.id,
      traceId: trace.traceId,
      traceparent: trace.traceparent,
      correlationId: call.correlationId,
      can,
      require: async (permission) => {
        if (!(await can(permission))) throw new Forbidden({ permission });
      },
    };
  }

  #reading(target: RunnableOperation, call: CallInfo, tryLoad: TryLoad): Reads {
    return {
      ...this.#common(target, call),
      load: orNotFound(tryLoad),
      ...this.#finding(target, call, tryLoad, (type, stored) => restoreAggregate(new type(stored.id), stored)),
      executions: executionQueries(this.#ports, target, call),
      use: this.#use(target, call, ["query"]) as Reads["use"],
    };
  }

  #finding({ context }: Pick<RunnableOperation, "context">, call: CallInfo, tryLoad: TryLoad, restore: Restore) {
    const scope = { tenant: call.principal.tenant, context: context.contract.name };
    const find = async <A extends AggregateRoot>(
      type: AggregateClass<A>,
      options: FindOptions<string> = {},
    ): Promise<Page<A>> => {
      const { definition } = type;
      const query = toFindQuery({ name: definition.type, index: definition.index }, options);
      const page = await this.#ports.store.find(scope, { type: definition.type, ...query });
      const items = page.items.map((stored) => restore(type, stored));
      return page.next === undefined ? { items } : { items, next: page.next };
    };
    const findAll = <A extends AggregateRoot>(type: AggregateClass<A>, options: FindOptions<string> = {}) =>
      everyPage((page) => find(type, page), options);
    const counters = (query: CounterQuery): Promise<Page<Counter>> => this.#ports.store.counters(scope, query);
    return { counters, ...withProjections({ tryLoad, find, findAll }, this.#ports.store, context, scope.tenant) };
  }

  #use(
    target: Pick<RunnableOperation, "id" | "context">,
    call: CallInfo,
    kinds: readonly OperationKind[],
    { work, effects }: { readonly work?: UnitOfWork; readonly effects?: Effects } = {},
  ) {
    const own = target.context.contract.name;
    return (contract: Contract): Record<string, unknown> => {
      const dependency = declared(target, contract);
      const joins = work !== undefined && dependency !== undefined && isAtomic(dependency);
      const client: Record<string, unknown> = {};
      for (const [name, operation] of Object.entries(contract.operations)) {
        const id = `${contract.name}.${name}`;
        if (operation.permission === "internal" && contract.name !== own) continue;
        if (joins && operation.kind === "command")
          client[name] = (input: unknown = {}) => this.#calls.join(id, input, call, work);
        else if (operation.kind === "stream" && kinds.includes("stream"))
          client[name] = (input: unknown = {}, options?: CallOptions) =>
            this.#calls.stream(id, input, this.#onward(call, own, options));
        else if (kinds.includes(operation.kind))
          client[name] = (input: unknown = {}, options?: CallOptions) => {
            const answer = this.#calls.call(id, input, this.#onward(call, own, options));
            return effects === undefined || operation.kind === "query" ? answer : noting(effects, answer);
          };
      }
      return client;
    };
  }

  #onward(call: CallInfo, from: string, options: CallOptions = {}): CallRequest {
    return {
      ...callOptions(options),
      principal: call.principal,
      signal: options.signal === undefined ? call.signal : AbortSignal.any([call.signal, options.signal]),
      deadline: call.deadline,
      traceparent: call.trace.traceparent,
      correlationId: call.correlationId,
      causationId: call.id,
      from,
    };
  }
}

// A limit that is reached says of itself that nothing has happened yet.
async function noting<T>(effects: Effects, answer: Promise<T>): Promise<T> {
  try {
    const value = await answer;
    effects.happened = true;
    return value;
  } catch (error) {
    if (!saysNothingHappened(error)) effects.happened = true;
    throw error;
  }
}

function orNotFound(tryLoad: TryLoad) {
  return async <A extends AggregateRoot>(type: AggregateClass<A>, id: string): Promise<A> => {
    const found = await tryLoad(type, id);
    if (found === undefined) throw new NotFound({ type: type.definition.type, id });
    return found;
  };
}
