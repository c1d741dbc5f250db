import type { JsonObject } from "../kernel/schema.ts";
import type { AggregateRef } from "../kernel/store.ts";

export interface AggregateRow extends AggregateRef {
  readonly version: number;
  readonly stateVersion: number;
  readonly state: JsonObject;
  readonly index: Readonly<Record<string, string>>;
}

/** The aggregates of one tenant and type, found by id and by the values of their index fields. */
export class AggregateTable {
  readonly #rows = new Map<string, AggregateRow>();
  /** By field and value. */
  readonly #having = new Map<string, Map<string, Map<string, AggregateRow>>>();

  get(id: string): AggregateRow | undefined {
    return this.#rows.get(id);
  }

  set(row: AggregateRow): void {
    const before = this.#rows.get(row.id);
    this.#rows.set(row.id, row);
    for (const [field, value] of Object.entries(before?.index ?? {})) {
      if (row.index[field] === value) continue;
      const values = this.#having.get(field)!;
      const rows = values.get(value)!;
      rows.delete(row.id);
      if (rows.size === 0) values.delete(value);
    }
    for (const [field, value] of Object.entries(row.index)) {
      const values = this.#having.get(field) ?? new Map<string, Map<string, AggregateRow>>();
      const rows = values.get(value) ?? new Map<string, AggregateRow>();
      this.#having.set(field, values.set(value, rows.set(row.id, row)));
    }
  }

  /** All that may have these values, and others: the fewest that one of the fields tells. */
  candidates(where: Readonly<Record<string, string>>): Iterable<AggregateRow> {
    let fewest: ReadonlyMap<string, AggregateRow> = this.#rows;
    for (const [field, value] of Object.entries(where)) {
      const rows = this.#having.get(field)?.get(value);
      if (rows === undefined) return [];
      if (rows.size < fewest.size) fewest = rows;
    }
    return fewest.values();
  }
}
