import { compareText } from "../kernel/index-value.ts";
import type { FindQuery } from "../kernel/store.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { keyOf } from "./tables.ts";

interface IndexedRow {
  readonly id: string;
  readonly index: Readonly<Record<string, string>>;
}

/** The rows that fit, in order, a page of them: what every search by index fields comes to. */
export function foundPage<Row extends IndexedRow>(
  rows: Iterable<Row>,
  searched: string,
  query: Omit<FindQuery, "type">,
): { readonly items: readonly Row[]; readonly next: string | undefined } {
  const { where = {}, range, orderBy, direction = "asc", limit } = query;
  const listing = keyOf(searched, orderBy ?? "", direction);
  const sign = direction === "asc" ? 1 : -1;
  // A row that was stored before the field was declared has no value for it and sorts first.
  const sortKey = (row: Row): readonly [string, string] => [
    orderBy === undefined ? "" : (row.index[orderBy] ?? ""),
    row.id,
  ];
  const compare = (a: readonly string[], b: readonly string[]) =>
    sign * (compareText(a[0]!, b[0]!) || compareText(a[1]!, b[1]!));
  const after = query.after === undefined ? undefined : decodeCursor(listing, 2, query.after);

  const wanted = Object.entries(where);
  const fits = ({ index }: Row): boolean => {
    // Of many rows few fit.
    for (const [field, value] of wanted) if (index[field] !== value) return false;
    if (range === undefined) return true;
    const value = index[range.field];
    if (value === undefined) return false;
    if (range.gte !== undefined && compareText(value, range.gte) < 0) return false;
    return range.lt === undefined || compareText(value, range.lt) < 0;
  };
  const matching: Row[] = [];
  for (const row of rows)
    if (fits(row) && (after === undefined || compare(sortKey(row), after) > 0)) matching.push(row);
  matching.sort((a, b) => compare(sortKey(a), sortKey(b)));

  const items = matching.slice(0, limit);
  const last = items.at(-1);
  return {
    items,
    next: matching.length > limit && last !== undefined ? encodeCursor(listing, sortKey(last)) : undefined,
  };
}
