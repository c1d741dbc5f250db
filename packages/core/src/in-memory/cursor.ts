import { z } from "zod";
import { InvalidInput } from "../kernel/errors.ts";
import { tryParse } from "../kernel/schema.ts";

const cursorParts = z.array(z.string()).min(2);

/** An opaque cursor: which listing it belongs to, and the sort key of the last row that was given. */
export function encodeCursor(listing: string, key: readonly string[]): string {
  return Buffer.from(JSON.stringify([listing, ...key])).toString("base64url");
}

/**
 * The sort key inside a cursor.
 *
 * @param first what its first part looks like
 * @throws {InvalidInput} when the text is not a cursor, or belongs to another listing
 */
export function decodeCursor(listing: string, size: number, cursor: string, first = /^/): readonly string[] {
  const parsed = tryParse(cursorParts, jsonInside(cursor));
  if (parsed.ok && parsed.value[0] === listing && parsed.value.length === size + 1 && first.test(parsed.value[1] ?? ""))
    return parsed.value.slice(1);
  throw new InvalidInput({
    subject: "The cursor",
    issues: [{ path: "after", message: "must be the `next` of a page of the same listing" }],
  });
}

function jsonInside(cursor: string): unknown {
  if (!/^[A-Za-z0-9_-]+$/.test(cursor)) return undefined;
  try {
    return JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
  } catch {
    return undefined; // the schema refuses it
  }
}
