/** What a field that an aggregate declares as `index` may hold. */
export type IndexValue = string | number | boolean | null;

/**
 * Writes an index value as text whose code-point order is the value's order: null < false < true < numbers < strings.
 * A store sorts and compares the text (`COLLATE "C"`) and never needs to know the type.
 */
export function encodeIndexValue(value: IndexValue): string {
  if (value === null) return "0";
  if (typeof value === "boolean") return value ? "2" : "1";
  if (typeof value === "number") return `3${encodeNumber(value)}`;
  return `4${value}`;
}

const view = new DataView(new ArrayBuffer(8));

function encodeNumber(value: number): string {
  if (Number.isNaN(value)) throw new RangeError("NaN cannot be indexed.");
  view.setFloat64(0, value === 0 ? 0 : value);
  let bits = view.getBigUint64(0);
  // Positive: set the sign bit; negative: flip all, so that larger magnitudes sort first.
  bits = bits >> 63n === 0n ? bits | (1n << 63n) : ~bits & 0xffff_ffff_ffff_ffffn;
  return bits.toString(16).padStart(16, "0");
}

/** Code-point order, which is what `COLLATE "C"` gives on UTF-8 text; JavaScript's `<` orders by UTF-16 units. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const difference = codePointRank(a.charCodeAt(at)) - codePointRank(b.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

// Surrogates, D800 to DFFF, stand for code points above all those of a single unit.
function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
