import type { AggregateClass, AggregateRoot } from "./aggregate.ts";
import type { IndexValue } from "./index-value.ts";
import type { ProjectionDefinition, ProjectionRow } from "./projection.ts";
import type { Counter, CounterQuery, Page } from "./store.ts";

export interface FindOptions<Index extends string> {
  /** Index fields that must hold exactly these values. */
  readonly where?: { readonly [K in Index]?: IndexValue | undefined };
  /** One index field within bounds: `gte` inclusive, `lt` exclusive. */
  readonly range?: { readonly field: Index; readonly gte?: IndexValue; readonly lt?: IndexValue };
  readonly orderBy?: Index | undefined;
  readonly direction?: "asc" | "desc" | undefined;
  /** 1 to 200; 50 when absent. */
  readonly limit?: number | undefined;
  /** The `next` of the page before. */
  readonly after?: string | undefined;
}

/** What queries and commands can read. */
export interface Reads {
  /** Loads an aggregate, or throws `NotFound`. */
  load<A extends AggregateRoot>(aggregate: AggregateClass<A>, id: string): Promise<A>;
  /** Loads an aggregate, or gives undefined. */
  tryLoad<A extends AggregateRoot>(aggregate: AggregateClass<A>, id: string): Promise<A | undefined>;
  /**
   * A row of one of the context's own projections, or undefined. Rows are as far as the log was followed, and no commit
   * checks them.
   *
   * @throws {ProjectionNotReady} the rows are being made for the first time; so do `find` and `findAll`
   */
  tryLoad<Row>(projection: ProjectionDefinition<Row>, id: string): Promise<Row | undefined>;
  /** Committed aggregates by their index fields, a page at a time. In a command, those that it changes are committed. */
  find<A extends AggregateRoot, Index extends string>(
    aggregate: AggregateClass<A, Index>,
    options?: FindOptions<NoInfer<Index>>,
  ): Promise<Page<A>>;
  /** Rows of one of the context's own projections by their index fields, a page at a time. */
  find<Row, Index extends string>(
    projection: ProjectionDefinition<Row, Index>,
    options?: FindOptions<NoInfer<Index>>,
  ): Promise<Page<ProjectionRow<Row>>>;
  /** The same without pages: each aggregate that fits. `limit` is how many are loaded at a time; 200 when absent. */
  findAll<A extends AggregateRoot, Index extends string>(
    aggregate: AggregateClass<A, Index>,
    options?: FindOptions<NoInfer<Index>>,
  ): AsyncIterable<A>;
  /** The same without pages: each row that fits. */
  findAll<Row, Index extends string>(
    projection: ProjectionDefinition<Row, Index>,
    options?: FindOptions<NoInfer<Index>>,
  ): AsyncIterable<ProjectionRow<Row>>;
  /** What the context's actions have counted for this tenant, by key, a page at a time. */
  counters(query: CounterQuery): Promise<Page<Counter>>;
}
