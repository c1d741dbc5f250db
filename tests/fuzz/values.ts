import type { Json, JsonObject } from "@armature/core";
import fc, { type Arbitrary } from "fast-check";

/** What was seen in answers, by the field's name: ids, cursors, roles. They lead further than made-up ones. */
export type Seen = ReadonlyMap<string, readonly Json[]>;

/** Values that fit a JSON Schema, as zod writes it. */
export function fitting(schema: JsonObject, seen: Seen): Arbitrary<unknown> {
  const definitions = (schema["$defs"] ?? {}) as Readonly<Record<string, JsonObject>>;
  return fc.letrec((tie) => {
    const build = (node: JsonObject): Arbitrary<unknown> => {
      if (typeof node["$ref"] === "string") return node["$ref"] === "#" ? leaf : tie(node["$ref"].split("/").at(-1)!);
      if ("const" in node) return fc.constant(node["const"]);
      if (Array.isArray(node["enum"])) return fc.constantFrom(...(node["enum"] as Json[]));
      for (const keyword of ["anyOf", "oneOf"])
        if (Array.isArray(node[keyword]))
          return fc.oneof({ maxDepth: 3 }, ...(node[keyword] as JsonObject[]).map(build));
      if (Array.isArray(node["allOf"])) return build(Object.assign({}, node, { allOf: undefined }, ...node["allOf"]));
      if (Array.isArray(node["type"]))
        return fc.oneof(...(node["type"] as string[]).map((type) => build({ ...node, type })));
      switch (node["type"]) {
        case "string":
          return text(node);
        case "integer":
          return fc.integer(bounds(node));
        case "number":
          return fc.double({ ...bounds(node), noNaN: true, noDefaultInfinity: true });
        case "boolean":
          return fc.boolean();
        case "null":
          return fc.constant(null);
        case "array":
          return fc.array(build((node["items"] ?? {}) as JsonObject), {
            minLength: (node["minItems"] as number | undefined) ?? 0,
            maxLength: Math.min((node["maxItems"] as number | undefined) ?? 4, 4),
          });
        case "object":
          return object(node, build, seen);
        default:
          return leaf;
      }
    };
    return {
      ...Object.fromEntries(Object.entries(definitions).map(([name, node]) => [name, build(node)])),
      root: build(schema),
    };
  })["root"]!;
}

const leaf = fc.oneof(fc.string({ maxLength: 10 }), fc.integer(), fc.boolean(), fc.constant(null));

function object(node: JsonObject, build: (node: JsonObject) => Arbitrary<unknown>, seen: Seen): Arbitrary<unknown> {
  const properties = Object.entries((node["properties"] ?? {}) as Readonly<Record<string, JsonObject>>);
  const extra = node["additionalProperties"];
  if (properties.length === 0 && typeof extra === "object")
    return fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), build(extra as JsonObject), { maxKeys: 3 });
  const fields = properties.map(([name, inner]) => {
    const known = (seen.get(name) ?? []).filter((value) => mayBe(inner, value));
    const made = build(inner);
    // Known first: three times of four.
    return [name, known.length === 0 ? made : fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, made)];
  });
  const all = Object.fromEntries(fields) as Record<string, Arbitrary<unknown>>;
  const required = (node["required"] ?? []) as string[];
  const optional = Object.keys(all).filter((name) => !required.includes(name));
  // Of many that may be there some exclude each other: so often it is one or two, and one that leads further.
  const known = optional.filter((name) => seen.has(name));
  const few = fc.oneof(...[optional, known].map((of) => fc.subarray(of, { maxLength: Math.min(2, of.length) })));
  const sparse = fc.tuple(fc.record(all), few).map(([full, kept]) => pick(full, [...required, ...kept]));
  return fc.oneof(fc.record(all, { requiredKeys: required as never }), sparse);
}

/** Whether the schema takes values of this kind. */
function mayBe(node: JsonObject, value: Json): boolean {
  const parts = [node["anyOf"] ?? node["oneOf"] ?? []].flat() as JsonObject[];
  if (parts.length > 0) return parts.some((part) => mayBe(part, value));
  const types = [node["type"] ?? []].flat();
  const type = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  return types.length === 0 || types.includes(type) || (type === "number" && types.includes("integer"));
}

function pick(full: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(full).filter(([name]) => names.includes(name)));
}

function bounds(node: JsonObject): { min: number; max: number } {
  const number = (keyword: string) => node[keyword] as number | undefined;
  const min = number("minimum") ?? (number("exclusiveMinimum") ?? -1_000) + 1;
  const max = number("maximum") ?? (number("exclusiveMaximum") ?? Math.max(min, 1_000)) - 1;
  return { min, max: Math.max(min, Math.min(max, Number.MAX_SAFE_INTEGER)) };
}

function text(node: JsonObject): Arbitrary<string> {
  const minLength = (node["minLength"] as number | undefined) ?? 0;
  const maxLength = Math.min((node["maxLength"] as number | undefined) ?? 20, Math.max(minLength, 20));
  if (node["format"] === "date-time")
    return fc
      .date({ min: new Date(0), max: new Date("9999-01-01"), noInvalidDate: true })
      .map((date) => date.toISOString());
  if (node["format"] === "email") return fc.emailAddress();
  if (node["format"] === "uri") return fc.webUrl();
  if (typeof node["pattern"] === "string") return fc.stringMatching(new RegExp(node["pattern"], "u"));
  return fc.string({ minLength, maxLength, unit: "grapheme" });
}

const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)]);

/** Values that somebody sends who means no good, or has a defect. */
export const hostile: Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    " ",
    "\u0000",
    "a\u0000b",
    "\ud800",
    "\udfff\ud800",
    "\u202e\u2066",
    "' OR 1=1; DROP TABLE events; --",
    "\\'; SELECT pg_sleep(10); --",
    "../../../../etc/passwd",
    "..%2f..%2f",
    ".",
    "..",
    "%00",
    "%",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "a\r\nx-injected: 1",
    "constructor",
    "toString",
    "9223372036854775808",
    "1e400",
    "NaN",
    -0,
    1e308,
    -1e308,
    Number.MAX_SAFE_INTEGER + 2,
    0.1,
    {},
    [],
    [[]],
    true,
    "x".repeat(10_000),
    "é".repeat(5_000),
    "😀".repeat(3_000),
    deep(50),
    deep(2_000),
    JSON.parse('{"__proto__":{"admin":true}}'),
    JSON.parse('{"constructor":{"prototype":{"admin":true}}}'),
    { $ref: "#/x" },
    JSON.parse('{"then":"x"}'),
    { toJSON: "x" },
    Array.from({ length: 2_000 }, (_, n) => n),
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.jsonValue({ maxDepth: 3 }),
);
