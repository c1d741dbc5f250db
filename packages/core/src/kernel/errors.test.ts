import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  ArmatureError,
  defineError,
  type ErrorClass,
  type ErrorRecord,
  kernelErrors,
  reviveError,
  UnrecognizedError,
} from "./errors.ts";
import { portErrors } from "./port-errors.ts";

class StageClosed extends defineError("trading.stage_closed", {
  kind: "precondition",
  details: z.object({ stage: z.string() }),
  message: ({ stage }) => `The stage "${stage}" is closed.`,
}) {}

/** Details that fit the error's schema, made from the schema. */
function exampleOf(schema: z.ZodType): unknown {
  if (schema instanceof z.ZodObject)
    return Object.fromEntries(Object.entries(schema.shape).map(([key, inner]) => [key, exampleOf(inner as z.ZodType)]));
  if (schema instanceof z.ZodArray) return [exampleOf(schema.element as z.ZodType)];
  if (schema instanceof z.ZodNumber) return 1500;
  if (schema instanceof z.ZodString) return "some text";
  throw new Error(`This test does not know how to make a ${schema.constructor.name}.`);
}

const overTheWire = (error: ArmatureError): ErrorRecord => JSON.parse(JSON.stringify(error));

describe("every error of the kernel and the ports", () => {
  it("has a code of its own", () => {
    const codes = [...kernelErrors, ...portErrors].map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code).toMatch(/^[a-z_]+(\.[a-z_]+)?$/);
  });

  for (const Class of [...kernelErrors, ...portErrors])
    it(`survives the wire: ${Class.code}`, () => {
      const error = new Class(exampleOf(Class.details as unknown as z.ZodType));
      const revived = reviveError(overTheWire(error), portErrors);
      expect(revived).toBeInstanceOf(Class);
      expect(revived.constructor).toBe(Class);
      expect(overTheWire(revived)).toEqual(overTheWire(error));
      expect(revived.details).toEqual(error.details);
      expect(revived.message).toMatch(/^.+[^ ]$/);
      expect(revived.message).not.toMatch(/undefined|\[object|NaN/);
      expect(revived.name).toBe(Class.name);
      expect([revived.code, revived.kind]).toEqual([Class.code, Class.kind]);
    });
});

describe("an error of a context", () => {
  it("reads as a sentence, and keeps its cause out of what travels", () => {
    const cause = new Error("canary");
    const error = new StageClosed({ stage: "won" }, { cause });
    expect(error).toBeInstanceOf(ArmatureError);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe('StageClosed: The stage "won" is closed.');
    expect(error.cause).toBe(cause);
    expect(JSON.stringify(error)).not.toContain("canary");
    expect(overTheWire(error)).toEqual({
      ...{ code: "trading.stage_closed", kind: "precondition" },
      ...{ message: 'The stage "won" is closed.', details: { stage: "won" } },
    });
  });

  it("comes back as its class where the class is known", () => {
    const revived = reviveError(overTheWire(new StageClosed({ stage: "won" })), [StageClosed]);
    expect(revived).toBeInstanceOf(StageClosed);
    expect((revived as StageClosed).details.stage).toBe("won");
  });

  it("keeps code, kind, sentence and details where the class is not known", () => {
    const record = overTheWire(new StageClosed({ stage: "won" }));
    const revived = reviveError(record, []);
    expect(revived).toBeInstanceOf(UnrecognizedError);
    expect(overTheWire(revived)).toEqual(record);
  });

  it("whose details do not fit the known class is kept as it came", () => {
    const record = { ...overTheWire(new StageClosed({ stage: "won" })), details: { step: 1 } };
    const revived = reviveError(record, [StageClosed]);
    expect(revived).toBeInstanceOf(UnrecognizedError);
    expect(overTheWire(revived)).toEqual(record);
  });

  it("of a newer version may carry details that this one does not know", () => {
    const record = { ...overTheWire(new StageClosed({ stage: "won" })), details: { stage: "won", since: "2026" } };
    expect(reviveError(record, [StageClosed])).toBeInstanceOf(StageClosed);
  });

  it("takes part in instanceof as itself alone", () => {
    class Other extends defineError("trading.stage_closed", {
      ...{ kind: "precondition", details: z.object({ stage: z.string() }), message: () => "Closed." },
    } as const) {}
    const classes: readonly ErrorClass[] = [StageClosed, Other];
    expect(new Other({ stage: "x" })).not.toBeInstanceOf(StageClosed);
    expect(reviveError(overTheWire(new Other({ stage: "x" })), classes)).toBeInstanceOf(StageClosed);
    expect(inspect(new StageClosed({ stage: "won" }))).toContain("StageClosed");
  });
});
