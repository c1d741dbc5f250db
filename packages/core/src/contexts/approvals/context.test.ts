import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { callHash } from "../../kernel/call-hash.ts";
import { atomic, defineContext } from "../../kernel/context.ts";
import { command, defineContract } from "../../kernel/contract.ts";
import { Forbidden, InvalidInput, NotFound } from "../../kernel/errors.ts";
import type { PrincipalInput } from "../../kernel/principal.ts";
import type { JsonObject } from "../../kernel/schema.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { type FixedClock, fixedClock } from "../../testing/fixed-clock.ts";
import {
  ApprovalApproved,
  ApprovalHasExpired,
  ApprovalRequestedOtherwise,
  ApproverNotAllowed,
  approvals,
} from "./contract.ts";

const DAY = 86_400_000;
const args = { to: "bo@example.com" };
const mail = {
  subject: { type: "agents.run", id: "run_1" },
  action: "mail.send",
  arguments: args as JsonObject,
  risk: "irreversible" as const,
};
const hash = callHash("mail.send", args);

let clock: FixedClock;
let app: Armature;
const call = (principal: PrincipalInput) => app.as(principal).approvals;
const as = (user: string, tenant = "acme") => call({ tenant, user });
const agent = () => call({ tenant: "acme", agent: "sales", onBehalfOf: { type: "user", id: "ann" } });

/** ann asks, bob decides what is about mail, cleo decides what needs nothing more, all read. */
beforeEach(async () => {
  clock = fixedClock();
  // Looks only when it has to: days go by here.
  app = await createArmature({ store: inMemory(), clock, relay: { pollMs: 1_000 * DAY }, retention: false });
  const { identity } = app.as({ tenant: "acme", system: "setup" });
  await identity.createTenant({ name: "Acme" });
  const roles = {
    asker: ["approvals:request", "approvals:read"],
    decider: ["approvals:decide", "approvals:read"],
    mailer: ["mail:send"],
  };
  for (const [role, permissions] of Object.entries(roles)) await identity.createRole({ role, permissions });
  await identity.createUser({ userId: "ann", name: "Ann", roles: ["asker"] });
  await identity.createUser({ userId: "bob", name: "Bob", roles: ["decider", "mailer"] });
  await identity.createUser({ userId: "cleo", name: "Cleo", roles: ["decider"] });
});
afterEach(() => app.close());

