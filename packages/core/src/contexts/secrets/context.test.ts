import { afterEach, describe, expect, test } from "vitest";
import { inMemory } from "../../in-memory/index.ts";
import type { ActionContext } from "../../kernel/context.ts";
import { Forbidden, InvalidInput, NotFound } from "../../kernel/errors.ts";
import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import type { SecretStore } from "../../kernel/ports.ts";
import { Secret } from "../../kernel/secret.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { secretsContext } from "./context.ts";
import { SecretRevealDisabled, type Secrets } from "./contract.ts";

const CANARY = "canary-7f3a-not-to-be-seen";
const logger = recordingLogger();
let app: Armature;

async function start(allowSecretReveal = false) {
  app = await createArmature({ store: inMemory(), logger, relay: false, allowSecretReveal, authorizer: () => true });
  return app.as({ tenant: "acme", user: "ann" });
}

afterEach(() => app.close());

describe("a tenant's own secrets", () => {
  test("are written in versions, listed by name and destroyed", async () => {
    const { secrets } = await start();
    expect(await secrets.put({ name: "smtp", value: "one" })).toEqual({ version: 1 });
    expect(await secrets.put({ name: "smtp", value: "two", expectedVersion: 1 })).toEqual({ version: 2 });
    await secrets.put({ name: "api.key", value: "three" });
    expect(await secrets.list()).toEqual({ items: [{ name: "api.key" }, { name: "smtp" }] });
    await secrets.delete({ name: "smtp" });
    expect((await secrets.list()).items).toEqual([{ name: "api.key" }]);
    await expect(secrets.delete({ name: "smtp" })).rejects.toThrow(NotFound);
  });

  test("are not overwritten by who did not see the newest version", async () => {
    const { secrets } = await start();
    await secrets.put({ name: "smtp", value: "one", expectedVersion: 0 });
    const late = secrets.put({ name: "smtp", value: "two", expectedVersion: 0 });
    await expect(late).rejects.toMatchObject({ details: { name: "smtp", expected: 0 } });
    await expect(late).rejects.toThrow(SecretVersionConflict);
  });

  test("are listed page by page", async () => {
    const { secrets } = await start();
    for (const name of ["c", "a", "b"]) await secrets.put({ name, value: "x" });
    const first = await secrets.list({ limit: 2 });
    expect(first).toEqual({ items: [{ name: "a" }, { name: "b" }], next: "b" });
    expect(await secrets.list({ limit: 2, after: first.next })).toEqual({ items: [{ name: "c" }] });
  });

  test("are shown to nobody unless the host allows it", async () => {
    const { secrets } = await start();
    await secrets.put({ name: "smtp", value: CANARY });
    await expect(secrets.reveal({ name: "smtp" })).rejects.toThrow(SecretRevealDisabled);
  });

  test("are shown where the host allows it, and the showing is in the audit", async () => {
    const { secrets, audit } = await start(true);
    await secrets.put({ name: "smtp", value: "one" });
    await secrets.put({ name: "smtp", value: CANARY });
    expect(await secrets.reveal({ name: "smtp" })).toEqual({ name: "smtp", version: 2, value: CANARY });
    expect(await secrets.reveal({ name: "smtp", version: 1 })).toMatchObject({ version: 1, value: "one" });
    await expect(secrets.reveal({ name: "imap" })).rejects.toThrow(NotFound);
    const { items } = await audit.list({ operation: "secrets.reveal" });
    expect(items.map(({ outcome, target }) => [outcome, target])).toEqual([
      ["refused", "imap"],
      ["succeeded", "smtp"],
      ["succeeded", "smtp"],
    ]);
  });

  test("stand in no audit row, no log and no repeated answer", async () => {
    const { secrets, audit } = await start(true);
    await secrets.put({ name: "smtp", value: CANARY });
    await secrets.reveal({ name: "smtp" }, { idempotencyKey: "show-1" });
    await expect(secrets.reveal({ name: "smtp" }, { idempotencyKey: "show-1" })).rejects.toMatchObject({
      code: "idempotency.result_not_kept",
    });
    const seen = JSON.stringify(await audit.list()) + logger.text();
    expect(seen).toContain("secrets.put");
    expect(seen).not.toContain(CANARY);
  });

  test.each(["../connectors/con_1", "connectors/con_1", "a/b", "", ".hidden", "a b", "a\u0000", "x".repeat(129)])(
    "%j is no name, so no credential of a connection can be reached",
    async (name) => {
      const { secrets } = await start(true);
      await expect(secrets.put({ name, value: "x" })).rejects.toThrow(InvalidInput);
      await expect(secrets.reveal({ name })).rejects.toThrow(InvalidInput);
      await expect(secrets.delete({ name })).rejects.toThrow(InvalidInput);
    },
  );

  test("belong to one tenant", async () => {
    const acme = await start(true);
    await acme.secrets.put({ name: "smtp", value: CANARY });
    const globex = app.as({ tenant: "globex", user: "gus" });
    await expect(globex.secrets.reveal({ name: "smtp" })).rejects.toThrow(NotFound);
    await expect(globex.secrets.delete({ name: "smtp" })).rejects.toThrow(NotFound);
    expect((await globex.secrets.list()).items).toEqual([]);
    expect(await acme.secrets.reveal({ name: "smtp" })).toMatchObject({ value: CANARY });
  });

  test("are the business of who holds the permission", async () => {
    app = await createArmature({
      store: inMemory(),
      relay: false,
      authorizer: (_principal, permission) => permission === "secrets:read",
    });
    const { secrets } = app.as({ tenant: "acme", user: "ann" });
    await secrets.list();
    await expect(secrets.put({ name: "smtp", value: "x" })).rejects.toThrow(Forbidden);
    await expect(secrets.reveal({ name: "smtp" })).rejects.toThrow(Forbidden);
    await expect(secrets.delete({ name: "smtp" })).rejects.toThrow(Forbidden);
  });
});

describe("an attempt that was cut off and runs again", () => {
  /** A context as the second attempt sees it, over a store of one name. */
  function secondAttempt(held?: { version: number; value: string }) {
    const writes: string[] = [];
    const store = {
      get: async () => held && { version: held.version, value: new Secret(held.value) },
      put: async (_tenant, _name, value) => {
        writes.push(value.reveal());
        return (held?.version ?? 0) + 1;
      },
      list: async () => (held === undefined ? [] : ["tenant/smtp"]),
      delete: async () => void writes.push("deleted"),
    } satisfies Partial<SecretStore>;
    const ctx = { tenant: "acme", attempt: 2, secrets: store } as unknown as ActionContext<Secrets, never>;
    return { writes, ctx, handlers: secretsContext().handlers };
  }

  test("finds its own write and does not write again", async () => {
    const { handlers, ctx, writes } = secondAttempt({ version: 3, value: "new" });
    expect(await handlers["put"]!({ name: "smtp", value: "new", expectedVersion: 2 }, ctx)).toEqual({ version: 3 });
    expect(writes).toEqual([]);
  });

  test("writes when the first attempt had not, although the value is the same as before", async () => {
    const { handlers, ctx, writes } = secondAttempt({ version: 2, value: "new" });
    expect(await handlers["put"]!({ name: "smtp", value: "new", expectedVersion: 2 }, ctx)).toEqual({ version: 3 });
    expect(writes).toEqual(["new"]);
  });

  test("takes what is gone already for deleted", async () => {
    const { handlers, ctx, writes } = secondAttempt();
    await handlers["delete"]!({ name: "smtp" }, ctx);
    expect(writes).toEqual([]);
  });
});
