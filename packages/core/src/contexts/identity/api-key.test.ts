import { describe, expect, test } from "vitest";
import { restoreAggregate, storedState } from "../../kernel/aggregate.ts";
import { given } from "../../testing/given.ts";
import { ApiKey } from "./api-key.ts";
import { makeApiKey, parseApiKey } from "./api-key-text.ts";
import { ApiKeyAlreadyRevoked, ApiKeyCreated, ApiKeyRevoked, ExpiryInThePast } from "./contract.ts";

const at = "2026-01-01T00:00:00.000Z";
const later = "2026-02-01T00:00:00.000Z";
const keyId = "key_00000000000000000000000001";
const account = { type: "user", id: "ann" } as const;
const { key, proof } = makeApiKey("acme", keyId, new Uint8Array(32).fill(7));
const { secretHash } = parseApiKey(key)!;
const created = [ApiKeyCreated, { keyId, account, name: "laptop", expiresAt: later, at }, proof] as const;
const revoked = [ApiKeyRevoked, { keyId, account, at }] as const;

describe("an API key", () => {
  test("is kept as a hash and four characters, of which no event has any", () => {
    const made = given(ApiKey)
      .when(() => ApiKey.create(keyId, { account, name: "laptop", expiresAt: later }, proof, at))
      .then([[ApiKeyCreated, { keyId, account, name: "laptop", expiresAt: later, at }]]);
    expect(made.state.lastFour).toBe(key.slice(-4));
    expect(JSON.stringify(storedState(made).state)).not.toContain(key.split("_").at(-1));
  });

  test("opens with its own secret, before it expires", () => {
    const apiKey = given(ApiKey, keyId, [created])
      .when(() => undefined)
      .then([]);
    const stranger = parseApiKey(makeApiKey("acme", keyId, new Uint8Array(32).fill(8)).key)!;
    expect(apiKey.accepts(secretHash, at)).toBe(true);
    expect(apiKey.accepts(stranger.secretHash, at)).toBe(false);
    expect(apiKey.accepts(secretHash, "2026-01-31T23:59:59.999Z")).toBe(true);
    expect(apiKey.accepts(secretHash, later)).toBe(false);
  });

  test("opens nothing once revoked, and cannot be revoked again", () => {
    const apiKey = given(ApiKey, keyId, [created])
      .when((it) => it.revoke(at))
      .then([revoked]);
    expect(apiKey.accepts(secretHash, at)).toBe(false);
    given(ApiKey, keyId, [created, revoked])
      .when((it) => it.revoke(at))
      .thenThrows(ApiKeyAlreadyRevoked, { keyId });
  });

  test("cannot be made to have expired already", () => {
    given(ApiKey)
      .when(() => ApiKey.create(keyId, { account, name: "laptop", expiresAt: at }, proof, at))
      .thenThrows(ExpiryInThePast);
  });

  test("comes back from a store as it went", () => {
    const made = ApiKey.create(keyId, { account, name: "laptop", limitedTo: ["audit:read"] }, proof, at);
    const { state, stateVersion } = storedState(made);
    const stored = { type: "api_key", id: keyId, version: 1, stateVersion, state: JSON.parse(JSON.stringify(state)) };
    expect(restoreAggregate(new ApiKey(keyId), stored).state).toEqual(made.state);
  });
});

describe("the text of an API key", () => {
  test("names its tenant and itself, and gives its secret away only as a hash", () => {
    expect(key).toMatch(/^arm_acme_00000000000000000000000001_[0-9a-f]{64}$/);
    const parsed = parseApiKey(key);
    expect(parsed).toEqual({ tenant: "acme", keyId, secretHash: proof.secretHash });
    expect(JSON.stringify(parsed)).not.toContain(key.split("_")[3]);
  });

  test.each([
    "",
    "arm",
    "arm_acme_1_",
    `${key}0`,
    ` ${key}`,
    `${key}\n`,
    key.toUpperCase(),
    key.replace("arm_", "ghp_"),
    key.replace("acme", "ac_me"),
    key.replace("acme", "Acme"),
    key.replace("acme", "-acme"),
  ])("%j is no API key", (text) => {
    expect(parseApiKey(text)).toBeUndefined();
  });
});
