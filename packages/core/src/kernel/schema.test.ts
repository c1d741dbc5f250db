import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { InvalidInput } from "./errors.ts";
import { parse } from "./parse.ts";
import { assertJsonOnly, canonicalJson, frozenJson, tryParse } from "./schema.ts";

/** Brackets within brackets, deeper than any stack. */
function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

describe("parsing", () => {
  const contact = z.strictObject({ name: z.string(), emails: z.array(z.strictObject({ email: z.email() })) });

  it("gives a copy of the value, so that the caller's object is never shared", () => {
    const value = { name: "Ann", emails: [{ email: "ann@acme.example" }] };
    const parsed = parse(contact, value, "The contact");
    expect(parsed).toEqual(value);
    expect(parsed).not.toBe(value);
    expect(parsed.emails[0]).not.toBe(value.emails[0]);
  });

  it("says where and what is wrong, in one sentence and as a list", () => {
    const value = { name: 7, emails: [{ email: "ann@acme.example" }, { email: "nobody", primary: true }] };
    expect(() => parse(contact, value, "The contact")).toThrow(InvalidInput);
    const parsed = tryParse(contact, value);
    expect(parsed).toEqual({
      ok: false,
      issues: [
        { path: "name", message: "must be text, not a number" },
        { path: "emails.1.email", message: "must be an e-mail address" },
        { path: "emails.1.primary", message: "is not a known field" },
      ],
    });
  });

  it("tells of the first issues only, and cuts long names: an answer is no multiple of what was sent", () => {
    const numbers = z.strictObject({ numbers: z.array(z.int()) });
    const unknown = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`field-${at}`, at]));
    for (const value of [{ numbers: Array.from({ length: 10_000 }, String) }, { numbers: [], ...unknown }]) {
      const parsed = tryParse(numbers, value);
      expect(parsed.ok ? [] : parsed.issues).toHaveLength(50);
    }
    const named = tryParse(numbers, { numbers: [], [`${"x".repeat(199)}😀`]: 1 });
    expect(named).toEqual({ ok: false, issues: [{ path: `${"x".repeat(199)}…`, message: "is not a known field" }] });
  });

  it("names an unknown field at the top by itself, and says nothing of values", () => {
    const issues = tryParse(z.strictObject({}), { "canary-name": "canary-value" });
    expect(issues).toEqual({ ok: false, issues: [{ path: "canary-name", message: "is not a known field" }] });
    for (const [schema, value] of [
      [z.enum(["a", "b"]), "canary"],
      [z.literal("a"), "canary"],
      [z.union([z.string().max(2), z.number()]), "canary"],
      [z.iso.datetime(), "canary"],
      [z.number().max(3), 77_001],
    ] as const)
      expect(JSON.stringify(tryParse(schema, value))).not.toMatch(/canary|77001/);
  });

  it("refuses what is nested deeper than the stack reaches, instead of failing", () => {
    const schema = z.strictObject({ data: z.json() });
    expect(tryParse(schema, { data: nested(100) }).ok).toBe(true);
    expect(tryParse(schema, { data: nested(200_000) })).toEqual({
      ok: false,
      issues: [{ path: "", message: "is nested too deeply" }],
    });
  });

  it("lets a schema's own failure through", () => {
    const broken = z.string().refine(() => {
      throw new TypeError("a defect in the schema");
    });
    expect(() => tryParse(broken, "x")).toThrow("a defect in the schema");
  });
});

