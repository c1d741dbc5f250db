import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { Forbidden, InvalidInput, NotFound } from "../../kernel/errors.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { WorkflowAlreadyStarted, WorkflowNotFailed, WorkflowNotRunning, workflows } from "./contract.ts";
import { activity, defineWorkflow, operationActivity, type Workflow } from "./workflow-definition.ts";

const open: Armature[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  definitions: readonly Workflow[],
  authorizer = (_: unknown, __: string): boolean => true,
  clock = fixedClock("2026-01-01T00:00:00.000Z"),
  store = inMemory({ clock }),
) {
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

/** Ships what was paid for, in time. */
function ordering(log: string[]) {
  return defineWorkflow({
    name: "ordering",
    version: 1,
    summary: "Takes an order.",
    input: z.strictObject({ item: z.string(), count: z.int().default(1) }),
    output: z.strictObject({ shipped: z.string(), paidBy: z.string() }),
    signals: { paid: z.strictObject({ by: z.string() }) },
    activities: {
      reserve: activity({
        input: z.strictObject({ item: z.string() }),
        output: z.strictObject({ reservation: z.string() }),
        run: ({ item }, ctx) => {
          log.push(`reserve ${item} for ${ctx.tenant}`);
          return { reservation: `r-${item}` };
        },
      }),
      release: activity({
        input: z.strictObject({ reservation: z.string() }),
        run: ({ reservation }) => void log.push(`release ${reservation}`),
      }),
      ship: activity({
        input: z.strictObject({ item: z.string() }),
        output: z.string(),
        run: ({ item }) => {
          log.push(`ship ${item}`);
          return `parcel-${item}`;
        },
      }),
    },
    run: async (ctx, { item }) => {
      await ctx.activity(
        "reserve",
        { item },
        { compensate: ({ reservation }) => ({ activity: "release", args: { reservation } }) },
      );
      const paid = await ctx.waitForSignal("paid", { timeoutMs: 60_000 });
      if (paid === undefined) throw new NotFound({ type: "payment", id: item });
      return { shipped: await ctx.activity("ship", { item }), paidBy: paid.by };
    },
  });
}

test("a workflow waits for a signal and completes; its history and events tell of it", async () => {
  const log: string[] = [];
  const { app, acme, events } = await started([ordering(log)]);
  expect(await acme.definitions({})).toEqual([
    { workflow: "ordering", versions: [1], summary: "Takes an order.", signals: ["paid"] },
  ]);
  const { executionId } = await acme.start({ workflow: "ordering", input: { item: "lamp" } });
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({
    status: "running",
    startedBy: { type: "user", id: "ann" },
    dueAt: "2026-01-01T00:01:00.000Z",
  });
  await acme.signal({ executionId, signal: "paid", payload: { by: "card" } });
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({
    status: "completed",
    result: { shipped: "parcel-lamp", paidBy: "card" },
  });
  expect((await acme.history({ executionId })).items.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
    "activity reserve",
    "signal paid",
    "activity ship",
  ]);
  expect(await events()).toEqual(["workflow.started", "workflow.completed"]);
  expect(log).toEqual(["reserve lamp for acme", "ship lamp"]);
});

test("what did not come in time fails it, and it is undone", async () => {
  const log: string[] = [];
  const { app, acme, clock } = await started([ordering(log)]);
  const { executionId } = await acme.start({ workflow: "ordering", input: { item: "lamp" } });
  await app.settled();
  await clock.advance(60_000);
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({ status: "failed", error: { code: "not_found" } });
  expect(log).toEqual(["reserve lamp for acme", "release r-lamp"]);
  await expect(acme.retry({ executionId })).rejects.toThrow(WorkflowNotFailed);
  await expect(acme.signal({ executionId, signal: "paid", payload: { by: "x" } })).rejects.toThrow(WorkflowNotRunning);
});

