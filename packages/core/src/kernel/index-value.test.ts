import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareText, encodeIndexValue, type IndexValue } from "./index-value.ts";

const number = fc.double({ noNaN: true });
const text = fc.string({ unit: "binary", maxLength: 20 });
const value: fc.Arbitrary<IndexValue> = fc.oneof(fc.constant(null), fc.boolean(), number, fc.integer(), text);

/** null < false < true < numbers < texts; numbers by size, texts by code point. */
function compareValues(a: IndexValue, b: IndexValue): number {
  const rank = (each: IndexValue) =>
    [null, false, true].indexOf(each as null) + 1 || (typeof each === "number" ? 4 : 5);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === "number") return a - (b as number) || 0;
  return typeof a === "string" ? compareCodePoints(a, b as string) : 0;
}

function compareCodePoints(a: string, b: string): number {
  const [left, right] = [[...a], [...b]].map((text) => text.map((sign) => sign.codePointAt(0)!)) as [
    number[],
    number[],
  ];
  for (let at = 0; at < Math.min(left.length, right.length); at += 1)
    if (left[at] !== right[at]) return left[at]! - right[at]!;
  return left.length - right.length;
}

const order = (a: IndexValue, b: IndexValue) => Math.sign(compareText(encodeIndexValue(a), encodeIndexValue(b)));

describe("an encoded index value", () => {
  it("sorts as the value does, whatever its type", () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(order(a, b)).toBe(Math.sign(compareValues(a, b)));
      }),
      { numRuns: 2000 },
    );
  });

  it("sorts numbers by size: negative, tiny, huge and infinite ones too", () => {
    const ascending = [Number.NEGATIVE_INFINITY, -Number.MAX_VALUE, -1e9, -2, -1.5, -1, -Number.MIN_VALUE, 0];
    ascending.push(
      Number.MIN_VALUE,
      0.1,
      1,
      1.5,
      2,
      10,
      1e9,
      Number.MAX_SAFE_INTEGER,
      Number.MAX_VALUE,
      Number.POSITIVE_INFINITY,
    );
    for (let at = 1; at < ascending.length; at += 1) expect(order(ascending[at - 1]!, ascending[at]!)).toBe(-1);
  });

  it("is equal for equal values alone", () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(encodeIndexValue(a) === encodeIndexValue(b)).toBe(compareValues(a, b) === 0);
      }),
      { numRuns: 1000 },
    );
    expect(encodeIndexValue(-0)).toBe(encodeIndexValue(0));
    expect(encodeIndexValue("1")).not.toBe(encodeIndexValue(1));
    expect(encodeIndexValue("null")).not.toBe(encodeIndexValue(null));
    expect(encodeIndexValue("")).not.toBe(encodeIndexValue(null));
  });

  it("of NaN does not exist", () => {
    expect(() => encodeIndexValue(Number.NaN)).toThrow(RangeError);
  });
});

describe("comparing texts", () => {
  it("goes by code point, where JavaScript's own order goes by UTF-16 unit", () => {
    expect(compareText("\uffff", "\u{10000}")).toBeLessThan(0);
    expect("\uffff" < "\u{10000}").toBe(false);
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareText(a, b))).toBe(Math.sign(compareCodePoints(a, b)));
      }),
    );
  });
});
