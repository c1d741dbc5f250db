import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Secret } from "../kernel/secret.ts";
import { deriveKey } from "./key-derivation.ts";
import { signToken, verifyToken } from "./signed-token.ts";

const KEK = new Secret(Buffer.alloc(32, 3).toString("base64"));
const key = deriveKey(KEK, "oauth-state");
const schema = z.strictObject({ tenant: z.string(), nonce: z.string() });
const payload = { tenant: "acme", nonce: "n-1" };
const NOW = 1_800_000_000_123;

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a signed token", () => {
  it("gives its payload back until it expires, to the millisecond", async () => {
    const token = await signToken(key, payload, NOW + 10);
    expect(await verifyToken(key, token, schema, NOW)).toEqual(payload);
    expect(await verifyToken(key, token, schema, NOW + 9)).toEqual(payload);
    expect(await verifyToken(key, token, schema, NOW + 10)).toBeUndefined();
    expect(await verifyToken(key, token, schema, NOW + 60_000)).toBeUndefined();
  });

  it("can stand in a URL as it is", async () => {
    const token = await signToken(key, { tenant: "ü/+?&=#", nonce: "🗝️" }, NOW + 1000);
    expect(token).toMatch(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);
    expect(encodeURIComponent(token)).toBe(token);
  });

  it("is nothing under another key, or the key of another purpose", async () => {
    const token = await signToken(key, payload, NOW + 1000);
    expect(await verifyToken(deriveKey(KEK, "service-call"), token, schema, NOW)).toBeUndefined();
    expect(await verifyToken(new Secret(new Uint8Array(32)), token, schema, NOW)).toBeUndefined();
  });

  it("is nothing once any character of it has changed", async () => {
    const token = await signToken(key, payload, NOW + 1000);
    for (let at = 0; at < token.length; at += 1) {
      const other = token[at] === "A" ? "B" : "A";
      const changed = `${token.slice(0, at)}${other}${token.slice(at + 1)}`;
      const same = Buffer.from(changed.split(".")[2] ?? "", "base64url").equals(
        Buffer.from(token.split(".")[2]!, "base64url"),
      );
      if (changed.startsWith(token.slice(0, token.lastIndexOf("."))) && same) continue;
      expect(await verifyToken(key, changed, schema, NOW)).toBeUndefined();
    }
  });

  it("is nothing without a signature, with another algorithm or without an expiry", async () => {
    const { SignJWT } = await import("jose");
    const claims = { payload, exp: NOW / 1000 + 60 };
    expect(await verifyToken(key, `${encoded({ alg: "none" })}.${encoded(claims)}.`, schema, NOW)).toBeUndefined();
    const stronger = await new SignJWT(claims).setProtectedHeader({ alg: "HS512" }).sign(new Uint8Array(64));
    expect(await verifyToken(new Secret(new Uint8Array(64)), stronger, schema, NOW)).toBeUndefined();
    const endless = await new SignJWT({ payload }).setProtectedHeader({ alg: "HS256" }).sign(key.reveal());
    expect(await verifyToken(key, endless, schema, NOW)).toBeUndefined();
    const honest = await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(key.reveal());
    expect(await verifyToken(key, honest, schema, NOW)).toEqual(payload);
  });

  it("is nothing when its payload does not fit, even a signed one", async () => {
    for (const other of [{}, { tenant: 7, nonce: "n" }, { ...payload, admin: true }])
      expect(await verifyToken(key, await signToken(key, other, NOW + 1000), schema, NOW)).toBeUndefined();
  });

  it("takes fields with the names of registered claims for what they are", async () => {
    const names = z.strictObject({ exp: z.number(), sub: z.string() });
    const token = await signToken(key, { exp: 1, sub: "x" }, NOW + 1000);
    expect(await verifyToken(key, token, names, NOW)).toEqual({ exp: 1, sub: "x" });
  });

  it("is nothing when it is garbage, and garbage never throws", async () => {
    const segment = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((text) => Buffer.from(text).toString("base64url")),
    );
    const garbage = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.tuple(segment, segment, segment).map((parts) => parts.join(".")),
    );
    await fc.assert(
      fc.asyncProperty(garbage, async (token) => {
        expect(await verifyToken(key, token, schema, NOW)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
    for (const token of [undefined, null, 7, {}, [], "..", "a.b.c", "x".repeat(100_000)])
      expect(await verifyToken(key, token as string, schema, NOW)).toBeUndefined();
  });
});