describe("an approval", () => {
  test("waits for seven days, or as long as was asked for, which is ninety at most", async () => {
    const { expiresAt, status, approvalId } = await agent().request(mail);
    expect([approvalId.slice(0, 4), status, expiresAt]).toEqual(["apr_", "pending", "2026-01-08T00:00:00.000Z"]);
    const until = (days: number, ms = 0) => agent().request({ ...mail, expiresAt: at(days * DAY + ms) });
    expect((await until(90)).expiresAt).toBe(at(90 * DAY));
    for (const wrong of [() => until(90, 1), () => until(0), () => until(-1)])
      await expect(wrong()).rejects.toThrow(InvalidInput);
  });

  test("shows exactly what would run, and what a person sees of it", async () => {
    const plain = await agent().request({ ...mail, title: "Mail to Bo" });
    expect(await as("bob").get({ approvalId: plain.approvalId })).toEqual({
      approvalId: plain.approvalId,
      version: 1,
      subject: mail.subject,
      action: "mail.send",
      hash,
      risk: "irreversible",
      fourEyes: false,
      requestedBy: { actor: { type: "agent", id: "sales" }, onBehalfOf: { type: "user", id: "ann" } },
      status: "pending",
      createdAt: at(0),
      expiresAt: at(7 * DAY),
      title: "Mail to Bo",
      arguments: args,
      shown: args,
      stripped: false,
    });

    const hidden = { to: "bo@example.com\u200b", "bc\u2060c": "x\u{e0041}" };
    const { approvalId } = await agent().request({ ...mail, title: "Mail\u202e to Bo", arguments: hidden });
    expect(await as("bob").get({ approvalId })).toMatchObject({
      title: "Mail to Bo",
      arguments: hidden,
      shown: { to: "bo@example.com", bcc: "x" },
      stripped: true,
    });
    const blank = await agent().request({ ...mail, title: "\u2060\u202e" });
    expect(await as("bob").get({ approvalId: blank.approvalId })).toMatchObject({ title: "", stripped: true });
    const { items } = await as("bob").list();
    expect(items.map(({ title }) => title)).toEqual(["Mail to Bo", "Mail to Bo", ""]);
    expect(JSON.stringify(items)).not.toContain("example.com");
  });

  test("that is edited shows both the arguments that were asked for and those that are to run", async () => {
    const { approvalId } = await agent().request(mail);
    const edited = { to: "cleo@example.com\u200b" };
    const answer = await as("bob").edit({ approvalId, hash, arguments: edited });
    expect(answer).toMatchObject({ status: "edited", hash, editedHash: callHash("mail.send", edited), version: 2 });
    expect(JSON.stringify(answer)).not.toContain("example.com");
    expect(await agent().get({ approvalId })).toMatchObject({
      arguments: args,
      editedArguments: edited,
      editedShown: { to: "cleo@example.com" },
      stripped: true,
    });
  });

  test("that is requested under an id is there once, whatever time has passed", async () => {
    const request = { ...mail, approvalId: "apr_run_1-3", expiresAt: at(DAY) } as const;
    const first = await agent().request(request);
    await clock.advance(2 * DAY);
    await app.settled();
    expect(await agent().request(request)).toEqual({ ...first, version: 2, status: "expired", decidedAt: at(DAY) });
    await expect(agent().request({ ...request, arguments: {} })).rejects.toThrow(ApprovalRequestedOtherwise);
    // Nobody can ask first in another one's name.
    await expect(as("ann").request({ ...request, permission: "mail:send" })).rejects.toThrow(
      ApprovalRequestedOtherwise,
    );
  });

  test("takes 256 KiB of arguments, nested 64 deep, and no more", async () => {
    const long = (bytes: number) => ({ a: "x".repeat(bytes - '{"a":""}'.length) });
    const deep = (levels: number): JsonObject => (levels === 1 ? {} : { a: deep(levels - 1) });
    await agent().request({ ...mail, arguments: long(256 * 1024) });
    await agent().request({ ...mail, arguments: deep(64) });
    for (const wrong of [long(256 * 1024 + 1), deep(65), { a: "é".repeat(130 * 1024) }]) {
      await expect(agent().request({ ...mail, arguments: wrong })).rejects.toThrow(InvalidInput);
      const { approvalId } = await agent().request(mail);
      await expect(as("bob").edit({ approvalId, hash, arguments: wrong })).rejects.toThrow(InvalidInput);
    }
    const brackets = JSON.parse(`${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`) as JsonObject;
    await expect(agent().request({ ...mail, arguments: brackets })).rejects.toThrow(InvalidInput);
  });

  test("with a schema that cannot be read is not requested", async () => {
    const inputSchema = { type: "object", not: { required: ["a"] } };
    await expect(agent().request({ ...mail, inputSchema })).rejects.toThrow(InvalidInput);
    expect((await as("bob").list()).items).toEqual([]);
  });

  test("is not found by an id that there is not, or of another kind", async () => {
    const approvalId = "apr_none" as const;
    await expect(as("bob").get({ approvalId })).rejects.toThrow(NotFound);
    await expect(as("bob").approve({ approvalId, hash })).rejects.toThrow(NotFound);
    await expect(as("bob").get({ approvalId: "con_1" as never })).rejects.toThrow(InvalidInput);
  });
});

test("a timer that comes too early, by a clock that is ahead, is set again", async () => {
  const store = inMemory({ clock });
  const early = await createArmature({ store, clock, authorizer: () => true, relay: { pollMs: 1_000 * DAY } });
  const ann = early.as({ tenant: "acme", user: "ann" });
  const { approvalId } = await ann.approvals.request({ ...mail, expiresAt: at(DAY) });
  const [timer] = (await store.scheduled("acme", { contexts: ["approvals"], limit: 1 })).items;
  const message = { ...timer!.command, id: "cmd_early" };
  const part = { context: "approvals", aggregates: [], events: [], messages: [message], audit: [] };
  await store.commit("acme", { parts: [part] });
  await clock.advance(1_000);
  await early.settled();
  expect((await ann.approvals.get({ approvalId })).status).toBe("pending");
  const due = async () => (await ann.delivery.listScheduled()).items.map(({ dueAt }) => dueAt);
  expect(await due()).toEqual([at(DAY), at(DAY)]);
  await clock.advance(DAY);
  await early.settled();
  expect((await ann.approvals.get({ approvalId })).status).toBe("expired");
  expect((await ann.delivery.listDeadLetters()).items).toEqual([]);
  await early.close();
});