describe("a JSON-only schema", () => {
  it("is anything that a JSON text can carry, seen from both sides", () => {
    for (const schema of [
      z.strictObject({ a: z.string().optional(), b: z.number().nullable(), c: z.boolean().default(true) }),
      z.object({ at: z.iso.datetime(), kind: z.enum(["a"]), one: z.literal([1, "one", null]) }),
      z.array(z.tuple([z.string(), z.int()], z.null())),
      z.record(z.string(), z.json()),
      z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("a") }),
        z.object({ kind: z.literal("b"), x: z.json() }),
      ]),
      z.templateLiteral(["con_", z.string()]),
      z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })),
      z.object({ a: z.never().optional() }),
      z.codec(z.string(), z.int(), { decode: Number, encode: String }),
    ])
      expect(() => assertJsonOnly(schema, "The input")).not.toThrow();
  });

  it("is not what JSON cannot carry", () => {
    const wrong = { date: z.date(), bigint: z.bigint(), map: z.map(z.string(), z.string()), set: z.set(z.string()) };
    const more = {
      undefined: z.undefined(),
      custom: z.instanceof(Uint8Array),
      transform: z.string().transform(Number),
    };
    for (const schema of Object.values({ ...wrong, ...more }))
      expect(() => assertJsonOnly(z.object({ field: schema }), 'The input of "crm.put"')).toThrow(
        /^The input of "crm.put" is not JSON only \((input|output) side\): /,
      );
  });

  it("is not one with a place that may be anything, and the refusal names the place", () => {
    for (const [schema, place] of [
      [z.unknown(), "the value"],
      [z.object({ a: z.any() }), '"a"'],
      [z.object({ a: z.array(z.unknown().optional()) }), '"a.*"'],
      [z.object({ a: z.record(z.string(), z.unknown()) }), '"a.*"'],
      [z.object({ a: z.looseObject({ b: z.string() }) }), '"a.*"'],
      [z.object({ a: z.tuple([z.string(), z.object({ b: z.unknown() })]) }), '"a.*.b"'],
      [z.object({ a: z.union([z.string(), z.object({ b: z.any() })]) }), '"a.b"'],
      [z.object({ a: z.lazy(() => z.unknown().describe("whatever")) }), '"a"'],
    ] as const)
      expect(() => assertJsonOnly(schema, "The input")).toThrow(
        `The input is not JSON only (input side): ${place} may be anything; say json`,
      );
  });
});

describe("canonical JSON", () => {
  it("is the text that RFC 8785 gives", () => {
    // Sample of RFC 8785, section 3.2.2 and 3.2.3.
    const sample = {
      numbers: [JSON.parse("333333333.33333329"), 1e30, 4.5, 2e-3, 0.000_000_000_000_000_000_000_000_001],
      string: '\u20ac$\u000f\nA\'B"\\\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(sample)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
    const keys = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7 };
    expect([...canonicalJson(keys).matchAll(/:(\d)/g)].map(([, order]) => order).join("")).toBe("2467153");
    expect(canonicalJson({ 10: "a", 9: "b", 1: "c" })).toBe('{"1":"c","10":"a","9":"b"}');
  });

  it("is the same for equal values, whatever the order of their fields, and reads back as the value", () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (value === null || typeof value !== "object") return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, inner]) => [key, shuffled(inner)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("differs for different values", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const same = JSON.stringify(JSON.parse(canonicalJson(a))) === JSON.stringify(JSON.parse(canonicalJson(b)));
        expect(canonicalJson(a) === canonicalJson(b)).toBe(same);
      }),
    );
    expect(canonicalJson(["a", "b"])).not.toBe(canonicalJson(["b", "a"]));
  });

  it("leaves absent fields out and writes what serialises itself as that", () => {
    expect(canonicalJson({ b: undefined, a: [undefined], c: () => 1 })).toBe('{"a":[null]}');
    expect(canonicalJson({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
    expect(canonicalJson(undefined)).toBe("null");
  });

  it("takes a field named __proto__ for a field", () => {
    expect(canonicalJson(JSON.parse('{"__proto__":{"a":1},"b":2}'))).toBe('{"__proto__":{"a":1},"b":2}');
  });
});

describe("frozen JSON", () => {
  it("is a copy that nobody can change, at any depth", () => {
    const value = { list: [{ a: 1 }] };
    const frozen = frozenJson(value);
    expect(frozen).toEqual(value);
    expect(() => frozen.list.push({ a: 2 })).toThrow(TypeError);
    expect(() => {
      frozen.list[0]!.a = 2;
    }).toThrow(TypeError);
    value.list[0]!.a = 3;
    expect(frozen.list[0]!.a).toBe(1);
  });
});
