import { InvalidInput, type Page, tryParse } from "@armature/core";
import { z } from "zod";

// A cursor comes from outside, so it may hold what PostgreSQL cannot.
const storable = z.string().refine((text) => text.isWellFormed() && !text.includes("\u0000"));
const cursorParts = z.array(storable).min(2);

/** An opaque cursor: which listing it belongs to, and the sort key of the last row that was given. */
export function encodeCursor(listing: string, key: readonly string[]): string {
  return Buffer.from(JSON.stringify([listing, ...key])).toString("base64url");
}

/**
 * The sort key inside a cursor.
 *
 * @throws {InvalidInput} when the text is not a cursor, or belongs to another listing
 */
export function decodeCursor(listing: string, size: number, cursor: string): readonly string[] {
  const parsed = tryParse(cursorParts, jsonInside(cursor));
  if (parsed.ok && parsed.value[0] === listing && parsed.value.length === size + 1) return parsed.value.slice(1);
  throw refused();
}

/** The same for a cursor whose key is one whole number that fits an `int`. */
export function decodeNumber(listing: string, cursor: string): string {
  const [number = ""] = decodeCursor(listing, 1, cursor);
  if (!/^\d{1,9}$/.test(number)) throw refused();
  return number;
}

/** The same for a list of timers: when the last one is due, its key, and its context. */
export function decodeDue(cursor: string): readonly [string, string, string] {
  const [due = "", key = "", context = ""] = decodeCursor("scheduled", 3, cursor);
  if (!/^\d{1,16}$/.test(due)) throw refused();
  return [due, key, context];
}

function refused(): InvalidInput {
  return new InvalidInput({
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

/** A page out of rows of which one more than `limit` was asked for. */
export function page<T>(rows: readonly T[], limit: number, cursorOf: (last: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : undefined };
}
