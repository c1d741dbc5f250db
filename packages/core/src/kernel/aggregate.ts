import { CorruptData, NotFound } from "./errors.ts";
import { type EventDefinition, eventData } from "./event.ts";
import { encodeIndexValue, type IndexValue } from "./index-value.ts";
import { frozenCopy } from "./json-copy.ts";
import { frozenJson, type JsonObject, type Schema, tryParse } from "./schema.ts";
import type { StoredAggregate } from "./store.ts";

/** What a store needs to know of an aggregate class. Made by `defineAggregate`. */
export interface AggregateDefinition<State = unknown, Index extends string = string> {
  readonly type: string;
  readonly state: Schema<State>;
  /** Version of the state's shape. */
  readonly version: number;
  readonly events: readonly EventDefinition[];
  /** Fields of the state that `find` can filter and order by. */
  readonly index: readonly Index[];
  /** Turns a state of an older version into the present one. */
  readonly migrate: ((state: JsonObject, version: number) => unknown) | undefined;
}

/**
 * Says what an aggregate's state is, which events change it, and by what it can be found. `defineContext` checks that
 * JSON can carry the state.
 */
export function defineAggregate<State extends object, const Index extends keyof State & string = never>(
  type: string,
  options: {
    readonly state: Schema<State>;
    readonly events: readonly EventDefinition[];
    readonly index?: readonly Index[];
    readonly version?: number;
    readonly migrate?: (state: JsonObject, version: number) => unknown;
  },
): AggregateDefinition<State, Index> {
  if (!/^[a-z][a-z0-9_]*$/.test(type)) throw new TypeError(`The aggregate type "${type}" must be lower snake case.`);
  for (const field of options.index ?? [])
    if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(field)) throw new TypeError(`"${field}" of ${type} cannot be an index field.`);
  return Object.freeze({
    type,
    state: options.state,
    version: options.version ?? 1,
    events: options.events,
    index: options.index ?? [],
    migrate: options.migrate,
  });
}

/** An aggregate class as contexts list it. */
export interface AggregateClass<A extends AggregateRoot = AggregateRoot, Index extends string = string> {
  new (id: string): A;
  // biome-ignore lint/suspicious/noExplicitAny: a definition of any state; the index names are what callers need
  readonly definition: AggregateDefinition<any, Index>;
}

/** A change that has been raised and not yet committed. */
export interface PendingEvent {
  readonly definition: EventDefinition;
  readonly data: JsonObject;
  /** The aggregate's version after it. */
  readonly version: number;
}

type AnyEvent = { readonly type: string; readonly data: unknown; readonly withheld?: unknown };

/**
 * An event whose effect on the state also needs what must not stand in an event: personal data, a key's hash. `evolve`
 * sees it as `event.withheld`; it reaches the state and neither the log nor a subscriber.
 */
export type Withholding<Event, Withheld> = Event & { readonly withheld: Withheld };

// Of any event at all it is required: an aggregate whose every event withholds something is an aggregate too.
type WithheldBy<Event> = "withheld" extends keyof Event ? [withheld: Event["withheld"]] : [withheld?: undefined];

/** What the runtime may do with an aggregate and the domain may not. */
interface Internals {
  revive(aggregate: AggregateRoot, state: object, version: number): void;
  restore(aggregate: AggregateRoot, stored: StoredAggregate): void;
  pending(aggregate: AggregateRoot): readonly PendingEvent[];
}

let internals: Internals;

/**
 * The unit of consistency: behaviour in the domain's words over one immutable state, which only its events change.
 * Methods check the rules, throw a typed error or `raise` an event; `evolve` says what the event does to the state.
 */
export abstract class AggregateRoot<State extends object = object, Event extends AnyEvent = AnyEvent> {
  readonly id: string;
  #state: State | undefined;
  #version = 0;
  readonly #pending: PendingEvent[] = [];

  static {
    internals = {
      revive(aggregate, state, version) {
        aggregate.#state = state;
        aggregate.#version = version;
      },
      restore(aggregate, stored) {
        const { definition } = aggregate.constructor as unknown as AggregateClass;
        aggregate.#state = frozenJson(readState(definition, stored) as object);
        aggregate.#version = stored.version;
      },
      pending: (aggregate) => aggregate.#pending,
    };
  }

