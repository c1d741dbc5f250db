import { CorruptData } from "../kernel/errors.ts";
import { readEvent } from "../kernel/event.ts";
import { encodeIndexValue, type IndexValue } from "../kernel/index-value.ts";
import type { ProjectionDefinition, ProjectionRows } from "../kernel/projection.ts";
import type { RowChange, RowRef } from "../kernel/projection-store.ts";
import { type JsonObject, tryParse } from "../kernel/schema.ts";
import type { StoredEvent } from "../kernel/stored-event.ts";
import { isStorable } from "./storable.ts";

const LONGEST_ID = 512;

type Load = (refs: readonly RowRef[]) => Promise<readonly (JsonObject | undefined)[]>;

interface Held extends RowRef {
  readonly row: JsonObject | undefined;
  readonly changed: boolean;
}

const keyOf = ({ tenant, id }: RowRef) => `${tenant}\u0000${id}`;

/** The rows that a batch of events has read and changed so far. What an event does counts once it has done all of it. */
export class BatchRows {
  readonly #definition: ProjectionDefinition;
  readonly #load: Load;
  readonly #held = new Map<string, Held>();
  readonly #wanted = new Map<string, RowRef>();
  #reading: Promise<void> | undefined;

  constructor(definition: ProjectionDefinition, load: Load) {
    this.#definition = definition;
    this.#load = load;
  }

  /**
   * Reads at once the rows that these events will ask for: their handlers run side by side, and what they would write is
   * forgotten. One that goes wrong will do so again when its turn comes.
   */
  async expect(events: readonly StoredEvent[]): Promise<void> {
    await Promise.allSettled(
      events.map((event) =>
        this.#handle(
          event,
          (ref) => this.#readSoon(ref),
          () => undefined,
        ),
      ),
    );
  }

  /**
   * Has the event's handler change rows of its tenant.
   *
   * @throws {CorruptData} the event cannot be read, or a row does not fit; and what the handler throws
   */
  async apply(event: StoredEvent): Promise<void> {
    const mine = new Map<string, Held>();
    const held = async (ref: RowRef) => mine.get(keyOf(ref)) ?? this.#held.get(keyOf(ref)) ?? this.#readSoon(ref);
    await this.#handle(event, held, (change) => mine.set(keyOf(change), change));
    for (const [key, change] of mine) this.#held.set(key, change);
  }

  /** What is to be written. */
  changes(): readonly RowChange[] {
    return [...this.#held.values()].flatMap(({ tenant, id, row, changed }): RowChange[] => {
      if (!changed) return [];
      return [row === undefined ? { tenant, id } : { tenant, id, write: { row, index: this.#indexOf(row) } }];
    });
  }

  async #handle(event: StoredEvent, read: (ref: RowRef) => Promise<Held>, write: (change: Held) => void) {
    const { tenant } = event;
    const handler = this.#definition.handlers.find((each) => each.event.type === event.type);
    if (handler === undefined) return;
    const rows: ProjectionRows<unknown> = {
      get: async (id) => {
        const { row } = await read({ tenant, id: this.#checkedId(id) });
        return row === undefined ? undefined : this.#parsed(id, row);
      },
      put: (id, value) => {
        const row = structuredClone(this.#parsed(id, value)) as JsonObject;
        write({ tenant, id: this.#checkedId(id), row, changed: true });
      },
      delete: (id) => write({ tenant, id: this.#checkedId(id), row: undefined, changed: true }),
    };
    await handler.handle(readEvent(handler.event, event), rows);
  }

  // What is asked for in one turn is read at once.
  #readSoon(ref: RowRef): Promise<Held> {
    const key = keyOf(ref);
    const known = this.#held.get(key);
    if (known !== undefined) return Promise.resolve(known);
    this.#wanted.set(key, ref);
    this.#reading ??= Promise.resolve().then(async () => {
      const refs = [...this.#wanted.values()];
      this.#wanted.clear();
      this.#reading = undefined;
      const found = await this.#load(refs);
      for (const [at, each] of refs.entries())
        if (!this.#held.has(keyOf(each))) this.#held.set(keyOf(each), { ...each, row: found[at], changed: false });
    });
    return this.#reading.then(() => this.#held.get(key)!);
  }

  #checkedId(id: string): string {
    if (typeof id !== "string" || id === "" || id.length > LONGEST_ID || !isStorable(id))
      throw new CorruptData({
        subject: `The id of a row of "${this.#definition.name}"`,
        issues: [{ path: "id", message: `must be 1 to ${LONGEST_ID} characters that can be stored` }],
      });
    return id;
  }

  #parsed(id: string, row: unknown): unknown {
    const parsed = tryParse(this.#definition.row, row);
    const subject = `The row "${id}" of "${this.#definition.name}"`;
    if (!parsed.ok) throw new CorruptData({ subject, issues: [...parsed.issues] });
    if (!isStorable(parsed.value))
      throw new CorruptData({ subject, issues: [{ path: "", message: "holds what cannot be stored" }] });
    return parsed.value;
  }

  #indexOf(row: JsonObject): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.#definition.index.map((field) => [field, encodeIndexValue((row[field] ?? null) as IndexValue)]),
    );
  }
}
