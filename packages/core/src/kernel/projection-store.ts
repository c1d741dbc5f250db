import type { JsonObject } from "./schema.ts";

/** How far a generation of a projection's rows has come: by context, the position of the log up to which it has read. */
export type Positions = Readonly<Record<string, number>>;

/** What is kept of a projection besides its rows. Positions apart, whoever changes it must have seen its revision. */
export interface StoredProjection {
  /** How often the rest of this was written; 0 is before the first time. */
  readonly revision: number;
  /** The generation whose rows are read; absent before there is one. */
  readonly serving?: number | undefined;
  /** The runtime's own. */
  readonly body: JsonObject;
  /** By generation; absent for one of which nothing was committed yet. */
  readonly positions: Readonly<Record<number, Positions>>;
}

export interface RowRef {
  readonly tenant: string;
  readonly id: string;
}

/** A row that is written, or without `write` deleted. */
export interface RowChange extends RowRef {
  readonly write?:
    | {
        readonly row: JsonObject;
        /** Index fields as `encodeIndexValue` wrote them. */
        readonly index: Readonly<Record<string, string>>;
      }
    | undefined;
}

/** What some events have done to the rows of one generation, and how far they were read. */
export interface ProjectionBatch {
  readonly projection: string;
  readonly generation: number;
  /** The projection's revision as the writer knows it. */
  readonly revision: number;
  /** Where the generation was when the events were read; absent when nothing of it was committed yet. */
  readonly before?: Positions | undefined;
  readonly positions: Positions;
  /** Each row once. */
  readonly rows: readonly RowChange[];
}

/** Keeps the rows of projections and how far they have come, over all tenants. For the runtime only. */
export interface ProjectionStore {
  /** Undefined when nothing was ever written of it. */
  read(context: string, projection: string): Promise<StoredProjection | undefined>;
  /**
   * Writes everything but positions and rows, when the revision is still the expected one (0: there is none yet).
   *
   * @returns whether it was written; the new revision is then `expectedRevision + 1`
   */
  write(
    context: string,
    projection: string,
    expectedRevision: number,
    state: Pick<StoredProjection, "serving" | "body">,
  ): Promise<boolean>;
  /** Rows of a generation in the order asked; undefined where there is none. */
  load(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly refs: readonly RowRef[] },
  ): Promise<readonly (JsonObject | undefined)[]>;
  /**
   * Writes rows and positions, or nothing when the revision or the positions are not those that the writer knows: then
   * somebody else has gone on.
   *
   * @returns whether it was written
   */
  commit(context: string, batch: ProjectionBatch): Promise<boolean>;
  /** Deletes rows of a generation, of any tenant, and with the last of them its positions. Says how many. */
  drop(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly limit: number },
  ): Promise<number>;
}
