import type { AggregateClass } from "../kernel/aggregate.ts";
import type { ContextDefinition, Dependency, QueryContext } from "../kernel/context.ts";
import type { Contract } from "../kernel/contract.ts";
import { ProjectionNotReady } from "../kernel/port-errors.ts";
import type { ProjectionDefinition, ProjectionRow } from "../kernel/projection.ts";
import type { FindOptions } from "../kernel/reads.ts";
import { tryParse } from "../kernel/schema.ts";
import type { Page } from "../kernel/store.ts";
import type { TransactionStore } from "../kernel/store-adapter.ts";
import { everyPage, toFindQuery } from "./find-query.ts";

type Reads = Pick<QueryContext<Contract, Dependency>, "tryLoad" | "find" | "findAll">;
type Aggregates = { readonly [K in keyof Reads]: (type: AggregateClass, more: never) => unknown };

/** Reads of aggregates that read the context's own projections too. */
export function withProjections(
  aggregates: Aggregates,
  store: Pick<TransactionStore, "rows" | "row">,
  context: ContextDefinition,
  tenant: string,
): Reads {
  const scope = { tenant, context: context.contract.name };
  const own = (projection: ProjectionDefinition): string => {
    if (!context.projections.includes(projection))
      throw new TypeError(`"${projection.name}" is not a projection of the context "${scope.context}".`);
    return projection.name;
  };
  // Rows of another version are read for as long as they fit.
  const read = <Row>({ name, version, row }: ProjectionDefinition<Row>, stored: unknown): Row => {
    const parsed = tryParse(row, stored);
    if (!parsed.ok) throw new ProjectionNotReady({ projection: name, version });
    return parsed.value;
  };
  const tryLoad = async <Row>(projection: ProjectionDefinition<Row>, id: string): Promise<Row | undefined> => {
    const found = await store.row(scope, own(projection), id);
    if (found === undefined) throw new ProjectionNotReady({ projection: projection.name, version: projection.version });
    return found.row === undefined ? undefined : read(projection, found.row);
  };
  const find = async <Row>(
    projection: ProjectionDefinition<Row>,
    options: FindOptions<string> = {},
  ): Promise<Page<ProjectionRow<Row>>> => {
    const page = await store.rows(scope, { projection: own(projection), ...toFindQuery(projection, options) });
    if (page === undefined) throw new ProjectionNotReady({ projection: projection.name, version: projection.version });
    const items = page.items.map(({ id, row }) => ({ id, row: read(projection, row) }));
    return page.next === undefined ? { items } : { items, next: page.next };
  };
  const findAll = <Row>(projection: ProjectionDefinition<Row>, options: FindOptions<string> = {}) =>
    everyPage((page) => find(projection, page), options);

  // An aggregate is a class.
  const either =
    (ofAggregates: (type: AggregateClass, more: never) => unknown, ofProjections: (...args: never[]) => unknown) =>
    (subject: AggregateClass | ProjectionDefinition, more: unknown) =>
      typeof subject === "function"
        ? ofAggregates(subject, more as never)
        : ofProjections(subject as never, more as never);
  return {
    tryLoad: either(aggregates.tryLoad, tryLoad),
    find: either(aggregates.find, find),
    findAll: either(aggregates.findAll, findAll),
  } as Reads;
}
