import {
  ApprovalAlreadyDecided,
  ApprovalHasExpired,
  ApprovalStale,
  ApproverNotAllowed,
  type CloudEvent,
  callHash,
  Forbidden,
  InvalidInput,
  NotFound,
} from "@armature/core";
import { InProcessBus } from "@armature/core/in-memory";
import { fixedClock, intercepted } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { benchOn, type LabApp } from "./bench.ts";
import type { PlaceKind } from "./place.ts";

const HOUR = 3_600_000;
const call = {
  subject: { type: "agents.run", id: "run_1" },
  action: "mail.send",
  arguments: { to: "bo@example.com", copies: 1 },
  inputSchema: {
    type: "object",
    properties: { to: { type: "string", format: "email" }, copies: { type: "integer", maximum: 5 } },
    required: ["to"],
    additionalProperties: false,
  },
  permission: "mail:send",
  risk: "irreversible",
} as const;
const hash = callHash(call.action, call.arguments);

/** One verdict for each approval, whoever gives it and wherever. */
export function approvalScenarios(kind: PlaceKind): void {
  describe(`approvals, ${kind.name}`, () => {
    const bench = benchOn(kind);
    /** An application that looks for timers only when one is due: an hour of polling takes long. */
    const start = (options: Parameters<typeof bench.start>[0] = {}) =>
      bench.start({ relay: { pollMs: 1_000 * HOUR }, ...options });
    const as = (app: LabApp, tenant: string, user = "bob") => app.as({ tenant, user }).approvals;
    const asAgent = (app: LabApp, tenant: string) =>
      app.as({ tenant, agent: "sales", onBehalfOf: { type: "user", id: "ann" } }).approvals;
    const eventsOf = async (app: LabApp, tenant: string, approvalId: string) =>
      (
        await app
          .as({ tenant, user: "ops" })
          .audit.events({ aggregateType: "approval", aggregateId: approvalId, limit: 200 })
      ).items.map(({ type }) => type);

    test("200 approvals at once, through two processes, are one", async () => {
      const tenant = bench.tenant();
      const apps = [await start(), await start()] as const;
      const { approvalId } = await asAgent(apps[0], tenant).request(call);
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, n) => as(apps[n % 2]!, tenant, `user-${n}`).approve({ approvalId, hash })),
      );
      expect(new Set(answers.map((each) => JSON.stringify(each))).size).toBe(1);
      expect(answers[0]).toMatchObject({ status: "approved", version: 2 });
      expect((await eventsOf(apps[0], tenant, approvalId)).sort()).toEqual(["approval.approved", "approval.requested"]);
    });

    test("of different verdicts at once one holds, and the others are told which", async () => {
      const tenant = bench.tenant();
      const apps = [await start(), await start()] as const;
      const won = new Set<string>();
      for (let round = 0; round < 12; round += 1) {
        // None has further to go than the others.
        const { approvalId } = await asAgent(apps[0], tenant).request({ ...call, permission: undefined });
        const verdicts = [
          () => as(apps[0], tenant).approve({ approvalId, hash }),
          () => as(apps[1], tenant).reject({ approvalId, reason: "not her" }),
          () => as(apps[0], tenant).edit({ approvalId, hash, arguments: { to: "cleo@example.com" } }),
          // In every other round: it has the shortest way.
          ...(round % 2 === 0 ? [] : [() => asAgent(apps[1], tenant).expire({ approvalId })]),
        ];
        const from = round % verdicts.length;
        const turned = [...verdicts.slice(from), ...verdicts.slice(0, from)];
        const results = await Promise.allSettled(turned.map((verdict) => verdict()));
        const { status } = await as(apps[1], tenant).get({ approvalId });
        won.add(status);
        const winners = results.filter((result) => result.status === "fulfilled");
        expect(winners.map(({ value }) => value.status)).toEqual([status]);
        for (const result of results)
          if (result.status === "rejected")
            expect(result.reason).toBeInstanceOf(status === "expired" ? ApprovalHasExpired : ApprovalAlreadyDecided);
        expect((await eventsOf(apps[1], tenant, approvalId)).sort()).toEqual(
          [`approval.${status}`, "approval.requested"].sort(),
        );
      }
      expect(won.size).toBeGreaterThan(1);
    });

    test("of many requests under one id at once there is one approval, and one timer", async () => {
      const tenant = bench.tenant();
      const apps = [await start({ relay: false }), await start({ relay: false })] as const;
      const request = { ...call, approvalId: "apr_run_1-0" } as const;
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => asAgent(apps[n % 2]!, tenant).request(request)),
      );
      expect(new Set(answers.map((each) => JSON.stringify(each))).size).toBe(1);
      expect(await eventsOf(apps[0], tenant, "apr_run_1-0")).toEqual(["approval.requested"]);
      expect((await apps[0].as({ tenant, user: "ops" }).delivery.listScheduled()).items).toHaveLength(1);
    });

    test("a verdict is for the arguments that were looked at, and an edit must fit the schema", async () => {
      const tenant = bench.tenant();
      const app = await start();
      const { approvalId } = await asAgent(app, tenant).request(call);
      const stale = callHash(call.action, { ...call.arguments, copies: 2 });
      const bob = as(app, tenant);
      await expect(bob.approve({ approvalId, hash: stale })).rejects.toThrow(ApprovalStale);
      await expect(bob.edit({ approvalId, hash: stale, arguments: { to: "cleo@example.com" } })).rejects.toThrow(
        ApprovalStale,
      );
      for (const wrong of [
        { to: "cleo" },
        { copies: 1 },
        { to: "cleo@example.com", copies: 6 },
        { ...call.arguments, bcc: "x" },
      ])
        await expect(bob.edit({ approvalId, hash, arguments: wrong })).rejects.toThrow(InvalidInput);
      expect((await bob.get({ approvalId })).status).toBe("pending");
      const edited = { to: "cleo@example.com", copies: 2 };
      expect(await bob.edit({ approvalId, hash, arguments: edited })).toMatchObject({
        status: "edited",
        editedHash: callHash(call.action, edited),
      });
      expect(await bob.get({ approvalId })).toMatchObject({ arguments: call.arguments, editedArguments: edited, hash });
    });

    test("expires by its timer, and by the clock where no timer has fired", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const still = await start({ clock, relay: false });
      const { approvalId, expiresAt } = await asAgent(still, tenant).request(call);
      const decided = await asAgent(still, tenant).request(call);
      await as(still, tenant).approve({ approvalId: decided.approvalId, hash });
      const due = async () => (await still.as({ tenant, user: "ops" }).delivery.listScheduled()).items;
      expect((await due()).map(({ operation, dueAt }) => [operation, dueAt])).toEqual([
        ["approvals.expireDue", expiresAt],
      ]);
      await clock.advance(7 * 24 * HOUR);
      expect((await as(still, tenant).get({ approvalId })).status).toBe("pending");
      for (const verdict of [
        () => as(still, tenant).approve({ approvalId, hash }),
        () => as(still, tenant).edit({ approvalId, hash, arguments: call.arguments }),
        () => as(still, tenant).reject({ approvalId }),
      ])
        await expect(verdict()).rejects.toMatchObject({
          code: ApprovalHasExpired.code,
          details: { approvalId, expiredAt: expiresAt },
        });
      const app = await start({ clock });
      await clock.advance(1);
      await app.settled();
      expect(await as(app, tenant).get({ approvalId })).toMatchObject({ status: "expired", version: 2 });
      expect((await as(app, tenant).get({ approvalId: decided.approvalId })).status).toBe("approved");
      expect(await due()).toEqual([]);
      expect((await eventsOf(app, tenant, approvalId)).sort()).toEqual(["approval.expired", "approval.requested"]);
    });

    test("is decided by neither an agent nor, under four eyes, who asked; nor without the permission", async () => {
      const tenant = bench.tenant();
      const app = await start();
      const { approvalId } = await asAgent(app, tenant).request({ ...call, fourEyes: true });
      await expect(asAgent(app, tenant).approve({ approvalId, hash })).rejects.toThrow(ApproverNotAllowed);
      await expect(as(app, tenant, "ann").approve({ approvalId, hash })).rejects.toThrow(ApproverNotAllowed);
      let mayBob = true;
      bench.allow((principal, permission) => permission !== "mail:send" || (mayBob && principal.actor.id === "bob"));
      expect((await as(app, tenant).list({ decidable: true })).items).toHaveLength(1);
      mayBob = false;
      expect((await as(app, tenant).list({ decidable: true })).items).toEqual([]);
      for (const verdict of [
        () => as(app, tenant).approve({ approvalId, hash }),
        () => as(app, tenant).edit({ approvalId, hash, arguments: call.arguments }),
        () => as(app, tenant).reject({ approvalId }),
      ])
        await expect(verdict()).rejects.toMatchObject({ code: Forbidden.code, details: { permission: "mail:send" } });
      mayBob = true;
      expect((await as(app, tenant).approve({ approvalId, hash })).status).toBe("approved");
    });

    test("is not there for another tenant", async () => {
      const [tenant, other] = [bench.tenant(), bench.tenant()];
      const app = await start();
      const { approvalId } = await asAgent(app, tenant).request({ ...call, approvalId: "apr_same" });
      for (const asked of [
        () => as(app, other).get({ approvalId }),
        () => as(app, other).approve({ approvalId, hash }),
        () => as(app, other).edit({ approvalId, hash, arguments: call.arguments }),
        () => as(app, other).reject({ approvalId }),
        () => as(app, other).expire({ approvalId }),
      ])
        await expect(asked()).rejects.toThrow(NotFound);
      expect((await as(app, other).list()).items).toEqual([]);
      await asAgent(app, other).request({ ...call, approvalId: "apr_same", arguments: { to: "dan@example.com" } });
      expect(await as(app, tenant).get({ approvalId })).toMatchObject({ hash, version: 1 });
    });

    test("has its arguments, title and reasons in its own row, and in nothing else that is written or said", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const store = intercepted(await bench.place.open());
      const written: string[] = [];
      store.around("commit", (proceed, args) => {
        written.push(JSON.stringify(args, (key, value) => (key === "state" ? "the state" : value)));
        return proceed();
      });
      const bus = intercepted(new InProcessBus(clock));
      const published: CloudEvent[] = [];
      bus.around("publish", (proceed, [events]) => {
        published.push(...(events as CloudEvent[]));
        return proceed();
      });
      const app = await start({ clock, store: store.port, bus: bus.port });
      const secret = {
        inputSchema: undefined,
        title: "marked title",
        arguments: { "marked-key": ["marked value", 4711_0815] },
      };
      const markedHash = callHash(call.action, secret.arguments);
      const [agent, bob] = [asAgent(app, tenant), as(app, tenant)];
      const ask = async (n: number) =>
        (await agent.request({ ...call, ...secret, approvalId: `apr_${n}` }, { idempotencyKey: `ask-${n}` }))
          .approvalId;
      await bob.approve({ approvalId: await ask(1), hash: markedHash }, { idempotencyKey: "approve" });
      const edit = { approvalId: await ask(2), hash: markedHash, arguments: { other: "marked edit" } };
      const edited = await bob.edit(edit, { idempotencyKey: "edit" });
      expect(await bob.edit(edit, { idempotencyKey: "edit" })).toEqual(edited);
      await bob.reject({ approvalId: await ask(3), reason: "marked reason" }, { idempotencyKey: "reject" });
      await expect(bob.edit({ ...edit, arguments: { "marked-late": "marked" } })).rejects.toThrow(
        ApprovalAlreadyDecided,
      );
      await expect(
        agent.request({ ...call, ...secret, inputSchema: { type: "object", not: { const: "marked schema" } } }),
      ).rejects.toThrow(InvalidInput);
      const strict = await agent.request({ ...call, approvalId: "apr_4", title: "marked" });
      await expect(
        bob.edit({ approvalId: strict.approvalId, hash, arguments: { "marked-more": "marked" } }),
      ).rejects.toThrow(InvalidInput);
      await agent.expire({ approvalId: strict.approvalId });
      await ask(5);
      await clock.advance(7 * 24 * HOUR);
      await app.settled();
      expect((await bob.get({ approvalId: "apr_5" })).status).toBe("expired");

      const ops = app.as({ tenant, user: "ops" });
      const { items: rows } = await ops.audit.list({ limit: 200 });
      const { items: events } = await ops.audit.events({ limit: 200 });
      const said = {
        written: written.join("\n"),
        published: JSON.stringify(published),
        audit: JSON.stringify(rows),
        events: JSON.stringify(events),
        scheduled: JSON.stringify(await ops.delivery.listScheduled()),
        log: bench.logger.text(),
      };
      for (const [where, text] of Object.entries(said)) {
        expect(text, where).not.toContain("marked");
        expect(text, where).not.toContain("47110815");
      }
      // So that nothing was looked for in vain.
      expect(published.map(({ type }) => type)).toEqual(
        expect.arrayContaining(["approval.edited", "approval.expired"]),
      );
      expect(rows.length).toBeGreaterThan(10);
      expect(said.written).toContain(markedHash);
      expect(await bob.get({ approvalId: "apr_3" })).toMatchObject({
        reason: "marked reason",
        arguments: secret.arguments,
      });
    });
  });
}
