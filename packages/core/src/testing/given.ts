import { type AggregateRoot, pendingEvents, storedState } from "../kernel/aggregate.ts";
import type { ErrorClass } from "../kernel/errors.ts";
import type { EventDefinition } from "../kernel/event.ts";
import { canonicalJson, type JsonObject } from "../kernel/schema.ts";

/** Data as a test writes it, `as const` or not. */
export type Fixed<T> = T extends object
  ? // Any JSON is fixed already, and has no end.
    JsonObject extends T
    ? T
    : { readonly [K in keyof T]: Fixed<T[K]> }
  : T;

/** An event in a test: `[ConnectorDisconnected, { connectorId, … }]`, with what it withholds where it does. */
export type TestEvent<Event> = Event extends { readonly type: infer Type extends string; readonly data: infer Data }
  ? Event extends { readonly withheld: infer Withheld }
    ? readonly [definition: EventDefinition<Type, Data>, data: Fixed<Data>, withheld: Fixed<Withheld>]
    : readonly [definition: EventDefinition<Type, Data>, data: Fixed<Data>]
  : never;

/** An event as `then` expects it: nothing is withheld from what was recorded. */
export type ExpectedEvent<Event> = Event extends {
  readonly type: infer Type extends string;
  readonly data: infer Data;
}
  ? readonly [definition: EventDefinition<Type, Data>, data: Fixed<Data>]
  : never;

type EventsOf<A> = A extends AggregateRoot<infer _State, infer Event> ? Event : never;

/** What the act came to. Checks throw an `Error` that shows both sides, so any test runner can show it. */
export interface Acted<A extends AggregateRoot> {
  /** The act raised exactly these events, in this order, and left a state that fits its schema. */
  then(events: readonly ExpectedEvent<EventsOf<A>>[]): A;
  /** The act refused with this error, and with these details where they are given. */
  thenThrows<E extends ErrorClass>(errorClass: E, details?: InstanceType<E>["details"]): InstanceType<E>;
}

export interface Given<A extends AggregateRoot> {
  /** Does one thing. A static method that makes a new aggregate returns it. */
  // biome-ignore lint/suspicious/noConfusingVoidType: methods that return nothing are what is tested most
  when(act: (aggregate: A) => A | void): Acted<A>;
}

interface Testable<A> {
  new (id: string): A;
}

/**
 * Tests an aggregate by its events: `given(Connector, "con_1", [[ConnectorConnected, { … }]])
 * .when((connector) => connector.disconnect(now)).then([[ConnectorDisconnected, { … }]])`.
 */
export function given<A extends AggregateRoot>(
  aggregate: Testable<A>,
  id = "1",
  events: readonly TestEvent<EventsOf<A>>[] = [],
): Given<A> {
  return {
    when(act) {
      const loaded = new aggregate(id);
      for (const event of events as readonly AnyTestEvent[]) raise(loaded, event);
      let subject = loaded;
      let thrown: { readonly error: unknown } | undefined;
      try {
        const made = act(loaded);
        if (made !== undefined) subject = made;
      } catch (error) {
        thrown = { error };
      }
      const raised = pendingEvents(subject).slice(subject === loaded ? events.length : 0);
      return outcome(subject, raised, thrown);
    },
  };
}

type AnyTestEvent = readonly [definition: EventDefinition, data: unknown, withheld?: unknown];

// `raise` is the domain's own, so the past is made by the same way as the present.
function raise(aggregate: AggregateRoot, event: AnyTestEvent): void {
  (aggregate as unknown as { raise(...event: AnyTestEvent): void }).raise(...event);
}

function outcome<A extends AggregateRoot>(
  subject: A,
  raised: ReturnType<typeof pendingEvents>,
  thrown: { readonly error: unknown } | undefined,
): Acted<A> {
  const actual = raised.map((event) => ({ type: event.definition.type, data: event.data as unknown }));
  return {
    // biome-ignore lint/suspicious/noThenProperty: the third word of given, when, then; it refuses to be awaited
    then(events) {
      if (!Array.isArray(events)) throw new TypeError("given … when … then is not a promise; do not await it.");
      const expected = (events as readonly AnyTestEvent[]).map(([{ type }, data]) => ({ type, data }));
      if (thrown !== undefined)
        throw new Error(`Expected ${describe(expected)}\nbut it threw ${thrown.error}`, { cause: thrown.error });
      if (canonicalJson(expected) !== canonicalJson(actual))
        throw new Error(`Expected ${describe(expected)}\nbut there was ${describe(actual)}`);
      if (subject.version > 0) storedState(subject);
      return subject;
    },
    thenThrows(errorClass, details) {
      if (thrown === undefined) throw new Error(`Expected ${errorClass.name}\nbut there was ${describe(actual)}`);
      const { error } = thrown;
      if (!(error instanceof errorClass))
        throw new Error(`Expected ${errorClass.name}\nbut it threw ${error}`, { cause: error });
      if (details !== undefined && canonicalJson(details) !== canonicalJson(error.details))
        throw new Error(
          `Expected ${errorClass.name} with ${canonicalJson(details)}\nbut it had ${canonicalJson(error.details)}`,
          { cause: error },
        );
      return error as InstanceType<typeof errorClass>;
    },
  };
}

function describe(events: readonly { readonly type: string; readonly data: unknown }[]): string {
  if (events.length === 0) return "no events";
  return `${events.length === 1 ? "the event" : "the events"}\n${events
    .map(({ type, data }) => `  ${type} ${canonicalJson(data)}`)
    .join("\n")}`;
}