test("started twice with an id and the same input it is started once; with another input it is refused", async () => {
  const log: string[] = [];
  const { app, acme, events } = await started([ordering(log)]);
  const order = { workflow: "ordering", executionId: "order-7", input: { item: "lamp" } } as const;
  await Promise.all([acme.start(order), acme.start(order), acme.start(order)]);
  await app.settled();
  expect(await events()).toEqual(["workflow.started"]);
  expect(log).toEqual(["reserve lamp for acme"]);
  await expect(acme.start({ ...order, input: { item: "desk" } })).rejects.toThrow(WorkflowAlreadyStarted);
  // Another tenant's is another one.
  await app.as({ tenant: "other", user: "bob" }).workflows.start(order);
  await app.settled();
  expect(log).toEqual(["reserve lamp for acme", "reserve lamp for other"]);
});

test("what cannot be is refused before anything happens", async () => {
  const { acme, events } = await started([ordering([])]);
  await expect(acme.start({ workflow: "unknown", input: {} })).rejects.toThrow(NotFound);
  await expect(acme.start({ workflow: "ordering", version: 2, input: {} })).rejects.toThrow('"ordering@2"');
  await expect(acme.start({ workflow: "ordering", input: { item: 7 } })).rejects.toThrow(InvalidInput);
  const { executionId } = await acme.start({ workflow: "ordering", input: { item: "lamp" } });
  await expect(acme.signal({ executionId, signal: "paid", payload: { from: 1 } })).rejects.toThrow(InvalidInput);
  await expect(acme.signal({ executionId, signal: "$cancel" })).rejects.toThrow(NotFound);
  expect(await events()).toEqual(["workflow.started"]);
});

test("a canceled workflow undoes what it did, and cancels its children", async () => {
  const log: string[] = [];
  const order = ordering(log);
  const outer = defineWorkflow({
    name: "outer",
    version: 1,
    input: noInput,
    output: z.string(),
    run: async (ctx) => (await ctx.child(order, { item: "lamp" }, { id: "inner" })).shipped,
  });
  const { app, acme } = await started([order, outer]);
  const { executionId } = await acme.start({ workflow: "outer", input: {} });
  await app.settled();
  expect(await acme.get({ executionId: "inner" })).toMatchObject({ status: "running", parent: executionId });
  await acme.cancel({ executionId, reason: "changed our mind" });
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({
    status: "canceled",
    error: { message: "The execution was canceled: changed our mind" },
  });
  expect(await acme.get({ executionId: "inner" })).toMatchObject({ status: "canceled" });
  expect(log).toEqual(["reserve lamp for acme", "release r-lamp"]);
});

test("a parent gets its child's result, and learns of its failure", async () => {
  const child = defineWorkflow({
    name: "child",
    version: 1,
    input: z.strictObject({ number: z.number() }),
    output: z.number(),
    run: async (_, { number }) => {
      if (number < 0) throw new NotFound({ type: "root", id: String(number) });
      return Math.sqrt(number);
    },
  });
  const parent = defineWorkflow({
    name: "parent",
    version: 1,
    input: noInput,
    output: z.strictObject({ sum: z.number(), failed: z.string() }),
    run: async (ctx) => {
      const roots = await Promise.all([4, 9, 16].map((number) => ctx.child(child, { number })));
      const failed = await ctx
        .child(child, { number: -1 })
        .catch((error: { details: { code: string } }) => error.details.code);
      return { sum: roots.reduce((a, b) => a + b, 0), failed: String(failed) };
    },
  });
  const { app, acme } = await started([child, parent]);
  const { executionId } = await acme.start({ workflow: "parent", input: {} });
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({
    status: "completed",
    result: { sum: 9, failed: "not_found" },
  });
  const page = await acme.list({ workflow: "child", status: "completed" });
  expect(page.items).toHaveLength(3);
});

