import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { hasSensitive, redactor, sensitive } from "./sensitive.ts";

const token = sensitive(z.string());
const REDACTED = "[redacted]";

describe("a sensitive field", () => {
  it("is replaced, and its neighbours are not", () => {
    const redact = redactor(z.object({ name: z.string(), token, retries: z.number(), active: z.boolean() }));
    const value = { name: "crm", token: "s3cr3t", retries: 3, active: true };
    expect(redact(value)).toEqual({ ...value, token: REDACTED });
  });

  it("is replaced however its schema goes on after the mark", () => {
    const longer = {
      ...{ min: token.min(1), refined: token.refine(() => true), described: token.describe("of the CRM") },
      ...{ titled: token.meta({ title: "Token" }), optional: token.optional(), nullable: token.nullable() },
      ...{ nullish: token.nullish(), defaulted: token.default("x"), caught: token.catch("x"), brand: token.brand("t") },
      ...{
        readonly: token.readonly(),
        twice: sensitive(token),
        lazy: z.lazy(() => token),
        piped: z.string().pipe(token),
      },
    };
    for (const [name, schema] of Object.entries(longer)) {
      expect([name, redactor(z.object({ field: schema }))({ field: "s3cr3t" })]).toEqual([name, { field: REDACTED }]);
      expect(hasSensitive(z.object({ field: schema }))).toBe(true);
    }
  });

  it("is replaced at every depth: objects, arrays, records, tuples, unions, intersections, recursion", () => {
    const branch = z.object({
      token,
      get children() {
        return z.array(branch);
      },
    });
    const cases: [z.ZodType, unknown, unknown][] = [
      [
        z.object({ a: z.object({ b: z.object({ token }) }) }),
        { a: { b: { token: "s" } } },
        { a: { b: { token: REDACTED } } },
      ],
      [z.array(z.object({ token })), [{ token: "s" }, { token: "t" }], [{ token: REDACTED }, { token: REDACTED }]],
      [z.record(z.string(), token), { a: "s", constructor: "t" }, { a: REDACTED, constructor: REDACTED }],
      [z.looseRecord(z.string().regex(/^x/), token), { x1: "s" }, { x1: REDACTED }],
      [z.object({ id: z.string() }).catchall(token), { id: "1", more: "s" }, { id: "1", more: REDACTED }],
      [z.tuple([token, z.string()]), ["s", "t"], [REDACTED, "t"]],
      [z.tuple([token], z.string()), ["s", "t"], [REDACTED, "t"]],
      [z.union([z.union([token, z.number()]), z.boolean()]), "s", REDACTED],
      [z.union([z.record(z.string(), token), z.object({ a: z.string() })]), { a: "s" }, { a: REDACTED }],
      [z.union([z.record(z.string(), z.unknown()), z.object({ a: z.string() })]), { a: "s" }, { a: "[3 characters]" }],
      [z.intersection(token, z.string()), "s", REDACTED],
      [
        z.intersection(z.object({ a: token }), z.object({ a: z.string(), b: z.string() })),
        { a: "s", b: "t" },
        { a: REDACTED, b: "t" },
      ],
      [
        branch,
        { token: "s", children: [{ token: "t", children: [] }] },
        { token: REDACTED, children: [{ token: REDACTED, children: [] }] },
      ],
    ];
    for (const [schema, value, written] of cases) expect(redactor(schema)(value)).toEqual(written);
  });

  it("of a whole object or list hides all of it", () => {
    const account = z.object({ id: z.string(), key: z.string() });
    for (const schema of [sensitive(account), sensitive(account).nullable(), z.union([sensitive(account), z.string()])])
      expect(redactor(z.object({ account: schema }))({ account: { id: "1", key: "s" } })).toEqual({
        account: REDACTED,
      });
    expect(redactor(sensitive(z.array(z.string())).nullable())(["s"])).toBe(REDACTED);
  });

  it("in one branch of a union hides the field in all of them", () => {
    const password = z.object({ kind: z.literal("password"), value: token });
    const hint = z.object({ kind: z.literal("hint"), value: z.string() });
    for (const schema of [z.union([password, hint]), z.discriminatedUnion("kind", [password, hint])])
      for (const kind of ["password", "hint"])
        expect(redactor(schema)({ kind, value: "s" })).toEqual({ kind, value: REDACTED });
  });

  it("may come from a schema that has an id, beside the unmarked one", () => {
    const named = z.string().meta({ id: "account/na~me" });
    const redact = redactor(z.object({ open: named, hidden: sensitive(named) }));
    expect(redact({ open: "shown", hidden: "s" })).toEqual({ open: "shown", hidden: REDACTED });
  });

  it("that would lose its mark in a pipe is refused when the redactor is made", () => {
    expect(() => redactor(z.object({ a: token.pipe(z.string()) }))).toThrow("mark the whole pipe");
    expect(redactor(z.object({ a: sensitive(z.string().pipe(z.string())) }))({ a: "s" })).toEqual({ a: REDACTED });
  });
});

