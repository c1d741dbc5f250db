import { CorruptData } from "./errors.ts";
import { frozenJson, type JsonObject, type Schema, tryParse } from "./schema.ts";
import type { StoredEvent } from "./store.ts";

/** A kind of fact, `connector.connected`, and the shape of its data. */
export interface EventDefinition<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly version: number;
  readonly data: Schema<Data>;
  /** Turns data of an older version into that of the next: `{ 1: (v1) => v2 }`. */
  readonly upcast: Readonly<Record<number, (data: JsonObject) => JsonObject>>;
}

/** The domain's view of an event: what `evolve` switches over. */
export type EventOf<D> =
  D extends EventDefinition<infer Type, infer Data> ? { readonly type: Type; readonly data: Data } : never;

/** A published event as a subscription gets it. */
export interface ReceivedEvent<Type extends string = string, Data = unknown>
  extends Omit<StoredEvent, "type" | "data"> {
  readonly type: Type;
  readonly data: Data;
}

/** Declares an event: past tense, versioned. `defineContext` checks that JSON can carry its data. */
export function defineEvent<const Type extends string, Data>(
  type: Type,
  options: {
    readonly version: number;
    readonly data: Schema<Data>;
    readonly upcast?: EventDefinition["upcast"];
  },
): EventDefinition<Type, Data> {
  if (!/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/.test(type))
    throw new TypeError(`The event type "${type}" must read like "connector.connected".`);
  if (!Number.isSafeInteger(options.version) || options.version < 1)
    throw new TypeError(`The event "${type}" needs a version of 1 or more.`);
  for (let version = 1; version < options.version; version += 1)
    if (options.upcast?.[version] === undefined)
      throw new TypeError(`The event "${type}" is at version ${options.version} and has no upcast from ${version}.`);
  return Object.freeze({ type, version: options.version, data: options.data, upcast: options.upcast ?? {} });
}

/**
 * Data of a new event, checked and copied.
 *
 * @throws {CorruptData} when it does not fit: a defect of the aggregate, not of what its caller sent
 */
export function eventData<Data>(definition: EventDefinition<string, Data>, data: Data): Data {
  const parsed = tryParse(definition.data, data);
  if (!parsed.ok) throw new CorruptData({ subject: `The data of "${definition.type}"`, issues: [...parsed.issues] });
  return frozenJson(parsed.value);
}

/**
 * Reads a stored event in the version that this code knows.
 *
 * @throws {CorruptData} when its version is newer, or its data does not fit
 */
export function readEvent<Type extends string, Data>(
  definition: EventDefinition<Type, Data>,
  stored: StoredEvent,
): ReceivedEvent<Type, Data> {
  const subject = `The event "${stored.type}" ${stored.id} (version ${stored.version})`;
  if (stored.version > definition.version)
    throw new CorruptData({
      subject,
      issues: [{ path: "version", message: `is newer than ${definition.version}, the newest known here` }],
    });
  let data = stored.data;
  for (let version = stored.version; version < definition.version; version += 1) {
    const upcast = definition.upcast[version];
    if (upcast === undefined)
      throw new CorruptData({ subject, issues: [{ path: "version", message: "is not known" }] });
    data = upcast(structuredClone(data));
  }
  const parsed = tryParse(definition.data, data);
  if (!parsed.ok) throw new CorruptData({ subject, issues: [...parsed.issues] });
  return { ...stored, type: definition.type, data: parsed.value };
}