test("an operation as an activity is called as who started the workflow, with that one's permissions", async () => {
  const starter = defineWorkflow({
    name: "starter",
    version: 1,
    input: noInput,
    output: z.string(),
    activities: { start: operationActivity(workflows, "start") },
    run: async (ctx) =>
      (
        await ctx
          .activity("start", { workflow: "ordering", input: { item: "x" } })
          .catch((e: { code: string }) => ({ executionId: e.code }))
      ).executionId,
  });
  const mayStart = { value: true };
  const { app, acme } = await started(
    [starter, ordering([])],
    (_, permission) => permission !== "workflows:start" || mayStart.value,
  );
  const { executionId } = await acme.start({ workflow: "starter", input: {} });
  mayStart.value = false;
  await app.settled();
  expect(await acme.get({ executionId })).toMatchObject({ status: "completed", result: "forbidden" });
  await expect(acme.start({ workflow: "starter", input: {} })).rejects.toThrow(Forbidden);
});

test("a schedule starts it at its times as who has set it up, until it is called off or not allowed any more", async () => {
  const log: string[] = [];
  const tick = defineWorkflow({
    name: "tick",
    version: 1,
    input: z.strictObject({ what: z.string() }),
    activities: {
      note: activity({
        input: z.strictObject({ what: z.string() }),
        run: ({ what }, ctx) => void log.push(`${what} ${ctx.principal.actor.id}`),
      }),
    },
    run: (ctx, input) => ctx.activity("note", input),
  });
  const may = { value: true };
  const { app, acme, clock } = await started([tick], (_, permission) => permission !== "workflows:start" || may.value);
  await acme.schedule({
    key: "minutely",
    workflow: "tick",
    input: { what: "tick" },
    recurrence: { cron: "* * * * *", timeZone: "Europe/Berlin" },
  });
  await expect(
    acme.schedule({ key: "bad", workflow: "tick", input: {}, recurrence: { everyMs: 1_000 } }),
  ).rejects.toThrow(InvalidInput);
  for (let minute = 0; minute < 3; minute += 1) {
    await clock.advance(60_000);
    await app.settled();
  }
  expect(log).toEqual(["tick ann", "tick ann", "tick ann"]);
  await acme.unschedule({ key: "minutely" });
  await clock.advance(60_000);
  await app.settled();
  expect(log).toHaveLength(3);
});

describe("what needs a person", () => {
  const paying = (log: string[]) =>
    defineWorkflow({
      name: "paying",
      version: 1,
      input: z.strictObject({ amount: z.int() }),
      output: z.string(),
      activities: {
        pay: activity({
          input: z.strictObject({ amount: z.int() }),
          run: ({ amount }) => void log.push(`pay ${amount}`),
        }),
      },
      run: async (ctx, { amount }) => {
        const verdict = await ctx.approval({
          action: "bank.pay",
          arguments: { amount },
          input: z.strictObject({ amount: z.int() }),
          permission: "bank:pay",
          fourEyes: true,
          expiresInMs: 60_000,
        });
        if (verdict.status === "rejected") return `rejected: ${verdict.reason}`;
        if (verdict.status === "expired") return "expired";
        await ctx.activity("pay", verdict.arguments as { amount: number });
        return verdict.status;
      },
    });
  const asked = async (app: Armature, user = "bob") => {
    const { approvals } = app.as({ tenant: "acme", user });
    const [waiting] = (await approvals.list({ status: "pending" })).items;
    return { approvals, call: { approvalId: waiting!.approvalId, hash: waiting!.hash } };
  };

  test("is done once it is approved, by somebody else, with the arguments that were approved", async () => {
    const log: string[] = [];
    const { app, acme } = await started([paying(log)]);
    const first = await acme.start({ workflow: "paying", input: { amount: 5 } });
    await app.settled();
    const own = await asked(app, "ann");
    await expect(own.approvals.approve(own.call)).rejects.toThrow("cannot decide");
    const other = await asked(app);
    await Promise.all([other.approvals.approve(other.call), other.approvals.approve(other.call)]);
    await app.settled();
    expect(await acme.get(first)).toMatchObject({ status: "completed", result: "approved" });
    await acme.start({ workflow: "paying", input: { amount: 7 } });
    await app.settled();
    const next = await asked(app);
    await next.approvals.edit({ ...next.call, arguments: { amount: 6 } });
    await app.settled();
    expect(log).toEqual(["pay 5", "pay 6"]);
  });

  test("is not done when it is rejected, or nobody decides, or the workflow is canceled", async () => {
    const log: string[] = [];
    const { app, acme, clock } = await started([paying(log)]);
    const rejected = await acme.start({ workflow: "paying", input: { amount: 5 } });
    await app.settled();
    const { approvals, call } = await asked(app);
    await approvals.reject({ approvalId: call.approvalId, reason: "too much" });
    const expired = await acme.start({ workflow: "paying", input: { amount: 6 } });
    await app.settled();
    await clock.advance(60_000);
    await app.settled();
    const canceled = await acme.start({ workflow: "paying", input: { amount: 7 } });
    await app.settled();
    await acme.cancel({ ...canceled, reason: "no" });
    await app.settled();
    expect(await acme.get(rejected)).toMatchObject({ result: "rejected: too much" });
    expect(await acme.get(expired)).toMatchObject({ result: "expired" });
    expect(await acme.get(canceled)).toMatchObject({ status: "canceled" });
    expect((await approvals.list({})).items.map(({ status }) => status).sort()).toEqual([
      "expired",
      "expired",
      "rejected",
    ]);
    expect(log).toEqual([]);
  });
});