describe("what is not marked", () => {
  it("is written as it is, absent fields as they are, null as null", () => {
    const redact = redactor(z.object({ a: z.string().optional(), b: z.string().nullable(), c: z.enum(["x", "y"]) }));
    expect(redact({ b: null, c: "x" })).toEqual({ b: null, c: "x" });
    expect(redact({ a: "shown", b: "shown", c: "y" })).toEqual({ a: "shown", b: "shown", c: "y" });
    const mixed = z.union([
      z.literal(1),
      z.literal("one"),
      z.templateLiteral(["con_", z.string()]),
      z.string().regex(/a/).regex(/b/),
    ]);
    expect(redactor(z.object({ a: mixed }))({ a: "con_1" })).toEqual({ a: "con_1" });
  });

  it("is cut between characters and not within one", () => {
    const redact = redactor(z.object({ note: z.string() }));
    expect(redact({ note: `${"x".repeat(499)}😀 and more` })).toEqual({ note: `${"x".repeat(499)}…` });
  });

  it("is left out at the end of a long list or record, and said to be", () => {
    const redact = redactor(z.object({ ids: z.array(z.int()), tags: z.record(z.string(), z.int()), last: z.string() }));
    const ids = Array.from({ length: 300 }, (_, at) => at);
    expect(redact({ ids, tags: { a: 1, b: 2 }, last: "here" })).toEqual({
      ids: [...ids.slice(0, 200), "[100 more]"],
      tags: { "…": "[2 more]" },
      last: "here",
    });
  });

  it("stays small under names that a caller has made up", () => {
    const redact = redactor(z.object({ input: z.record(z.string(), z.json()) }));
    const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, at) => [`field-${at}`, at]));
    expect(JSON.stringify(redact({ input: many })).length).toBeLessThan(10_000);
    expect(redact({ input: { ["x".repeat(501)]: 1 } })).toEqual({
      input: { [`${"x".repeat(500)}…`]: "[1 characters]" },
    });
  });

  it("is cut when it is long text", () => {
    const redact = redactor(z.object({ note: z.string() }));
    expect(redact({ note: "x".repeat(500) })).toEqual({ note: "x".repeat(500) });
    expect(redact({ note: "x".repeat(501) })).toEqual({ note: `${"x".repeat(500)}…` });
  });

  it("is written as its size where the schema leaves it open, whatever it is", () => {
    const open = [z.json(), z.json().optional(), z.json().nullable(), z.unknown(), z.union([z.json(), z.string()])];
    for (const schema of [...open, z.intersection(z.unknown(), z.unknown())])
      for (const value of ["s3cr3t", { key: "s3cr3t" }, ["s3cr3t"], 42])
        expect(redactor(z.object({ field: schema }))({ field: value })).toEqual({
          field: `[${JSON.stringify(value).length} characters]`,
        });
    expect(redactor(z.record(z.string(), z.json()))({ a: "s3cr3t" })).toEqual({ a: "[8 characters]" });
    expect(redactor(z.looseObject({ a: z.string() }))({ a: "shown", b: "s3cr3t" })).toEqual({
      a: "shown",
      b: "[8 characters]",
    });
    expect(redactor(z.looseObject({}))({ b: "s3cr3t" })).toBe("[14 characters]");
  });

  it("is written as its size where it does not fit the schema", () => {
    const redact = redactor(z.object({ name: z.string(), tags: z.array(z.string()), pair: z.tuple([z.string()]) }));
    expect(redact({ name: { first: "s" }, tags: "s", pair: ["shown", "s"], extra: "s" })).toEqual({
      ...{
        name: "[13 characters]",
        tags: "[3 characters]",
        pair: ["shown", "[3 characters]"],
        extra: "[3 characters]",
      },
    });
  });

  it("is an object where the schema takes no field", () => {
    expect(redactor(z.strictObject({}))({})).toEqual({});
    expect(redactor(z.object({ none: z.object({}) }))({ none: {} })).toEqual({ none: {} });
  });

  it("has no hidden meaning in the name of a field", () => {
    const redact = redactor(z.object({ a: z.string() }));
    const written = redact(JSON.parse('{"a":"shown","__proto__":{"b":1},"constructor":"x"}'));
    expect(JSON.stringify(written)).toBe('{"a":"shown","__proto__":"[7 characters]","constructor":"[3 characters]"}');
    expect(Object.getPrototypeOf(written)).toBe(Object.prototype);
  });
});

