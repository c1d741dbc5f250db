import { InvalidInput } from "../../kernel/errors.ts";
import { jsonCopy } from "../../kernel/json-copy.ts";
import type { Json } from "../../kernel/schema.ts";
import { isStorable } from "../storable.ts";

/** What one value of a journal may come to as JSON text, in characters. Larger ones belong elsewhere, by reference. */
export const LARGEST_VALUE = 1_048_576;

/**
 * A value as a journal holds it: a copy, as it comes back.
 *
 * @throws {InvalidInput} it is not JSON, or too large
 */
export function storableJson(value: unknown, subject: string): Json | undefined {
  if (value === undefined) return undefined;
  const refuse = (message: string) => new InvalidInput({ subject, issues: [{ path: "", message }] });
  let text: string | undefined;
  let copy: Json;
  try {
    text = JSON.stringify(value);
    copy = jsonCopy(value) as Json;
  } catch {
    throw refuse("is not JSON");
  }
  if (text === undefined) throw refuse("is not JSON");
  if (text.length > LARGEST_VALUE)
    throw refuse(`is larger than ${LARGEST_VALUE} characters: keep it elsewhere, and hand on a reference`);
  if (!isStorable(copy)) throw refuse("holds text with a NUL character or a lone surrogate");
  return copy;
}
