import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { createLocalJWKSet, type JWK, type JWTPayload, jwtVerify, SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, it } from "vitest";
import { systemIds } from "../kernel/ids.ts";
import type { Principal } from "../kernel/principal.ts";
import { Secret } from "../kernel/secret.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { deriveKey } from "./key-derivation.ts";
import { principalTokens } from "./principal-tokens.ts";

const API = "https://api.example.com";
const AGENT = "https://agents.example.com/researcher";
const key = (fill: number) => new Secret(Buffer.alloc(32, fill).toString("base64"));
const principal: Principal = {
  tenant: "acme",
  actor: { type: "agent", id: "researcher" },
  onBehalfOf: { type: "user", id: "ann" },
  limitedTo: ["crm:read"],
};

function setUp(keys: readonly [Secret<string>, ...Secret<string>[]] = [key(1)], issuer = API) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const tokens = principalTokens({ issuer, keys, clock, ids: systemIds(clock) });
  const issue = async (audience = [AGENT, API]) =>
    (await tokens.issue({ principal, audience, subject: "run" })).reveal();
  const now = clock.now() / 1000;
  return { clock, tokens, issue, now };
}
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const read = (token: string, at: number) => JSON.parse(Buffer.from(token.split(".")[at]!, "base64url").toString());

