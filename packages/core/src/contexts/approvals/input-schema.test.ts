import { describe, expect, test } from "vitest";
import { z } from "zod";
import { InvalidInput } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/schema.ts";
import { checkEdited, checkInputSchema } from "./input-schema.ts";

const issuesOf = (run: () => void) => {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidInput) return error.details.issues.map(({ path, message }) => `${path} ${message}`);
    throw error;
  }
  return [];
};

const mail: JsonObject = {
  type: "object",
  properties: { to: { type: "string", format: "email" }, copies: { type: "integer", maximum: 3, default: 1 } },
  required: ["to"],
  additionalProperties: false,
};

describe("the schema that edited arguments must fit", () => {
  test("says what is wrong with them and where, and changes nothing", () => {
    const args = Object.freeze({ to: "bo@example.com" });
    expect(issuesOf(() => checkEdited(mail, args))).toEqual([]);
    expect(args).toEqual({ to: "bo@example.com" });
    expect(issuesOf(() => checkEdited(mail, { to: "bo", copies: 4, cc: "x" }))).toEqual([
      expect.stringMatching(/^arguments\.to /),
      expect.stringMatching(/^arguments\.copies /),
      "arguments.cc is not a known field",
    ]);
  });

  test("may be what zod writes, references to itself too", () => {
    const tree = z.strictObject({
      name: z.string().regex(/^[a-z]+$/),
      get children() {
        return z.array(tree).optional();
      },
      extra: z.json().optional(),
    });
    const schema = z.toJSONSchema(tree) as unknown as JsonObject;
    checkInputSchema(schema);
    expect(issuesOf(() => checkEdited(schema, { name: "a", children: [{ name: "b", extra: [1] }] }))).toEqual([]);
    expect(issuesOf(() => checkEdited(schema, { name: "a", children: [{ name: "B" }] }))).toEqual([
      expect.stringMatching(/^arguments\.children\.0\.name /),
    ]);
  });

  test.each<[string, JsonObject]>([
    ["describes no object", { type: "string" }],
    ["says nothing", {}],
    ["has conditions", { type: "object", if: { properties: { a: { const: 1 } } }, else: { required: ["b"] } }],
    ["has a negation", { type: "object", properties: { a: { not: { type: "string" } } } }],
    ["has dependencies", { type: "object", dependentRequired: { a: ["b"] } }],
    ["refers to elsewhere", { type: "object", properties: { a: { $ref: "https://example.com/a.json" } } }],
    ["refers to nothing", { type: "object", properties: { a: { $ref: "#/$defs/none" } } }],
    ["has a type that there is not", { type: "object", properties: { a: { type: "text" } } }],
    ["has an expression that is none", { type: "object", properties: { a: { type: "string", pattern: "(" } } }],
  ])("that %s is refused when it is given, not passed over when somebody edits", (_what, schema) => {
    expect(issuesOf(() => checkInputSchema(schema))).toEqual([expect.stringMatching(/^inputSchema (must|cannot)/)]);
  });

  test("cannot hold the process up: not by an expression, nor by references to references", () => {
    const slow = { type: "object", properties: { a: { type: "string", pattern: "^(a+)+$" } } };
    checkInputSchema(slow);
    const begun = performance.now();
    expect(issuesOf(() => checkEdited(slow, { a: `${"a".repeat(50)}!` }))).toEqual([
      "arguments take too long to check",
    ]);
    const defs: Record<string, JsonObject> = { a0: { type: "object" } };
    for (let at = 1; at < 60; at += 1)
      defs[`a${at}`] = { allOf: [{ $ref: `#/$defs/a${at - 1}` }, { $ref: `#/$defs/a${at - 1}` }] };
    const web = { type: "object", properties: { a: { $ref: "#/$defs/a59" } }, $defs: defs };
    expect(issuesOf(() => checkEdited(web, { a: {} }))).toEqual(["arguments take too long to check"]);
    const round = { type: "object", allOf: [{ $ref: "#" }] };
    expect(issuesOf(() => checkEdited(round, {})).length).toBe(1);
    expect(performance.now() - begun).toBeLessThan(5_000);
    // And what comes after it is checked as ever.
    expect(issuesOf(() => checkEdited(mail, { to: "bo@example.com" }))).toEqual([]);
  });
});
