import type { Json, JsonObject } from "../../kernel/schema.ts";

/**
 * What a reader cannot see and a program reads all the same (tags, zero-width characters, bidirectional controls,
 * fillers, variation selectors, other controls), and what no font is bound to show: private use and unassigned.
 * Unicode's Default_Ignorable_Code_Point has most; format characters that are drawn, Arabic and Kaithi number signs,
 * stay, and so do tab and line breaks.
 */
const INVISIBLE =
  /[[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Cc}]--[\t\n\r\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]]/gv;

/** An emoji with the two invisible ones that make it what it is: one colour selector, and one joiner to the next. */
const EMOJI =
  /[\p{Extended_Pictographic}--\p{Cn}]\ufe0f?\p{Emoji_Modifier}?(?:\u200d(?=[\p{Extended_Pictographic}--\p{Cn}]))?/gv;

/** The text as a reader sees it: without what is invisible. What is left stands in its order. */
export function visibleText(text: string): string {
  let seen = "";
  let end = 0;
  // Pieces between emoji are cleaned; an emoji with its own selector and joiner is taken as it is.
  for (const match of text.matchAll(EMOJI)) {
    seen += text.slice(end, match.index).replace(INVISIBLE, "") + match[0];
    end = match.index + match[0].length;
  }
  return seen + text.slice(end).replace(INVISIBLE, "");
}

/** A JSON value as a reader sees it: every text and every key without what is invisible. */
export function visibleJson(value: JsonObject): JsonObject {
  return visible(value) as JsonObject;
}

function visible(value: Json): Json {
  if (typeof value === "string") return visibleText(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(visible);
  const members = Object.entries(value as JsonObject);
  const taken = new Set(members.map(([key]) => key).filter((key) => visibleText(key) === key));
  const shown: Record<string, Json> = {};
  for (const [key, inner] of members) {
    const name = taken.has(key) ? key : freeName(visibleText(key), taken);
    taken.add(name);
    // A plain assignment would set what an object inherits from.
    Object.defineProperty(shown, name, { value: visible(inner), enumerable: true, configurable: true, writable: true });
  }
  return shown;
}

// Two keys that look the same must not hide one another.
function freeName(name: string, taken: ReadonlySet<string>): string {
  let free = name;
  for (let at = 2; taken.has(free); at += 1) free = `${name} (${at})`;
  return free;
}