describe("a principal's token", () => {
  it("says who calls to whom it is meant for, and names itself as what they have proved it with", async () => {
    const { tokens, issue } = setUp();
    const found = await tokens.verify(await issue());
    expect(found).toEqual({ ...principal, credential: expect.stringMatching(/^tok_/) });
  });

  it("can be checked by anybody who has the public keys, which hold nothing secret", async () => {
    const { tokens, issue, clock } = setUp();
    const { keys } = tokens.publicKeys();
    expect(Object.keys(keys[0]!).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
    const { payload, protectedHeader } = await jwtVerify(
      await issue(),
      createLocalJWKSet({ keys: keys as unknown as JWK[] }),
      { issuer: API, audience: AGENT, currentDate: new Date(clock.now()) },
    );
    expect(protectedHeader).toEqual({ alg: "EdDSA", typ: "armature-principal+jwt", kid: keys[0]!["kid"] });
    expect(payload).toMatchObject({ sub: "run", principal: { tenant: "acme" }, exp: payload.iat! + 300 });
  });

  it("is good for five minutes, and for as far as two clocks may be apart", async () => {
    const { tokens, issue, clock } = setUp();
    const token = await issue();
    await clock.advance(304_000);
    expect(await tokens.verify(token)).toBeDefined();
    await clock.advance(1_000);
    expect(await tokens.verify(token)).toBeUndefined();
  });

  it("is nothing for another audience, or from another issuer", async () => {
    const { tokens, issue } = setUp();
    expect(await tokens.verify(await issue([AGENT]))).toBeUndefined();
    expect(await tokens.verify(await issue([`${API}.evil.example`]))).toBeUndefined();
    expect(await setUp([key(1)], "https://other.example").tokens.verify(await issue())).toBeUndefined();
    expect(await tokens.verify(await setUp([key(1)], "https://other.example").issue([API]))).toBeUndefined();
  });

  it("is believed under every key that is listed, signed with the first", async () => {
    const before = setUp([key(1)]);
    const between = setUp([key(2), key(1)]);
    const after = setUp([key(2)]);
    const [old, fresh] = [await before.issue(), await between.issue()];
    expect(await between.tokens.verify(old)).toBeDefined();
    expect(await between.tokens.verify(fresh)).toBeDefined();
    expect(await after.tokens.verify(fresh)).toBeDefined();
    expect(await after.tokens.verify(old)).toBeUndefined();
    expect(await before.tokens.verify(fresh)).toBeUndefined();
    expect(between.tokens.publicKeys().keys).toHaveLength(2);
  });

  it("is nothing once any character of it has changed", async () => {
    const { tokens, issue } = setUp();
    const token = await issue();
    for (let at = 0; at < token.length; at += 1) {
      const other = token[at] === "A" ? "B" : "A";
      const changed = `${token.slice(0, at)}${other}${token.slice(at + 1)}`;
      // The last character of a part may hold bits that stand for nothing.
      const same = Buffer.from(changed.replaceAll(".", ""), "base64url").equals(
        Buffer.from(token.replaceAll(".", ""), "base64url"),
      );
      if (!same) expect(await tokens.verify(changed), `character ${at}`).toBeUndefined();
    }
  });

  it("cannot be made by whoever knows the public key", async () => {
    const { tokens, issue } = setUp();
    const token = await issue();
    const [header, payload] = [read(token, 0), read(token, 1)];
    const [published] = tokens.publicKeys().keys;
    const secrets = [
      Buffer.from(published!["x"] as string, "base64url"),
      Buffer.from(JSON.stringify(published)),
      Buffer.from(published!["x"] as string),
    ];
    const forged = await Promise.all([
      // `alg: none`, with and without a signature
      `${part({ ...header, alg: "none" })}.${part(payload)}.`,
      `${part({ ...header, alg: "none" })}.${part(payload)}.${token.split(".")[2]}`,
      new UnsecuredJWT(payload).encode(),
      // the public key as a shared secret
      ...secrets.map((secret) => new SignJWT(payload).setProtectedHeader({ ...header, alg: "HS256" }).sign(secret)),
      // a key of the forger's, under the known id, and beside the token
      ...["EdDSA", "Ed25519"].map((alg) => signedByAnother(payload, { ...header, alg })),
      signedByAnother(payload, { ...header, jwk: published }),
      `${part(header)}.${part({ ...payload, principal: { ...payload.principal, tenant: "globex" } })}.${token.split(".")[2]}`,
      `${token.split(".").slice(0, 2).join(".")}.`,
      "",
      "..",
      "eyJ",
    ]);
    for (const each of forged) expect(await tokens.verify(each), each).toBeUndefined();
  });

  it("needs every claim, and none that is unknown in who it speaks of", async () => {
    const { tokens, issue, now } = setUp();
    const whole = read(await issue(), 1) as JWTPayload;
    const header = read(await issue(), 0);
    const secret = ownKey();
    const sign = (payload: JWTPayload, more: object = {}) =>
      new SignJWT(payload).setProtectedHeader({ ...header, ...more }).sign(secret);
    expect(await tokens.verify(await sign(whole))).toBeDefined();
    for (const claim of ["iss", "aud", "iat", "exp", "jti", "principal"])
      expect(await tokens.verify(await sign({ ...whole, [claim]: undefined })), claim).toBeUndefined();
    const wrong: JWTPayload[] = [
      { ...whole, principal: { ...principal, tenant: undefined } },
      { ...whole, principal: { ...principal, tenant: "../globex" } },
      { ...whole, principal: { ...principal, actor: undefined } },
      { ...whole, principal: { ...principal, admin: true } },
      { ...whole, principal: { ...principal, credential: "key_1" } },
      { ...whole, iat: now + 60 },
      { ...whole, iat: now - 3_600, exp: now + 3_600 },
    ];
    for (const each of wrong) expect(await tokens.verify(await sign(each)), JSON.stringify(each)).toBeUndefined();
    expect(await tokens.verify(await sign(whole, { typ: "JWT" }))).toBeUndefined();
    expect(await tokens.verify(await sign(whole, { kid: "other" }))).toBeUndefined();
    expect(await tokens.verify(await sign(whole, { kid: undefined }))).toBeUndefined();
  });

  it("is refused where it would not fit into a header, and never printed", async () => {
    const { tokens } = setUp();
    const limitedTo = Array.from({ length: 900 }, (_, at) => `crm:permission-${at}`);
    await expect(tokens.issue({ principal: { ...principal, limitedTo }, audience: [API] })).rejects.toMatchObject({
      code: "invalid_input",
    });
    expect(JSON.stringify({ token: await tokens.issue({ principal, audience: [API] }) })).toBe('{"token":"[secret]"}');
  });
});

async function signedByAnother(payload: JWTPayload, header: { readonly alg: string }): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  return new SignJWT(payload).setProtectedHeader(header).sign(privateKey);
}

/** The key that the tokens of these tests are signed with: what else it signs must not pass. */
function ownKey() {
  const seed = deriveKey(key(1), "principal-token").reveal();
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
}
