import { createSecretKey, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemClock } from "../kernel/clock.ts";
import { systemIds } from "../kernel/ids.ts";
import { open, seal, sealedText } from "./sealing.ts";

const ids = systemIds(systemClock());
const key = createSecretKey(randomBytes(32));
const bound = ["secret", "acme", "crm/token", 1];

describe("a sealed value", () => {
  it("opens to what was sealed, whatever that was", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (plaintext) => {
        const sealed = seal(key, plaintext, bound, ids);
        expect(sealedText.safeParse(sealed).success).toBe(true);
        expect(new Uint8Array(open(key, sealed, bound)!)).toEqual(plaintext);
      }),
    );
  });

  it("is another text each time, and holds nothing of the plaintext", () => {
    const plaintext = Buffer.from("the same words, long enough to be seen");
    const texts = Array.from({ length: 100 }, () => seal(key, plaintext, bound, ids));
    expect(new Set(texts).size).toBe(100);
    for (const text of texts) expect(Buffer.from(text, "base64").includes("words")).toBe(false);
  });

  it("does not open when any single bit has changed", () => {
    const sealed = Buffer.from(seal(key, Buffer.from("x"), bound, ids), "base64");
    for (let bit = 0; bit < sealed.byteLength * 8; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(open(key, changed.toString("base64"), bound)).toBeUndefined();
    }
  });

  it("does not open when it was cut short or lengthened", () => {
    const sealed = Buffer.from(seal(key, Buffer.from("plaintext"), bound, ids), "base64");
    for (let length = 0; length < sealed.byteLength; length += 1)
      expect(open(key, sealed.subarray(0, length).toString("base64"), bound)).toBeUndefined();
    expect(open(key, Buffer.concat([sealed, Buffer.alloc(1)]).toString("base64"), bound)).toBeUndefined();
    expect(open(key, "", bound)).toBeUndefined();
  });

  it("does not open under another key, or bound to anything else", () => {
    const sealed = seal(key, Buffer.from("x"), bound, ids);
    expect(open(createSecretKey(randomBytes(32)), sealed, bound)).toBeUndefined();
    const others = [
      ["secret", "globex", "crm/token", 1],
      ["secret", "acme", "crm/token", 2],
      ["secret", "acme", "crm/token", "1"],
    ];
    for (const other of [...others, ["secret", "acme", "crm", "/token", 1], ["secret", "acme", "crm/toke", "n1"], []])
      expect(open(key, sealed, other)).toBeUndefined();
  });
});
