import { inspect } from "node:util";
import { Secret } from "@armature/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeTrouble, type FakeVault, startFakeVault } from "./fake-vault.ts";
import { type VaultAuth, vault } from "./vault.ts";

const CANARY = "canary-5b1f";
const NAME = `tenant/name-${CANARY.replace("canary", "parrot")}`;

let fake: FakeVault;
beforeAll(async () => {
  fake = await startFakeVault({ like: "vault" });
});
afterAll(() => fake.close());

/** Everything that printing, logging or serialising could show, causes included. */
function everythingIn(value: unknown): string {
  const texts = [inspect(value, { depth: 20, showHidden: true, getters: true }), JSON.stringify(value), String(value)];
  for (let at = value, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth += 1)
    texts.push(at.message, String(at.stack), inspect(at, { depth: 20, showHidden: true }));
  return texts.join("\n");
}

/** An answer that repeats what it was asked, as careless servers do. */
const echo = (status: number): FakeTrouble => ({
  status,
  body: JSON.stringify({ errors: [`refused ${CANARY} at secret/data/${NAME}`], warnings: [CANARY] }),
});

const troubles: readonly FakeTrouble[] = [
  "cut before",
  "cut after",
  { status: 200, body: `not JSON ${CANARY}` },
  { status: 200, body: `{"data":"${CANARY}"}` },
  { status: 200, body: `{"data":{"data":{"value":7,"other":"${CANARY}"},"metadata":{"version":1}}}` },
  { status: 307, body: CANARY, location: `http://127.0.0.1:1/${CANARY}` },
  ...[400, 403, 404, 413, 429, 500].map(echo),
];
const calls = ["get", "put", "put expecting", "delete", "list", "ping"] as const;
const auths = ["token", "bad token", "role", "bad role"] as const;

function authOf(kind: (typeof auths)[number]): VaultAuth {
  const role = fake.tokens.role({ policies: ["root"], ttlMs: 3_600_000 });
  if (kind === "token") return { token: fake.tokens.create({ policies: ["root"] }) };
  if (kind === "bad token") return { token: `hvs.${CANARY}` };
  return kind === "role" ? role : { roleId: role.roleId, secretId: new Secret(`${CANARY}-secret-id`) };
}

const seen = new Set<string>();

/** Makes a call, and looks at everything that its error could show. */
async function look(call: (typeof calls)[number], auth: VaultAuth): Promise<void> {
  const store = vault({ address: fake.address, auth, clock: hurried });
  const value = new Secret(`${CANARY}-value`);
  try {
    if (call === "get") await store.get("acme", NAME);
    if (call === "put") await store.put("acme", NAME, value);
    if (call === "put expecting") await store.put("acme", NAME, value, 3);
    if (call === "delete") await store.delete("acme", NAME);
    if (call === "list") await store.list("acme", "");
    if (call === "ping") await store.ping();
  } catch (error) {
    const shown = everythingIn(error);
    const { code } = error as { code: string };
    seen.add(code);
    expect(code).toMatch(/^(vault|secret)\.[a-z_]+$/);
    expect(shown).not.toContain("canary");
    for (const { token } of fake.requests) if (token !== "") expect(shown).not.toContain(token);
    if ("secretId" in auth && typeof auth.secretId === "string") expect(shown).not.toContain(auth.secretId);
    // The port's own errors name the secret, as its caller did; ours do not.
    if (code.startsWith("vault.")) expect(shown).not.toContain("parrot");
    expect(shown).not.toContain("secret/data");
    expect((error as Error).cause).toBeUndefined();
  }
  expect(everythingIn(store)).not.toContain("canary");
  for (const { token } of fake.requests) if (token !== "") expect(everythingIn(store)).not.toContain(token);
}

describe("no error tells a token, a secret id, a value or where it is kept", () => {
  it.each(calls)("whatever goes wrong, with whichever request, when a caller calls %s", async (call) => {
    for (const kind of auths)
      for (const trouble of troubles)
        for (const from of [1, 2, 3])
          for (const until of [from, Number.POSITIVE_INFINITY]) {
            fake.requests.length = 0;
            fake.forgetTroubles();
            for (let count = 0; count < 20; count += 1)
              fake.trouble(trouble, () => fake.requests.length >= from && fake.requests.length <= until);
            await look(call, authOf(kind));
          }
  });

  it("and that was looked at on every sort of error that needs no waiting", () => {
    expect([...seen].sort()).toEqual([
      "secret.unreadable",
      "secret.version_conflict",
      "vault.answered_garbage",
      "vault.login_refused",
      "vault.mount_unusable",
      "vault.refused",
      "vault.unavailable",
    ]);
  });

  it("not even an HTTP client's that a host has brought along and that quotes the request", async () => {
    const quoting = {
      send: async (request: object) => Promise.reject(new Error(`failed: ${JSON.stringify(request)}`)),
    };
    const store = vault({ address: fake.address, auth: { token: `hvs.${CANARY}` }, http: quoting, clock: hurried });
    const error: unknown = await store.put("acme", NAME, new Secret(CANARY)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "vault.unavailable" });
    expect(everythingIn(error)).not.toContain("canary");
  });

  it("nor an option that is not valid", () => {
    const address = "https://vault.example";
    const wrong: readonly object[] = [
      { address, auth: { token: `${CANARY}\n` } },
      { address, auth: { token: new Secret(`${CANARY} x`) } },
      { address, auth: { token: new Secret({ canary: CANARY }) } },
      { address, auth: { roleId: "role", secretId: `${CANARY}\n` } },
      { address, auth: { roleId: "role", secretID: CANARY } },
      { address, auth: { token: CANARY, roleId: "role" } },
      { address, auth: CANARY },
      { address: `https://ann:${CANARY}@vault.example`, auth: { token: "t" } },
      { address: `https://vault.example?token=${CANARY}`, auth: { token: "t" } },
      { address: `ftp://${CANARY}`, auth: { token: "t" } },
      { address, auth: { token: "t" }, mount: `../${CANARY}` },
      { address, auth: { token: "t" }, prefix: `${CANARY}/` },
      { address, auth: { token: "t" }, namespace: `${CANARY}\r\nx: y` },
      { address, auth: { token: "t" }, timeoutMs: CANARY },
    ];
    for (const options of wrong) {
      let error: unknown;
      try {
        vault(options as never);
      } catch (thrown) {
        error = thrown;
      }
      expect(error, everythingIn(options)).toMatchObject({ code: "invalid_input" });
      expect(everythingIn(error)).not.toContain("canary");
    }
  });
});

/** A clock whose pauses take no time; its deadlines are left to real time. */
const hurried = {
  now: () => Date.now(),
  sleep: (ms: number, signal?: AbortSignal) =>
    ms < 1_000
      ? Promise.resolve()
      : new Promise<void>((_, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        }),
};
