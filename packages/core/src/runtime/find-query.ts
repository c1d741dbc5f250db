import type { AggregateClass } from "../kernel/aggregate.ts";
import type { FindOptions } from "../kernel/context.ts";
import { InvalidInput } from "../kernel/errors.ts";
import { encodeIndexValue, type IndexValue } from "../kernel/index-value.ts";
import type { FindQuery } from "../kernel/store.ts";

/** The most aggregates that one page may hold. */
export const MAX_PAGE = 200;

/** What a handler asks for, as the store takes it. */
export function toFindQuery(type: AggregateClass, options: FindOptions<string>): FindQuery {
  const { definition } = type;
  const indexed = (field: string) => {
    if (!definition.index.includes(field))
      throw new TypeError(`"${field}" is not an index field of ${definition.type}.`);
    return field;
  };
  const limit = options.limit ?? 50;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_PAGE)
    throw new InvalidInput({ subject: "The page", issues: [{ path: "limit", message: `must be 1 to ${MAX_PAGE}` }] });
  const where: Record<string, string> = {};
  for (const [field, value] of Object.entries(options.where ?? {}))
    if (value !== undefined) where[indexed(field)] = encodeIndexValue(value);
  const bound = (value: IndexValue | undefined) => (value === undefined ? undefined : encodeIndexValue(value));
  const range = options.range && {
    field: indexed(options.range.field),
    gte: bound(options.range.gte),
    lt: bound(options.range.lt),
  };
  return {
    type: definition.type,
    where,
    range,
    orderBy: options.orderBy === undefined ? undefined : indexed(options.orderBy),
    direction: options.direction,
    limit,
    after: options.after,
  };
}
