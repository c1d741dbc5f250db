import { z } from "zod";
import type { StreamItem } from "../../kernel/contract.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { compareText } from "../../kernel/index-value.ts";
import { tryParse } from "../../kernel/schema.ts";
import type { Page } from "../../kernel/store.ts";

/** Where the page began that the item stood on, and the item's id. */
const position = z.tuple([z.string().nullable(), z.string()]);

/**
 * Every row from the first page to the last, each with a cursor to resume behind it. One page is in memory at a time.
 *
 * @param pageAfter rows in order of their ids, behind a page's `next`
 * @param after cursor of the last row that the caller has
 * @param beyond whether no row from this one on can be wanted
 * @throws {InvalidInput} when the cursor is none of ours
 */
export async function* exported<Row extends { readonly id: string }>(
  pageAfter: (after: string | undefined) => Promise<Page<Row>>,
  after: string | undefined,
  wanted: (row: Row) => boolean,
  beyond: (row: Row) => boolean = () => false,
): AsyncIterable<StreamItem<Row>> {
  let [start, seen] = after === undefined ? [undefined, undefined] : positionOf(after);
  for (;;) {
    const { items, next } = await pageAfter(start);
    for (const row of items) {
      if (beyond(row)) return;
      // The page is read again where a caller left it in the middle.
      if (seen !== undefined && compareText(row.id, seen) <= 0) continue;
      if (wanted(row)) yield { cursor: cursorOf(start, row.id), item: row };
    }
    if (next === undefined) return;
    start = next;
  }
}

function cursorOf(start: string | undefined, id: string): string {
  return Buffer.from(JSON.stringify([start ?? null, id])).toString("base64url");
}

function positionOf(cursor: string): readonly [string | undefined, string] {
  const parsed = tryParse(position, jsonInside(cursor));
  if (parsed.ok) return [parsed.value[0] ?? undefined, parsed.value[1]];
  throw new InvalidInput({
    subject: "The cursor",
    issues: [{ path: "after", message: "must be that of an item of the same export" }],
  });
}

function jsonInside(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    return undefined;
  }
}
