import { InvalidInput } from "../kernel/errors.ts";
import { encodeIndexValue, type IndexValue } from "../kernel/index-value.ts";
import type { FindOptions } from "../kernel/reads.ts";
import type { FindQuery, Page } from "../kernel/store.ts";

/** The most that one page may hold. */
export const MAX_PAGE = 200;

/** What a handler asks for of what has these index fields, as the store takes it. */
export function toFindQuery(
  searched: { readonly name: string; readonly index: readonly string[] },
  options: FindOptions<string>,
): Omit<FindQuery, "type"> {
  const indexed = (field: string) => {
    if (!searched.index.includes(field)) throw new TypeError(`"${field}" is not an index field of ${searched.name}.`);
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
    where,
    range,
    orderBy: options.orderBy === undefined ? undefined : indexed(options.orderBy),
    direction: options.direction,
    limit,
    after: options.after,
  };
}

/** All that is found, page by page. */
export async function* everyPage<T>(
  find: (options: FindOptions<string>) => Promise<Page<T>>,
  options: FindOptions<string>,
): AsyncIterable<T> {
  let { after } = options;
  do {
    const page = await find({ limit: MAX_PAGE, ...options, after });
    yield* page.items;
    after = page.next;
  } while (after !== undefined);
}
