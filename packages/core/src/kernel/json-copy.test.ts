import fc from "fast-check";
import { expect, test } from "vitest";
import { frozenCopy, jsonCopy } from "./json-copy.ts";

const anything = fc.anything({ withDate: true, withSparseArray: true, withNullPrototype: true });

test("a copy is what comes back from JSON text", () => {
  fc.assert(
    fc.property(anything, (value) => {
      const text = JSON.stringify(value) as string | undefined;
      const read = text === undefined ? undefined : JSON.parse(text);
      expect(jsonCopy(value)).toStrictEqual(read);
      expect(frozenCopy(value)).toStrictEqual(read);
    }),
    { numRuns: 1_000 },
  );
});
