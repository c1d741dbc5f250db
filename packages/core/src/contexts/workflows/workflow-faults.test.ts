import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { NotFound } from "../../kernel/errors.ts";
import { sensitive } from "../../kernel/sensitive.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { defineWorkflow, type Workflow } from "./workflow-definition.ts";

const open: Armature[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(definitions: readonly Workflow[], authorizer = (_: unknown, __: string): boolean => true) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  const app = await createArmature({
    ...{ store, clock, authorizer, logger: recordingLogger(), workflows: definitions },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" }).workflows;
  const events = async (tenant = "acme") =>
    (await store.events(tenant, { contexts: ["workflows"], limit: 100 })).items.map(({ type }) => type);
  return { app, acme, clock, store, events };
}

const noInput = z.strictObject({});

test("a parent that waits for several children at once gets over being let go", async () => {
  const child = defineWorkflow({
    name: "child",
    version: 1,
    input: z.strictObject({ number: z.int() }),
    output: z.int(),
    run: async (ctx, { number }) => {
      await ctx.sleep({ ms: 60_000 * number });
      return number;
    },
  });
  const parent = defineWorkflow({
    name: "parent",
    version: 1,
    input: noInput,
    output: z.array(z.int()),
    run: (ctx) => Promise.all([ctx.child(child, { number: 1 }), ctx.child(child, { number: 2 })]),
  });
  const { app, acme, clock } = await started([child, parent]);
  const { executionId } = await acme.start({ workflow: "parent", input: {} });
  await app.settled();
  for (let i = 0; i < 4; i += 1) {
    await clock.advance(60_000);
    await app.settled();
  }
  expect(await acme.get({ executionId })).toMatchObject({ status: "completed", result: [1, 2] });
});

test("an input that is transformed is transformed once", async () => {
  const when = defineWorkflow({
    name: "when",
    version: 1,
    input: z.strictObject({ days: z.string().transform(Number) }),
    output: z.number(),
    run: async (_, { days }) => days,
  });
  const { app, acme } = await started([when]);
  const { executionId } = await acme.start({ workflow: "when", input: { days: "3" } });
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({ status: "completed", result: 3 });
});

test("a signal with the name of something that every object has is not found", async () => {
  const waits = defineWorkflow({
    name: "waits",
    version: 1,
    input: noInput,
    run: async (ctx) => {
      await ctx.sleep({ ms: 1_000 });
    },
  });
  const { app, acme } = await started([waits]);
  const { executionId } = await acme.start({ workflow: "waits", input: {} });
  await app.settled();
  await expect(acme.signal({ executionId, signal: "constructor", payload: null })).rejects.toBeInstanceOf(NotFound);
});

test("what has been forgotten by the engine is not running after a retry", async () => {
  const fails = defineWorkflow({
    name: "fails",
    version: 1,
    input: noInput,
    run: async () => {
      throw new NotFound({ type: "thing", id: "one" });
    },
  });
  const { app, acme, store, clock } = await started([fails]);
  const { executionId } = await acme.start({ workflow: "fails", input: {} });
  await app.settled();
  await store.executions.prune("workflows", { now: clock.now() + 1_000, olderThanMs: 0, limit: 10 });
  await acme.retry({ executionId }).catch(() => undefined);
  await app.settled();
  expect((await acme.get({ executionId })).status).toBe("failed");
});

test("a workflow that sleeps for longer than there are dates can be looked at", async () => {
  const long = defineWorkflow({
    name: "long",
    version: 1,
    input: noInput,
    run: async (ctx) => {
      await ctx.sleep({ ms: 1e16 });
    },
  });
  const { app, acme } = await started([long]);
  const { executionId } = await acme.start({ workflow: "long", input: {} });
  await app.settled();
  expect(["running", "failed"]).toContain((await acme.get({ executionId })).status);
});

test("a workflow may sleep until a moment that is no date only by failing", async () => {
  const odd = defineWorkflow({
    name: "odd",
    version: 1,
    input: noInput,
    run: async (ctx) => {
      await ctx.sleep({ until: "never" as never });
    },
  });
  const { app, acme } = await started([odd]);
  const { executionId } = await acme.start({ workflow: "odd", input: {} });
  await app.settled();
  expect((await acme.get({ executionId })).status).toBe("failed");
});

test("what a workflow calls sensitive stands in no audit trail, event or log", async () => {
  const secret = defineWorkflow({
    name: "secret",
    version: 1,
    input: z.strictObject({ password: sensitive(z.string()) }),
    output: z.strictObject({ token: sensitive(z.string()) }),
    signals: { code: z.strictObject({ code: sensitive(z.string()) }) },
    run: async (ctx, { password }) => {
      const told = await ctx.waitForSignal("code");
      return { token: `${password} ${told?.code}` };
    },
  });
  const { app, store } = await started([secret]);
  const { workflows: own, audit } = app.as({ tenant: "acme", user: "ann" });
  const { executionId } = await own.start({ workflow: "secret", input: { password: "HUNTER2" } });
  await app.settled();
  await own.signal({ executionId, signal: "code", payload: { code: "HUNTER3" } });
  await app.settled();
  expect(await own.get({ executionId })).toMatchObject({ status: "completed" });
  const { items } = await audit.list({ limit: 100 });
  expect(JSON.stringify((await store.events("acme", { contexts: ["workflows"], limit: 100 })).items)).not.toContain(
    "HUNTER",
  );
  expect(items.map(({ operation }) => operation)).toContain("workflows.start");
  expect(items.filter((item) => JSON.stringify(item).includes("HUNTER")).map(({ operation }) => operation)).toEqual([]);
});
