import { jsonCopy } from "../kernel/json-copy.ts";
import type { ProjectionBatch, ProjectionStore, RowRef, StoredProjection } from "../kernel/projection-store.ts";
import { canonicalJson, type JsonObject } from "../kernel/schema.ts";
import { type ProjectedRow, ProjectionTable } from "./projection-table.ts";
import { type Tables, upsert } from "./tables.ts";

/** Rows of projections and how far they have come. What one call does nothing else gets in between. */
export class InMemoryProjections implements ProjectionStore {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async read(context: string, projection: string): Promise<StoredProjection | undefined> {
    const table = this.#table(context, projection);
    if (table.revision === 0) return undefined;
    const { revision, serving, body, generations } = table;
    const positions = [...generations].flatMap(([number, each]) =>
      each.positions === undefined ? [] : [[number, each.positions]],
    );
    return { revision, serving, body: jsonCopy(body), positions: jsonCopy(Object.fromEntries(positions)) };
  }

  async write(
    context: string,
    projection: string,
    expectedRevision: number,
    { serving, body }: Pick<StoredProjection, "serving" | "body">,
  ): Promise<boolean> {
    const table = this.#table(context, projection);
    if (table.revision !== expectedRevision) return false;
    table.revision += 1;
    table.serving = serving;
    table.body = jsonCopy(body);
    return true;
  }

  async load(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly refs: readonly RowRef[] },
  ): Promise<readonly (JsonObject | undefined)[]> {
    const rows = this.#table(context, query.projection).generations.get(query.generation)?.rows;
    return query.refs.map(({ tenant, id }) => {
      const found = rows?.get(tenant)?.get(id);
      return found === undefined ? undefined : jsonCopy(found.row);
    });
  }

  async commit(context: string, batch: ProjectionBatch): Promise<boolean> {
    const table = this.#table(context, batch.projection);
    const present = table.generations.get(batch.generation);
    if (table.revision !== batch.revision) return false;
    if (canonicalJson(present?.positions) !== canonicalJson(batch.before)) return false;
    const generation = upsert(table.generations, batch.generation, () => ({ positions: undefined, rows: new Map() }));
    generation.positions = jsonCopy(batch.positions);
    for (const { tenant, id, write } of batch.rows) {
      const rows = upsert(generation.rows, tenant, () => new Map<string, ProjectedRow>());
      if (write === undefined) rows.delete(id);
      else rows.set(id, { id, ...jsonCopy(write) });
    }
    return true;
  }

  async drop(
    context: string,
    query: { readonly projection: string; readonly generation: number; readonly limit: number },
  ): Promise<number> {
    const { generations } = this.#table(context, query.projection);
    const rows = [...(generations.get(query.generation)?.rows.values() ?? [])];
    let dropped = 0;
    for (const ofTenant of rows)
      for (const id of ofTenant.keys()) {
        if (dropped === query.limit) return dropped;
        ofTenant.delete(id);
        dropped += 1;
      }
    if (dropped < query.limit) generations.delete(query.generation);
    return dropped;
  }

  #table(context: string, projection: string): ProjectionTable {
    return upsert(this.#tables.context(context).projections, projection, () => new ProjectionTable());
  }
}