describe("hasSensitive", () => {
  it("finds a mark at any depth, and none where there is none", () => {
    expect(hasSensitive(z.object({ a: z.array(z.object({ b: token.optional() })) }))).toBe(true);
    expect(hasSensitive(z.object({ a: z.array(z.object({ b: z.string() })), c: z.json() }))).toBe(false);
  });
});

const CANARY = "CANARY";
type Example = { readonly schema: z.ZodType; readonly value: unknown };

/** Schemas of every sort with a value each; what lies at a marked or an open place holds the canary. */
const { example } = fc.letrec<{ example: Example; object: Example }>((tie) => {
  const inner = tie("example");
  const fields = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), inner, { minKeys: 1, maxKeys: 3 });
  const objectOf = (examples: Record<string, Example>) =>
    z.object(Object.fromEntries(Object.entries(examples).map(([key, { schema }]) => [key, schema])));
  const valuesOf = (examples: Record<string, Example>) =>
    Object.fromEntries(Object.entries(examples).map(([key, { value }]) => [key, value]));
  const object = fields.map((examples) => ({ schema: objectOf(examples), value: valuesOf(examples) }));
  return {
    object,
    example: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom<Example>(
        ...[
          { schema: z.string(), value: "plain" },
          { schema: z.number(), value: 7 },
          { schema: z.null(), value: null },
        ],
        ...[
          { schema: token, value: CANARY },
          { schema: token.min(1).optional(), value: CANARY },
        ],
        ...[
          { schema: z.json(), value: { deep: [CANARY] } },
          { schema: z.unknown(), value: CANARY },
        ],
      ),
      object,
      inner.map(({ schema, value }) => ({ schema: sensitive(schema), value: value === "plain" ? CANARY : value })),
      inner.map(({ schema, value }) => ({ schema: schema.optional(), value })),
      inner.map(({ schema, value }) => ({ schema: schema.nullable(), value })),
      inner.map(({ schema, value }) => ({ schema: z.array(schema), value: [value, value] })),
      inner.map(({ schema, value }) => ({ schema: z.record(z.string(), schema), value: { a: value, z: value } })),
      inner.map(({ schema, value }) => ({ schema: z.lazy(() => schema), value })),
      fc
        .tuple(inner, inner)
        .map(([a, b]) => ({ schema: z.tuple([a.schema], b.schema), value: [a.value, b.value, b.value] })),
      fc.tuple(inner, inner).map(([a, b]) => ({ schema: z.tuple([a.schema, b.schema]), value: [a.value, b.value] })),
      fc.tuple(inner, inner).map(([a, b]) => ({ schema: z.union([b.schema, a.schema]), value: a.value })),
      fc.tuple(inner, inner).map(([a, b]) => ({ schema: z.union([a.schema, b.schema]), value: a.value })),
      fc.tuple(object, object).map(([a, b]) => ({
        schema: z.intersection(a.schema, b.schema),
        value: { ...(b.value as object), ...(a.value as object) },
      })),
    ),
  };
});

describe("whatever the schema", () => {
  it("a value at a marked or open place never appears", () => {
    let withCanary = 0;
    fc.assert(
      fc.property(example, ({ schema, value }) => {
        if (JSON.stringify(value).includes(CANARY)) withCanary += 1;
        expect(JSON.stringify(redactor(schema)(value))).not.toContain(CANARY);
      }),
      { numRuns: 1000 },
    );
    expect(withCanary).toBeGreaterThan(200);
  });
});
