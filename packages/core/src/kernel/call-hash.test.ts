import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callHash } from "./call-hash.ts";
import type { JsonObject } from "./schema.ts";

const args = fc.dictionary(fc.string(), fc.jsonValue()) as fc.Arbitrary<JsonObject>;

describe("the hash of a call", () => {
  test("is what others can reckon too: SHA-256 of the canonical JSON, in base64url", () => {
    // printf '{"action":"mail.send","arguments":{"a":1,"to":"bo"}}' | openssl dgst -sha256 -binary | basenc --base64url
    expect(callHash("mail.send", { to: "bo", a: 1 })).toBe("mR4fQPacGs-l8WD1ifrSjKz44CKYkHOL94seiI7XtKo");
  });

  test("is the same for the same arguments in another order, and after a trip through JSON", () => {
    fc.assert(
      fc.property(args, (value) => {
        const turned = Object.fromEntries(Object.entries(JSON.parse(JSON.stringify(value))).reverse()) as JsonObject;
        expect(callHash("x", turned)).toBe(callHash("x", value));
      }),
    );
  });

  test("is another one for another action or other arguments", () => {
    const hashes = [
      callHash("a", {}),
      callHash("b", {}),
      callHash("a", { b: 1 }),
      callHash("a", { b: "1" }),
      callHash("a", { b: [1] }),
      callHash("a", { b: null }),
      // What is in the one cannot be passed off as being in the other.
      callHash('a","arguments":{"b":1},"c":"', {}),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
