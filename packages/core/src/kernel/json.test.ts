import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { json } from "./json.ts";
import { assertJsonOnly, jsonSchema, tryParse } from "./schema.ts";
import { redactor, sensitive } from "./sensitive.ts";

const anything = fc.anything({ withDate: true, withMap: true, withBigInt: true, withNullPrototype: true });

describe("any JSON", () => {
  test("is what z.json() takes, and comes to the same", () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), anything), (value) => {
        const [ours, theirs] = [json.safeParse(value), z.json().safeParse(value)];
        expect(ours.success).toBe(theirs.success);
        expect(ours.data).toEqual(theirs.data);
      }),
      { numRuns: 1_000 },
    );
  });

  test("is a copy that shares nothing", () => {
    const value = { list: [{ a: 1 }], of: { b: null } };
    const parsed = z.object({ value: json }).parse({ value }).value as typeof value;
    expect(parsed).toEqual(value);
    expect(parsed.list[0]).not.toBe(value.list[0]);
    expect(parsed.of).not.toBe(value.of);
  });

  test("is missing, or is not, and where is told", () => {
    const schema = z.strictObject({ a: json, b: z.record(z.string(), json) });
    const value = { b: { c: [1, { d: new Date(), e: Number.NaN, f: undefined }] } };
    expect(tryParse(schema, value)).toEqual({
      ok: false,
      issues: [
        { path: "a", message: "is missing" },
        { path: "b.c.1.d", message: "must be JSON" },
        { path: "b.c.1.e", message: "must be JSON" },
        { path: "b.c.1.f", message: "is missing" },
      ],
    });
  });

  test("ends where the stack does", () => {
    let value: unknown = 0;
    for (let level = 0; level < 200_000; level += 1) value = [value];
    expect(tryParse(json, value)).toEqual({ ok: false, issues: [{ path: "", message: "is nested too deeply" }] });
  });

  test("changes no prototype", () => {
    const parsed = json.parse(JSON.parse('{"__proto__":{"admin":true},"b":1}'));
    expect(parsed).toEqual({ b: 1 });
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
  });

  test("is described without references, for every side", () => {
    const schema = z.strictObject({ value: json, more: json.optional() });
    expect(() => assertJsonOnly(schema, "It")).not.toThrow();
    for (const side of ["input", "output"] as const)
      expect(jsonSchema(schema, side)).toMatchObject({
        properties: { value: { type: ["string", "number", "boolean", "null", "array", "object"] } },
        required: ["value"],
      });
  });

  test("may be marked, and is told by its size", () => {
    expect(redactor(z.object({ a: json, b: sensitive(json) }))({ a: { c: "secret" }, b: 1 })).toEqual({
      a: "[14 characters]",
      b: "[redacted]",
    });
  });
});
