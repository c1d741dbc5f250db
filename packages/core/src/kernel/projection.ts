import type { Contract } from "./contract.ts";
import type { EventDefinition, ReceivedEvent } from "./event.ts";
import { assertJsonOnly, type Schema } from "./schema.ts";

/** The rows of the event's tenant, as a projection's handler reads and writes them. */
export interface ProjectionRows<Row> {
  /** The row as it is by now, earlier events of the same batch included. A copy. */
  get(id: string): Promise<Row | undefined>;
  /** Writes the row, whether there was one or not. Ids are 1 to 512 characters. */
  put(id: string, row: Row): void;
  /** Without effect when there is none. */
  delete(id: string): void;
}

/**
 * What one event does to the rows. It runs more often than once, also when its rows are only looked ahead for: nothing
 * but the rows may change.
 */
export interface ProjectionHandler {
  readonly event: EventDefinition;
  // biome-ignore lint/suspicious/noExplicitAny: the typed form is `OnProjected`; here events of all types are in one list
  readonly handle: (event: any, rows: ProjectionRows<any>) => void | Promise<void>;
}

/** Declares what an event of this context, or of one in its `dependsOn`, does to the rows. */
export type OnProjected<Row> = <Type extends string, Data>(
  event: EventDefinition<Type, Data>,
  handle: (event: ReceivedEvent<Type, Data>, rows: ProjectionRows<Row>) => void | Promise<void>,
) => ProjectionHandler;

/** A read model: rows that are made of events, and can be made again. Made by `defineProjection`. */
export interface ProjectionDefinition<Row = unknown, Index extends string = string> {
  readonly name: string;
  readonly version: number;
  readonly row: Schema<Row>;
  readonly index: readonly Index[];
  readonly handlers: readonly ProjectionHandler[];
}

/** A row of a projection as queries get it. */
export interface ProjectionRow<Row> {
  readonly id: string;
  readonly row: Row;
}

/**
 * Says what rows a projection has, by what they can be found, and what each event does to them. The rows are kept per
 * tenant. Raise `version` when rows or handlers change: a new generation of the rows is then made from the first event
 * on, while the old one is read.
 *
 * @throws {TypeError} the name, the version or an index field is not one that a store can keep, an event is there
 *   twice, or JSON cannot carry the rows
 */
export function defineProjection<Row extends object, const Index extends keyof Row & string = never>(
  name: string,
  options: {
    readonly version?: number;
    readonly row: Schema<Row>;
    readonly index?: readonly Index[];
    readonly events: (on: OnProjected<Row>) => readonly ProjectionHandler[];
  },
): ProjectionDefinition<Row, Index> {
  const { version = 1, row, index = [] } = options;
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(name)) throw new TypeError(`The projection "${name}" must be lower snake case.`);
  if (!Number.isSafeInteger(version) || version < 1)
    throw new TypeError(`The projection "${name}" needs a version of 1 or more.`);
  for (const field of index)
    if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(field)) throw new TypeError(`"${field}" of ${name} cannot be an index field.`);
  assertJsonOnly(row, `A row of "${name}"`);
  const handlers = options.events((event, handle) => ({ event, handle }));
  for (const [at, { event }] of handlers.entries())
    if (handlers.findIndex((each) => each.event.type === event.type) !== at)
      throw new TypeError(`The projection "${name}" has two handlers for "${event.type}".`);
  return Object.freeze({ name, version, row, index, handlers });
}

/**
 * The types of events that a projection follows, by the context that publishes them.
 *
 * @param contracts that of the projection's own context, and those that it depends on
 * @throws {TypeError} one of them publishes nothing of the kind
 */
export function projectionSources(
  { name, handlers }: ProjectionDefinition,
  contracts: readonly Contract[],
): ReadonlyMap<string, readonly string[]> {
  const sources = new Map<string, readonly string[]>();
  for (const { event } of handlers) {
    const source = contracts.find(({ events }) => events.some(({ type }) => type === event.type));
    if (source === undefined)
      throw new TypeError(
        `The projection "${name}" follows "${event.type}", which is an event of neither "${contracts[0]?.name}" nor a context in its dependsOn.`,
      );
    sources.set(source.name, [...(sources.get(source.name) ?? []), event.type]);
  }
  return sources;
}