describe("who may", () => {
  test("decide needs approvals:decide and what the approval asks for, at that moment", async () => {
    const { approvalId } = await agent().request({ ...mail, permission: "mail:send" });
    const approve = (user: string) => as(user).approve({ approvalId, hash });
    await expect(approve("ann")).rejects.toMatchObject({ details: { permission: "approvals:decide" } });
    await expect(approve("cleo")).rejects.toMatchObject({ details: { permission: "mail:send" } });
    for (const verdict of [
      () => as("cleo").edit({ approvalId, hash, arguments: {} }),
      () => as("cleo").reject({ approvalId, reason: "no" }),
    ])
      await expect(verdict()).rejects.toThrow(Forbidden);
    const { identity } = app.as({ tenant: "acme", system: "setup" });
    await identity.setUserRoles({ userId: "bob", roles: ["decider"] });
    await expect(approve("bob")).rejects.toMatchObject({ details: { permission: "mail:send" } });
    await identity.setUserRoles({ userId: "bob", roles: ["decider", "mailer"] });
    expect((await approve("bob")).status).toBe("approved");
    // To repeat it takes no less.
    await expect(approve("cleo")).rejects.toThrow(Forbidden);
  });

  test("decide is a person or service account: an agent and the system never, whoever they act for", async () => {
    const { approvalId } = await agent().request(mail);
    const bob = { type: "user", id: "bob" } as const;
    for (const [principal, because] of [
      [{ tenant: "acme", agent: "sales", onBehalfOf: bob }, "agent"],
      [{ tenant: "acme", actor: { type: "system", id: "desk.on-mail" }, onBehalfOf: bob }, "system"],
      [{ tenant: "acme", system: "console" }, "system"],
    ] as const)
      for (const verdict of [
        () => call(principal).approve({ approvalId, hash }),
        () => call(principal).edit({ approvalId, hash, arguments: {} }),
        () => call(principal).reject({ approvalId }),
      ])
        await expect(verdict()).rejects.toMatchObject({ code: ApproverNotAllowed.code, details: { because } });
    expect((await as("bob").get({ approvalId })).version).toBe(1);
  });

  test("end an approval early is who may ask for one; afterwards it cannot be decided", async () => {
    const { approvalId } = await agent().request(mail);
    await expect(as("bob").expire({ approvalId })).rejects.toThrow(Forbidden);
    await clock.advance(1_000);
    expect(await agent().expire({ approvalId })).toMatchObject({ status: "expired", decidedAt: at(1_000) });
    expect((await agent().expire({ approvalId })).version).toBe(2);
    await expect(as("bob").approve({ approvalId, hash })).rejects.toMatchObject({
      code: ApprovalHasExpired.code,
      details: { expiredAt: at(1_000) },
    });
  });
});

