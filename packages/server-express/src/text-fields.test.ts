import { jsonSchema } from "@armature/core";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { textField } from "./text-fields.ts";

function read(schema: z.ZodType, ...values: string[]): unknown {
  const json = jsonSchema(schema, "input");
  return textField(json, json)?.read(values);
}

describe("a field that travels as text", () => {
  test.each<[string, z.ZodType, string[], unknown]>([
    ["text stays text, also when it looks like a number", z.string(), ["5"], "5"],
    ["a number is a number", z.number(), ["-5.25e1"], -52.5],
    ["a whole number is a number", z.int(), ["0"], 0],
    ["a number in another spelling is left for the schema to refuse", z.number(), ["007"], "007"],
    ["no text is not a number", z.number(), [""], ""],
    ["blanks are not a number", z.number(), [" 5"], " 5"],
    ["hexadecimal is not a number", z.number(), ["0x10"], "0x10"],
    ["what is too large for a number is none", z.number(), ["1e400"], "1e400"],
    ["true and false are booleans", z.boolean(), ["false"], false],
    ["1 is no boolean", z.boolean(), ["1"], "1"],
    ["an enumeration of texts is text", z.enum(["1", "2"]), ["1"], "1"],
    ["an enumeration of numbers is numbers", z.literal([1, 2]), ["2"], 2],
    ["a text or a number is the number where it can be one", z.union([z.literal("all"), z.int()]), ["3"], 3],
    ["any text or a number is text", z.union([z.string(), z.int()]), ["3"], "3"],
    ["what may be null is what it is otherwise", z.int().nullable(), ["3"], 3],
    ["an optional number is a number", z.int().optional(), ["3"], 3],
    ["a list has as many values as were given", z.array(z.int()), ["1", "2"], [1, 2]],
    ["a list of one is a list", z.array(z.boolean()), ["true"], [true]],
    ["one or several: one is one", z.union([z.int(), z.array(z.int())]), ["1"], 1],
    ["one or several: several are a list", z.union([z.int(), z.array(z.int())]), ["1", "2"], [1, 2]],
    ["any JSON is text", z.json(), ["5"], "5"],
  ])("%s", (_name, schema, values, expected) => {
    expect(read(schema, ...values)).toEqual(expected);
  });

  test("a schema that refers to another is followed, and one that refers to itself does not go round for ever", () => {
    const shared = z.int().meta({ id: "shared/number" });
    expect(read(z.union([shared, z.literal("none")]), "5")).toBe(5);
    const nested: z.ZodType = z.lazy(() => z.union([z.int(), z.array(nested)]));
    expect(read(nested, "5")).toBe(5);
  });

  test.each([z.object({ a: z.string() }), z.record(z.string(), z.string()), z.null()])(
    "an object cannot travel as text",
    (schema) => {
      expect(textField(jsonSchema(schema, "input"), jsonSchema(schema, "input"))).toBeUndefined();
    },
  );
});
