import type { JsonObject, ProjectionBatch, ProjectionStore, RowRef, StoredProjection } from "@armature/core";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";

/** Rows of projections and how far they have come: every call is one call of one function of the context's schema. */
export class PostgresProjections implements ProjectionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async read(context: string, projection: string): Promise<StoredProjection | undefined> {
    const found = (await this.#call(context, "projection_read", [projection])) as
      | (Omit<StoredProjection, "serving"> & { readonly serving: number | null })
      | undefined;
    return found === undefined ? undefined : { ...found, serving: found.serving ?? undefined };
  }

  async write(
    context: string,
    projection: string,
    expectedRevision: number,
    { serving, body }: Pick<StoredProjection, "serving" | "body">,
  ): Promise<boolean> {
    const values = [projection, expectedRevision, serving ?? null, JSON.stringify(body)];
    return (await this.#call(context, "projection_write", values)) as boolean;
  }

  async load(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly refs: readonly RowRef[] },
  ): Promise<readonly (JsonObject | undefined)[]> {
    const refs = JSON.stringify(query.refs.map(({ tenant, id }) => ({ tenant, id })));
    const values = [query.projection, query.generation, refs];
    const found = (await this.#call(context, "projection_load", values)) as readonly (JsonObject | null)[];
    return found.map((each) => each ?? undefined);
  }

  async commit(context: string, { projection, ...batch }: ProjectionBatch): Promise<boolean> {
    return (await this.#call(context, "projection_commit", [projection, JSON.stringify(batch)])) as boolean;
  }

  async drop(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly limit: number },
  ): Promise<number> {
    const values = [query.projection, query.generation, query.limit];
    return (await this.#call(context, "projection_drop", values)) as number;
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}