describe("the list", () => {
  test("is by status and subject, the oldest first, page by page", async () => {
    const ids: string[] = [];
    for (const run of ["run_1", "run_2", "run_1"]) {
      await clock.advance(1);
      ids.push((await agent().request({ ...mail, subject: { type: "agents.run", id: run } })).approvalId);
    }
    await as("bob").reject({ approvalId: ids[0] as "apr_", reason: "no" });
    const listed = async (query: Parameters<ReturnType<typeof as>["list"]>[0]) =>
      (await as("bob").list(query)).items.map(({ approvalId }) => approvalId);
    expect(await listed({})).toEqual(ids);
    expect(await listed({ status: "pending" })).toEqual(ids.slice(1));
    expect(await listed({ status: "rejected" })).toEqual(ids.slice(0, 1));
    expect(await listed({ subjectType: "agents.run", subjectId: "run_1" })).toEqual([ids[0], ids[2]]);
    expect(await listed({ subjectType: "workflows.execution" })).toEqual([]);
    const { items, next } = await as("bob").list({ limit: 2 });
    expect([...items.map(({ approvalId }) => approvalId), ...(await listed({ limit: 2, after: next }))]).toEqual(ids);
    await expect(as("nobody").list()).rejects.toThrow(Forbidden);
  });

  test("of what the caller may decide has what deciding would take, the first to expire first", async () => {
    const request = (more: Partial<Parameters<ReturnType<typeof as>["request"]>[0]>) =>
      agent()
        .request({ ...mail, ...more })
        .then(({ approvalId }) => approvalId);
    const forMailers = await request({ permission: "mail:send" });
    const urgent = await request({ expiresAt: at(DAY) });
    const underFourEyes = await request({ fourEyes: true, expiresAt: at(2 * DAY) });
    await request({ permission: "mail:never", expiresAt: at(DAY) });
    const gone = await request({ expiresAt: at(1_000) });
    const done = await request({});
    await as("bob").approve({ approvalId: done, hash });

    const { identity } = app.as({ tenant: "acme", system: "setup" });
    await identity.setUserRoles({ userId: "ann", roles: ["asker", "decider"] });
    const decidable = async (caller: ReturnType<typeof as>, query: object = {}) => {
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await caller.list({ ...query, decidable: true, after });
        found.push(...page.items.map(({ approvalId }) => approvalId));
        after = page.next;
      } while (after !== undefined);
      return found;
    };
    expect(await decidable(as("bob"))).toEqual([gone, urgent, underFourEyes, forMailers]);
    expect(await decidable(as("bob"), { limit: 1 })).toEqual([gone, urgent, underFourEyes, forMailers]);
    expect(await decidable(as("cleo"))).toEqual([gone, urgent, underFourEyes]);
    expect(await decidable(as("ann"))).toEqual([gone, urgent]);
    expect(await decidable(agent())).toEqual([]);
    expect(await decidable(call({ tenant: "acme", system: "console" }))).toEqual([]);
    expect(await decidable(as("bob"), { status: "approved" })).toEqual([]);
    expect(await decidable(as("bob"), { subjectId: "run_2" })).toEqual([]);
    await identity.setUserRoles({ userId: "cleo", roles: ["asker"] });
    expect(await decidable(as("cleo"))).toEqual([]);

    // From its time on nothing can be decided, also where no timer has said so.
    const late = await createArmature({ store: inMemory(), clock, relay: false, authorizer: () => true });
    const { approvals: asking } = late.as({ tenant: "acme", user: "ann" });
    await asking.request({ ...mail, expiresAt: at(1_000) });
    await clock.advance(1_000);
    expect((await asking.list({ status: "pending" })).items).toHaveLength(1);
    expect((await asking.list({ decidable: true })).items).toEqual([]);
    await late.close();
  });

  test("looks no further than ten pages at a time for what the caller may decide", async () => {
    for (let n = 0; n < 12; n += 1) {
      await clock.advance(1);
      await agent().request({ ...mail, ...(n < 11 ? { permission: "mail:never" } : {}) });
    }
    const first = await as("bob").list({ decidable: true, limit: 1 });
    expect(first).toEqual({ items: [], next: expect.any(String) });
    expect((await as("bob").list({ decidable: true, limit: 1, after: first.next })).items).toHaveLength(1);
  });
});

test("a context asks in its own commit, and hears the verdict", async () => {
  const heard: string[] = [];
  const outbox = defineContract("outbox", {
    write: command({
      input: z.strictObject({ to: z.string(), fail: z.boolean() }),
      output: z.object({ approvalId: z.string() }),
      permission: "outbox:write",
      summary: "Writes a mail that waits for a person.",
    }),
  });
  const outboxContext = defineContext(outbox, {
    dependsOn: [atomic(approvals)],
    handlers: {
      write: async ({ to, fail }, ctx) => {
        const { approvalId } = await ctx
          .use(approvals)
          .request({ ...mail, approvalId: `apr_${to}`, arguments: { to } });
        if (fail) throw new Forbidden({ permission: "outbox:any" });
        return { approvalId };
      },
    },
    subscriptions: (on) => [
      on(ApprovalApproved, { consumer: "outbox.send" }, async ({ data }, ctx) => {
        const { arguments: exact } = await ctx.use(approvals).get({ approvalId: data.approvalId });
        heard.push(JSON.stringify(exact));
      }),
    ],
  });
  const host = await createArmature({ store: inMemory(), contexts: [outboxContext], authorizer: () => true });
  const ann = host.as({ tenant: "acme", user: "ann" });
  await expect(ann.outbox.write({ to: "mallory", fail: true })).rejects.toThrow(Forbidden);
  await ann.outbox.write({ to: "bo", fail: false });
  const { items } = await ann.approvals.list();
  expect(items.map(({ approvalId }) => approvalId)).toEqual(["apr_bo"]);
  const timers = (await ann.delivery.listScheduled()).items.map(({ context, operation }) => [context, operation]);
  expect(timers).toEqual([["approvals", "approvals.expireDue"]]);
  await ann.approvals.approve({ approvalId: "apr_bo", hash: items[0]!.hash });
  expect((await ann.delivery.listScheduled()).items).toEqual([]);
  await host.settled();
  expect(heard).toEqual(['{"to":"bo"}']);
  await host.close();
});

function at(ms: number): string {
  return new Date(Date.parse("2026-01-01T00:00:00.000Z") + ms).toISOString();
}