describe("versions", () => {
  test("an execution stays with the version that it was started with, and new ones get the newest", async () => {
    const of = (version: number) =>
      defineWorkflow({
        name: "greeting",
        version,
        input: noInput,
        output: z.string(),
        signals: { go: z.null() },
        run: async (ctx) => {
          await ctx.waitForSignal("go");
          return `version ${version}`;
        },
      });
    const { app, acme } = await started([of(1), of(3), of(2)]);
    const old = await acme.start({ workflow: "greeting", version: 1, input: {} });
    const young = await acme.start({ workflow: "greeting", input: {} });
    await app.settled();
    for (const { executionId } of [old, young]) await acme.signal({ executionId, signal: "go", payload: null });
    await app.settled();
    expect(await acme.get(old)).toMatchObject({ result: "version 1", workflowVersion: 1 });
    expect(await acme.get(young)).toMatchObject({ result: "version 3", workflowVersion: 3 });
  });

  test("an execution whose version has no code any more says so, and is canceled when it has", async () => {
    const of = (version: number) =>
      defineWorkflow({
        name: "greeting",
        version,
        input: noInput,
        signals: { go: z.null() },
        run: async (ctx) => void (await ctx.waitForSignal("go")),
      });
    const before = await started([of(1)]);
    const { executionId } = await before.acme.start({ workflow: "greeting", input: {} });
    await before.app.settled();
    expect(await before.acme.get({ executionId })).not.toHaveProperty("unserved");
    await before.app.close();

    const { clock, store } = before;
    const without = await started([of(2)], undefined, clock, store);
    expect(await without.acme.get({ executionId })).toMatchObject({ status: "running", unserved: true });
    expect((await without.acme.list({})).items).toMatchObject([{ executionId, unserved: true }]);
    await expect(without.acme.signal({ executionId, signal: "go", payload: null })).rejects.toThrow('"greeting@1"');
    await without.acme.cancel({ executionId, reason: "not needed" });
    await without.app.settled();
    expect(await without.acme.get({ executionId })).toMatchObject({ status: "running", unserved: true });
    await without.app.close();

    const again = await started([of(2), of(1)], undefined, clock, store);
    await again.app.settled();
    const ended = await again.acme.get({ executionId });
    expect(ended).toMatchObject({ status: "canceled" });
    expect(ended).not.toHaveProperty("unserved");
  });
});
