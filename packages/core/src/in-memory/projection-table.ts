import type { Positions } from "../kernel/projection-store.ts";
import type { JsonObject } from "../kernel/schema.ts";

export interface ProjectedRow {
  readonly id: string;
  readonly row: JsonObject;
  readonly index: Readonly<Record<string, string>>;
}

interface Generation {
  positions: Positions | undefined;
  /** By tenant, then id. */
  readonly rows: Map<string, Map<string, ProjectedRow>>;
}

const NONE: ReadonlyMap<string, ProjectedRow> = new Map();

/** One projection of a context. */
export class ProjectionTable {
  revision = 0;
  serving: number | undefined;
  body: JsonObject = {};
  readonly generations = new Map<number, Generation>();

  /** The tenant's rows in the generation that is read; undefined when none is. */
  served(tenant: string): ReadonlyMap<string, ProjectedRow> | undefined {
    if (this.serving === undefined) return undefined;
    return this.generations.get(this.serving)?.rows.get(tenant) ?? NONE;
  }
}
