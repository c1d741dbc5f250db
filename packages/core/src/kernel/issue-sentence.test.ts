import { describe, expect, test } from "vitest";
import { z } from "zod";
import { InvalidInput } from "./errors.ts";
import { type Schema, tryParse } from "./schema.ts";

const wrongWith = (schema: Schema, value: unknown): string => {
  const parsed = tryParse(schema, value);
  return parsed.ok ? "nothing" : parsed.issues.map(({ message }) => message).join("; ");
};

describe("what is wrong with a value", () => {
  test.each<[Schema, unknown, string]>([
    [z.string(), undefined, "is missing"],
    [z.number(), "1", "must be a number, not text"],
    [z.int(), 1.5, "must be a whole number"],
    [z.int(), null, "must be a number, not null"],
    [z.strictObject({}), [], "must be an object, not a list"],
    [z.string().min(1), "", "must have at least 1 character"],
    [z.string().max(3), "long", "must have at most 3 characters"],
    [z.string().length(3), "long", "must have exactly 3 characters"],
    [z.array(z.int()).max(1), [1, 2], "must have at most 1 entry"],
    [z.int().max(200), 201, "must be at most 200"],
    [z.number().gt(3), 3, "must be more than 3"],
    [z.int().multipleOf(5), 7, "must be a multiple of 5"],
    [z.enum(["asc", "desc"]), "up", 'must be "asc" or "desc"'],
    [z.enum(Array.from({ length: 30 }, (_, at) => `v${at}`)), "up", "v19"],
    [z.email(), "ann", "must be an e-mail address"],
    [z.iso.datetime(), "today", "must be a time as ISO 8601 writes it, like 2026-01-31T12:00:00Z"],
    [z.string().regex(/^[a-z]+$/), "A", "must match /^[a-z]+$/"],
    [z.string().startsWith("con_"), "x", 'must start with "con_"'],
    [z.union([z.literal("all"), z.string().array()]), 7, 'must be "all" or a list'],
    [z.union([z.object({ a: z.int() }), z.object({ b: z.int() })]), {}, "fits none of the allowed forms"],
    [z.record(z.string().max(1), z.int()), { long: 1 }, "has a name that does not fit"],
    [z.string().refine(() => false), "x", "is not valid"],
    [z.string().regex(/^a$/, "must be an a"), "x", "must be an a"],
  ])("%# is said after the field's name", (schema, value, sentence) => {
    expect(wrongWith(schema, value)).toContain(sentence);
  });

  test("never quotes the value", () => {
    const value = "hunter2";
    const schemas = [z.int(), z.email(), z.enum(["a"]), z.string().max(1), z.union([z.int(), z.boolean()]), z.uuid()];
    for (const schema of schemas) expect(wrongWith(schema, value)).not.toContain(value);
  });

  test("makes one sentence with the subject, and names the first five places", () => {
    const issue = (path: string, message: string) => ({ path, message });
    const said = (...issues: ReturnType<typeof issue>[]) => new InvalidInput({ subject: "The input", issues }).message;
    expect(said(issue("name", "is missing"), issue("", "must be an object"))).toBe(
      "The input is not valid: name is missing; it must be an object.",
    );
    expect(said(issue("", "since and until go together"))).toBe("The input is not valid: since and until go together.");
    expect(said(...Array.from({ length: 7 }, (_, at) => issue(`f${at}`, "is missing")))).toMatch(
      /f4 is missing; and 2 more\.$/,
    );
  });
});
