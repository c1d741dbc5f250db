import { describe, expect, test } from "vitest";
import { Unauthenticated } from "../../kernel/errors.ts";
import { toPrincipal } from "../../kernel/principal.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { makeApiKey } from "./api-key-text.ts";
import { createApiKeyAuthenticator } from "./authenticator.ts";

const { key, proof } = makeApiKey("acme", "key_1", new Uint8Array(32).fill(1));
const stranger = makeApiKey("acme", "key_2", new Uint8Array(32).fill(2)).key;

function fixture() {
  const clock = fixedClock();
  const asked: string[] = [];
  const good = new Set([proof.secretHash]);
  const authenticator = createApiKeyAuthenticator({
    clock,
    call: async (tenant, keyId, secretHash) => {
      asked.push(keyId);
      if (!good.has(secretHash)) throw new Unauthenticated({});
      return { tenant, actor: { type: "user", id: "ann" } };
    },
  });
  return { authenticator, clock, asked, good };
}

describe("the API key authenticator", () => {
  test("gives the principal of a key that works, and asks once for many requests", async () => {
    const { authenticator, asked } = fixture();
    const principals = await Promise.all(Array.from({ length: 20 }, () => authenticator.authenticate(key)));
    expect(new Set(principals)).toEqual(new Set([toPrincipal({ tenant: "acme", user: "ann" })]));
    expect(Object.isFrozen(await authenticator.authenticate(key))).toBe(true);
    expect(asked).toEqual(["key_1"]);
  });

  test("does not remember that a key failed", async () => {
    const { authenticator, asked } = fixture();
    await expect(authenticator.authenticate(stranger)).rejects.toThrow(Unauthenticated);
    await expect(authenticator.authenticate(stranger)).rejects.toThrow(Unauthenticated);
    expect(asked).toEqual(["key_2", "key_2"]);
  });

  test("refuses what is no key without asking anybody", async () => {
    const { authenticator, asked } = fixture();
    await expect(authenticator.authenticate("hunter2")).rejects.toThrow(Unauthenticated);
    expect(asked).toEqual([]);
  });

  test("a revoked key stops working at once in this process, after two seconds in others", async () => {
    const { authenticator, clock, good } = fixture();
    await authenticator.authenticate(key);
    good.clear();
    await clock.advance(1_999);
    await authenticator.authenticate(key);
    await clock.advance(1);
    await expect(authenticator.authenticate(key)).rejects.toThrow(Unauthenticated);

    good.add(proof.secretHash);
    await authenticator.authenticate(key);
    good.clear();
    authenticator.invalidate("acme");
    await expect(authenticator.authenticate(key)).rejects.toThrow(Unauthenticated);
  });
});