  /** Makes one that has no events yet; the domain offers a static method that raises the first. */
  constructor(id: string) {
    this.id = id;
  }

  /** The present state. Throws `NotFound` before the first event. */
  get state(): State {
    if (this.#state === undefined)
      throw new NotFound({ type: (this.constructor as unknown as AggregateClass).definition.type, id: this.id });
    return this.#state;
  }

  /** Number of events so far, raised ones included. */
  get version(): number {
    return this.#version;
  }

  /** The state after the event. Must not change `state`, look at a clock or throw. */
  protected abstract evolve(state: State | undefined, event: Event): State;

  /**
   * Records the event and applies it. The data is checked against the event's schema. What is withheld from the event
   * is seen by `evolve` alone.
   */
  protected raise<const D extends EventDefinition<Event["type"]>>(
    definition: D,
    data: Extract<Event, { readonly type: D["type"] }>["data"],
    ...withheld: WithheldBy<Extract<Event, { readonly type: D["type"] }>>
  ): void {
    const checked = eventData(definition, data);
    const event = { type: definition.type, data: checked, withheld: withheld[0] } as unknown as Event;
    this.#state = frozenJson(this.evolve(this.#state, event));
    this.#version += 1;
    this.#pending.push({ definition, data: checked as JsonObject, version: this.#version });
  }
}

/** Gives an empty aggregate its stored state and version. For the runtime and tests. */
export function restoreAggregate<A extends AggregateRoot>(aggregate: A, stored: StoredAggregate): A {
  internals.restore(aggregate, stored);
  return aggregate;
}

/** The same with a state that `storedState` has made of one of this class. */
export function reviveAggregate<A extends AggregateRoot>(aggregate: A, state: object, version: number): A {
  internals.revive(aggregate, state, version);
  return aggregate;
}

/** Events raised since it was loaded or made. For the runtime and tests. */
export function pendingEvents(aggregate: AggregateRoot): readonly PendingEvent[] {
  return internals.pending(aggregate);
}

/**
 * The state as it is stored, and its encoded index fields.
 *
 * @throws {CorruptData} when `evolve` made a state that does not fit: a defect of the aggregate
 */
export function storedState(aggregate: AggregateRoot): {
  readonly state: JsonObject;
  readonly stateVersion: number;
  readonly index: Readonly<Record<string, string>>;
} {
  const { definition } = aggregate.constructor as unknown as AggregateClass;
  const parsed = tryParse(definition.state, aggregate.state);
  if (!parsed.ok)
    throw new CorruptData({
      subject: `The new state of ${definition.type} "${aggregate.id}"`,
      issues: [...parsed.issues],
    });
  // As every store gives it back: without members that are undefined.
  const state = frozenCopy(parsed.value as JsonObject);
  return { state, stateVersion: definition.version, index: indexOf(definition, state) };
}

function indexOf(definition: AggregateDefinition, state: JsonObject): Readonly<Record<string, string>> {
  const index: Record<string, string> = {};
  for (const field of definition.index) {
    const value = state[field] ?? null;
    if (typeof value === "object" && value !== null)
      throw new TypeError(`The index field "${field}" of ${definition.type} holds an object; use a plain value.`);
    index[field] = encodeIndexValue(value as IndexValue);
  }
  return index;
}

function readState(definition: AggregateDefinition, stored: StoredAggregate): unknown {
  const subject = `The stored state of ${stored.type} "${stored.id}" (version ${stored.stateVersion})`;
  let state: unknown = stored.state;
  if (stored.stateVersion !== definition.version) {
    if (stored.stateVersion > definition.version || definition.migrate === undefined)
      throw new CorruptData({
        subject,
        issues: [{ path: "", message: `cannot be read as version ${definition.version}` }],
      });
    state = definition.migrate(structuredClone(stored.state), stored.stateVersion);
  }
  const parsed = tryParse(definition.state, state);
  if (!parsed.ok) throw new CorruptData({ subject, issues: [...parsed.issues] });
  return parsed.value;
}
