import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import type { ApiKeyAuthenticator } from "../contexts/identity/authenticator.ts";
import type { Clock } from "../kernel/clock.ts";
import { InvalidInput, Unauthenticated } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import { parse } from "../kernel/parse.ts";
import { type Principal, principalSchema, toPrincipal } from "../kernel/principal.ts";
import type { PrincipalTokens, PublicKeys, TokenRequest } from "../kernel/principal-token.ts";
import { canonicalJson, type JsonObject, tryParse } from "../kernel/schema.ts";
import { Secret } from "../kernel/secret.ts";
import type { ArmatureOptions } from "./armature.ts";
import { deriveKey } from "./key-derivation.ts";

const ALGORITHM = "EdDSA";
/** Says what the token is (RFC 8725, 3.11): another one that the same key may sign one day does not pass for it. */
const TYPE = "armature-principal+jwt";
const LIFETIME_MS = 300_000;
/** How far the clocks of two machines may be apart, in seconds. */
const SKEW_S = 5;
/** What a proxy or server takes as a header for certain. */
const LONGEST = 8_000;
/** No API key looks like it. */
const TOKEN = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;
/** PKCS #8 of an Ed25519 key (RFC 8410), up to its 32 bytes. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

const issuerUrl = z.url({ protocol: /^https?$/ }).refine((url) => !url.endsWith("/"), "must not end with a slash");
const claims = z.object({
  jti: z.string().min(1).max(200),
  principal: z.strictObject(principalSchema.omit({ credential: true }).shape),
});

interface SigningKey {
  readonly id: string;
  readonly secret: KeyObject;
  readonly public: KeyObject;
  readonly jwk: JsonObject;
}

/**
 * Tokens signed with Ed25519, as JSON Web Tokens.
 *
 * @param options.keys 32 bytes in base64 each: the first signs, all of them are believed. To change the key, add the new
 *   one at the end in every process, then move it to the front, and take the old one away once its tokens have expired
 * @throws {InvalidInput} the issuer is no URL, or a key is not 32 bytes in base64
 */
export function principalTokens(options: {
  readonly issuer: string;
  readonly keys: readonly Secret<string>[];
  readonly clock: Clock;
  readonly ids: Ids;
}): PrincipalTokens {
  const { clock, ids } = options;
  const issuer = parse(issuerUrl, options.issuer, "The API's URL");
  const keys = options.keys.map(signingKey);
  const byId = new Map(keys.map((key) => [key.id, key]));
  const published: PublicKeys = Object.freeze({ keys: Object.freeze(keys.map(({ jwk }) => jwk)) });
  return {
    issuer,
    lifetimeMs: LIFETIME_MS,
    publicKeys: () => published,
    async issue({ principal, audience, subject }: TokenRequest) {
      const { SignJWT } = await import("jose");
      const { credential: _, ...who } = principal;
      const now = Math.floor(clock.now() / 1000);
      const [{ id, secret }] = keys as [SigningKey];
      const unsigned = new SignJWT({ principal: who, ...(subject === undefined ? {} : { sub: subject }) })
        .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: id })
        .setIssuer(issuer)
        .setAudience([...audience])
        .setIssuedAt(now)
        .setExpirationTime(now + LIFETIME_MS / 1000)
        .setJti(ids.next("tok"));
      const token = await unsigned.sign(secret);
      if (token.length > LONGEST)
        throw new InvalidInput({
          subject: "The principal",
          issues: [{ path: "limitedTo", message: "has more than a token can hold" }],
        });
      return new Secret(token);
    },
    async verify(token) {
      if (token.length > LONGEST) return undefined;
      const { errors, jwtVerify } = await import("jose");
      try {
        const { payload } = await jwtVerify(
          token,
          ({ kid }) => {
            const key = byId.get(kid ?? "");
            if (key === undefined) throw new errors.JWKSNoMatchingKey();
            return key.public;
          },
          {
            algorithms: [ALGORITHM],
            typ: TYPE,
            issuer,
            audience: issuer,
            requiredClaims: ["exp", "iat", "jti"],
            // Whatever it says of when it expires.
            maxTokenAge: LIFETIME_MS / 1000,
            clockTolerance: SKEW_S,
            currentDate: new Date(clock.now()),
          },
        );
        const parsed = tryParse(claims, payload);
        return parsed.ok
          ? toPrincipal({ ...parsed.value.principal, credential: parsed.value.jti } as Principal)
          : undefined;
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined;
        throw error;
      }
    },
  };
}

function signingKey(seed: Secret<string>): SigningKey {
  const bytes = deriveKey(seed, "principal-token").reveal();
  const secret = createPrivateKey({ key: Buffer.concat([PKCS8, bytes]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(secret);
  const { x } = publicKey.export({ format: "jwk" }) as { readonly x: string };
  const own = { crv: "Ed25519", kty: "OKP", x };
  // Its thumbprint (RFC 7638).
  const id = createHash("sha256").update(canonicalJson(own)).digest("base64url");
  return { id, secret, public: publicKey, jwk: Object.freeze({ ...own, alg: ALGORITHM, use: "sig", kid: id }) };
}

/**
 * The principal of an API key or of a token, whichever it is.
 *
 * @throws {Unauthenticated} it is not good
 */
export async function authenticated(
  {
    authenticator,
    tokens,
  }: { readonly authenticator: ApiKeyAuthenticator; readonly tokens: PrincipalTokens | undefined },
  credential: string,
): Promise<Principal> {
  if (!TOKEN.test(credential)) return authenticator.authenticate(credential);
  const principal = await tokens?.verify(credential);
  // Nobody outside speaks as Armature itself.
  if (principal === undefined || principal.actor.type === "system") throw new Unauthenticated({});
  return principal;
}

/** The tokens of an app that is reached at `apiUrl`. */
export function tokensOf(
  { apiUrl: issuer, tokenKeys }: Pick<ArmatureOptions, "apiUrl" | "tokenKeys">,
  key: Secret<string>,
  clock: Clock,
  ids: Ids,
): PrincipalTokens | undefined {
  if (issuer === undefined) return undefined;
  const keys = (tokenKeys ?? [key]).map((each) => (each instanceof Secret ? each : new Secret(each)));
  return principalTokens({ issuer, keys, clock, ids });
}
