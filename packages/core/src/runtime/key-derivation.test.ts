import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { InvalidInput } from "../kernel/errors.ts";
import { Secret } from "../kernel/secret.ts";
import { deriveKey, keyId } from "./key-derivation.ts";

const KEK = new Secret(Buffer.alloc(32, 7).toString("base64"));
const OTHER = new Secret(Buffer.alloc(32, 8).toString("base64"));
const hex = (key: Secret<Uint8Array>) => Buffer.from(key.reveal()).toString("hex");

describe("deriveKey", () => {
  it("gives 32 bytes by HKDF-SHA256, and always the same ones", () => {
    // Computed apart: openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:<07 32 times>
    // -kdfopt info:armature/1/oauth-state HKDF
    expect(hex(deriveKey(KEK, "oauth-state"))).toBe("30116e350bd9a6531a0acab32ad191ffc9e759a2073e7890e67c42b0dde519f7");
  });

  it("gives another key for another purpose and for another key-encryption key", () => {
    const keys = [deriveKey(KEK, "a"), deriveKey(KEK, "b"), deriveKey(OTHER, "a"), deriveKey(KEK, "")].map(hex);
    expect(new Set(keys).size).toBe(4);
  });

  it("takes the key with and without padding or a line end around it", () => {
    const unpadded = new Secret(KEK.reveal().replace("=", ""));
    const fromFile = new Secret(`${KEK.reveal()}\n`);
    expect(hex(deriveKey(unpadded, "a"))).toBe(hex(deriveKey(KEK, "a")));
    expect(hex(deriveKey(fromFile, "a"))).toBe(hex(deriveKey(KEK, "a")));
  });

  it("refuses everything that is not 32 bytes in base64, and does not quote it", () => {
    const wrong = [
      ...[
        "",
        "changeme",
        "canary".repeat(20),
        Buffer.alloc(31, 7).toString("base64"),
        Buffer.alloc(33).toString("base64"),
      ],
      ...[Buffer.alloc(32, 0xfb).toString("base64url"), Buffer.alloc(32, 7).toString("hex"), `!${KEK.reveal()}`],
      `${KEK.reveal()}${KEK.reveal()}`,
    ];
    for (const text of wrong) {
      let thrown: unknown;
      try {
        deriveKey(new Secret(text), "a");
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(InvalidInput);
      expect((thrown as Error).message).toContain("The key-encryption key is not valid: it must be 32 bytes in base64");
      if (text !== "") expect(inspect(thrown, { showHidden: true })).not.toContain(text);
    }
  });

  it("names a key-encryption key without telling anything of it", () => {
    expect(keyId(KEK)).toMatch(/^[0-9a-f]{16}$/);
    expect(keyId(KEK)).toBe(keyId(new Secret(KEK.reveal())));
    expect(keyId(KEK)).not.toBe(keyId(OTHER));
    expect(hex(deriveKey(KEK, "data-keys"))).not.toContain(keyId(KEK));
  });
});
