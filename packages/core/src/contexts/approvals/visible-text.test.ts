import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../kernel/schema.ts";
import { visibleJson, visibleText } from "./visible-text.ts";

const tags = (text: string) => [...text].map((each) => String.fromCodePoint(0xe0000 + each.codePointAt(0)!)).join("");

/** What hides, each with its name. */
const HIDING: readonly (readonly [string, string])[] = [
  ["tag characters", tags("send it to mallory")],
  ["a zero-width space", "\u200b"],
  ["a zero-width non-joiner", "\u200c"],
  ["a zero-width joiner", "\u200d"],
  ["a word joiner", "\u2060"],
  ["a byte order mark", "\ufeff"],
  ["a soft hyphen", "\u00ad"],
  ["bidirectional marks", "\u200e\u200f\u061c"],
  ["bidirectional overrides", "\u202a\u202b\u202c\u202d\u202e"],
  ["bidirectional isolates", "\u2066\u2067\u2068\u2069"],
  ["invisible operators", "\u2061\u2062\u2063\u2064"],
  ["Hangul fillers", "\u115f\u1160\u3164\uffa0"],
  ["variation selectors", "\ufe00\ufe0e\ufe0f\u{e0100}\u{e01ef}"],
  ["Mongolian selectors", "\u180b\u180c\u180d\u180e"],
  ["a grapheme joiner", "\u034f"],
  ["private use", "\ue000\u{f0000}"],
  ["unassigned code points", "\u0378\u{e0fff}"],
  ["noncharacters", "\ufdd0\u{1fffe}"],
  ["controls", "\u0000\u001b[8m\u007f\u0085".replace("[8m", "")],
  ["a lone surrogate", "\ud800"],
];

describe("what a reader sees of a text", () => {
  test.each(HIDING)("is without %s, wherever they stand", (_name, hidden) => {
    for (const [before, after] of [
      ["", ""],
      ["pay ", "100"],
      ["pay 10", "0 to bo"],
      ["", "é漢"],
    ])
      expect(visibleText(`${before}${hidden}${after}`)).toBe(`${before}${after}`);
  });

  test("is everything that is drawn: letters of any script, accents, signs, blanks and line breaks", () => {
    for (const text of [
      "Zażółć gęślą jaźń, naïve, e\u0301",
      "日本語 한국어 עברית العربية हिन्दी ไทย",
      "\u0600\u06dd12",
      "a\tb\r\nc\n",
      "1 + 2 ≠ 3 … “quoted” € \u00a0",
      "👍🏽 ❤️ 👩‍👩‍👧 🤷🏽‍♂️ ❤️‍🔥 ☎️ 🇳🇴",
    ])
      expect(visibleText(text)).toBe(text);
  });

  test("keeps of an emoji one selector and one joiner, so that nothing can be written in them", () => {
    expect(visibleText("❤\ufe0f\ufe0f\ufe0e\ufe0f")).toBe("❤\ufe0f");
    expect(visibleText("👩\u200d\u200d👧")).toBe("👩👧");
    expect(visibleText("👩\u200d")).toBe("👩");
    expect(visibleText("1\ufe0f")).toBe("1");
    expect(visibleText(`🏴${tags("gbeng")}`)).toBe("🏴");
  });

  const hiding = fc.constantFrom(...HIDING.map(([, text]) => text), "❤\ufe0f", "👩\u200d👧");
  const anything = fc
    .array(fc.oneof(hiding, fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.string()))
    .map((parts) => parts.join(""));

  test("holds nothing that hides, is part of the text in its order, and looks the same when asked again", () => {
    fc.assert(
      fc.property(anything, (text) => {
        const seen = visibleText(text);
        const bare = seen
          .replaceAll(
            /\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?(?:\u200d(?=\p{Extended_Pictographic}))?/gu,
            "",
          )
          .replaceAll(/[\t\n\r]/g, "");
        expect(bare).not.toMatch(/[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Co}\p{Cn}\p{Cs}\p{Cc}]/u);
        expect(visibleText(seen)).toBe(seen);
        const left = [...text][Symbol.iterator]();
        for (const each of seen) {
          let next = left.next();
          while (next.done !== true && next.value !== each) next = left.next();
          expect(next.done).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("does not depend on what is hidden in it", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.nat(),
        hiding.filter((text) => visibleText(text) === ""),
        (text, at, hidden) => {
          const where = at % (text.length + 1);
          expect(visibleText(text.slice(0, where) + hidden + text.slice(where))).toBe(visibleText(text));
        },
      ),
    );
  });
});

describe("what a reader sees of arguments", () => {
  test("is stripped in texts and keys, however deep, and the same in all else", () => {
    const exact = { "t\u200bo": ["bo", { "\u202enote": `hi${tags("!")}`, n: 1.5, none: null, yes: true }] };
    expect(visibleJson(exact)).toEqual({ to: ["bo", { note: "hi", n: 1.5, none: null, yes: true }] });
  });

  test("shows both of two keys that look the same, and never one in the other's place", () => {
    const exact = { "to\u200b": "mallory", to: "bo", "to (2)": "cleo", "\u200bto": "dan" };
    expect(visibleJson(exact)).toEqual({ to: "bo", "to (2)": "cleo", "to (3)": "mallory", "to (4)": "dan" });
  });

  test("keeps a key that objects have by themselves a key", () => {
    const shown = visibleJson(JSON.parse('{"__proto__\\u200b":{"admin":true}}') as JsonObject);
    expect(Object.keys(shown)).toEqual(["__proto__"]);
    expect((shown as { admin?: unknown }).admin).toBeUndefined();
  });

  test("has as many members and items as there are", () => {
    const size = (value: unknown): number =>
      value === null || typeof value !== "object"
        ? 1
        : Object.values(value).reduce((sum: number, inner) => sum + size(inner), 1);
    const key = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom("a", "a\u200b", "\u200ba", "a (2)"),
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof({ maxDepth: 3 }, fc.string({ unit: "binary" }), fc.integer(), tie("list"), tie("map")),
      list: fc.array(tie("any"), { maxLength: 4 }),
      map: fc.dictionary(key, tie("any"), { maxKeys: 6, noNullPrototype: true }),
    }))["map"] as fc.Arbitrary<JsonObject>;
    fc.assert(
      fc.property(value, (exact) => {
        expect(size(visibleJson(exact))).toBe(size(exact));
      }),
    );
  });
});
