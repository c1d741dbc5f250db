import { describe, expect, test } from "vitest";
import { callHash } from "../../kernel/call-hash.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { toPrincipal } from "../../kernel/principal.ts";
import { given } from "../../testing/given.ts";
import { Approval, type ApprovalRequest } from "./approval.ts";
import {
  ApprovalAlreadyDecided,
  ApprovalApproved,
  ApprovalEdited,
  ApprovalExpired,
  ApprovalHasExpired,
  ApprovalRejected,
  ApprovalRequested,
  ApprovalRequestedOtherwise,
  ApprovalStale,
  ApproverNotAllowed,
} from "./contract.ts";

const at = "2026-01-01T00:00:00.000Z";
const later = "2026-01-02T00:00:00.000Z";
const expiresAt = "2026-01-08T00:00:00.000Z";
const id = "apr_1";
const agent = toPrincipal({ tenant: "acme", agent: "sales", onBehalfOf: { type: "user", id: "ann" } });
const ann = toPrincipal({ tenant: "acme", user: "ann" });
const bob = toPrincipal({ tenant: "acme", user: "bob" });
const byBob = { actor: { type: "user", id: "bob" } } as const;

const request: ApprovalRequest = {
  subject: { type: "agents.run", id: "run_1" },
  action: "mail.send",
  title: "Send mail to Bo",
  arguments: { to: "bo@example.com" },
  inputSchema: { type: "object", properties: { to: { type: "string" } }, required: ["to"] },
  permission: "mail:send",
  risk: "irreversible",
  fourEyes: false,
};
const hash = callHash("mail.send", { to: "bo@example.com" });
const edited = callHash("mail.send", { to: "cleo@example.com" });
const { subject, action, permission, risk } = request;
const about = { approvalId: id, subject, action, hash } as const;
const asked = (fourEyes = false) =>
  [
    ApprovalRequested,
    {
      ...about,
      permission,
      risk,
      fourEyes,
      requestedBy: { actor: { type: "agent", id: "sales" }, onBehalfOf: { type: "user", id: "ann" } },
      expiresAt,
      at,
    },
    { arguments: request.arguments, title: request.title, inputSchema: request.inputSchema, timer: "cmd_1" },
  ] as const;
const approved = [ApprovalApproved, { ...about, at: later, decidedBy: byBob }] as const;
const rejected = [ApprovalRejected, { ...about, at: later, decidedBy: byBob }, { reason: "not her" }] as const;
const changed = [
  ApprovalEdited,
  { ...about, at: later, editedHash: edited, decidedBy: byBob },
  { editedArguments: { to: "cleo@example.com" } },
] as const;
const lapsed = [ApprovalExpired, { ...about, at: expiresAt }] as const;

describe("an approval", () => {
  test("is requested with its exact arguments, which no event shows", () => {
    const made = given(Approval)
      .when(() => Approval.request(id, request, agent, { expiresAt, timer: "cmd_1", at }))
      .then([[asked()[0], asked()[1]]]);
    expect(made.state).toMatchObject({
      status: "pending",
      arguments: request.arguments,
      title: "Send mail to Bo",
      hash,
    });
    expect(JSON.stringify(asked()[1])).not.toMatch(/example\.com|Bo/);
  });

  test("is the same one when the same is requested again, and refuses to be another", () => {
    const known = () => given(Approval, id, [asked()]);
    known()
      .when((it) => it.mustBe({ ...request, title: "Other words", inputSchema: undefined }, agent))
      .then([]);
    for (const other of [
      { ...request, arguments: { to: "mallory@example.com" } },
      { ...request, action: "mail.draft" },
      { ...request, subject: { type: "agents.run", id: "run_2" } },
      { ...request, permission: undefined },
      { ...request, risk: "read" as const },
      { ...request, fourEyes: true },
    ])
      known()
        .when((it) => it.mustBe(other, agent))
        .thenThrows(ApprovalRequestedOtherwise, { approvalId: id, hash });
    known()
      .when((it) => it.mustBe(request, bob))
      .thenThrows(ApprovalRequestedOtherwise);
  });

  test("is approved for the hash of what waits, and for no other", () => {
    const done = given(Approval, id, [asked()])
      .when((it) => it.approve(hash, bob, later))
      .then([approved]);
    expect(done.state).toMatchObject({ status: "approved", decidedBy: byBob, decidedAt: later });
    given(Approval, id, [asked()])
      .when((it) => it.approve(edited, bob, later))
      .thenThrows(ApprovalStale, { approvalId: id, hash });
  });

  test("is edited to arguments that fit the schema, which then have a hash of their own", () => {
    const args = { to: "cleo@example.com" };
    const done = given(Approval, id, [asked()])
      .when((it) => it.edit(hash, args, bob, later))
      .then([[changed[0], changed[1]]]);
    expect(done.state).toMatchObject({ arguments: request.arguments, hash, editedArguments: args, editedHash: edited });
    given(Approval, id, [asked()])
      .when((it) => it.edit(hash, { to: 1 }, bob, later))
      .thenThrows(InvalidInput);
    given(Approval, id, [asked()])
      .when((it) => it.edit(edited, args, bob, later))
      .thenThrows(ApprovalStale);
  });

  test("is rejected, for a reason that no event shows", () => {
    const done = given(Approval, id, [asked()])
      .when((it) => it.reject("not her", bob, later))
      .then([[rejected[0], rejected[1]]]);
    expect(done.state).toMatchObject({ status: "rejected", reason: "not her" });
  });

  test("takes the same verdict again from anybody, without effect", () => {
    given(Approval, id, [asked(), approved])
      .when((it) => it.approve(hash, ann, expiresAt))
      .then([]);
    given(Approval, id, [asked(), changed])
      .when((it) => it.edit(hash, { to: "cleo@example.com" }, ann, expiresAt))
      .then([]);
    const twice = given(Approval, id, [asked(), rejected])
      .when((it) => it.reject("another reason", ann, expiresAt))
      .then([]);
    expect(twice.state.reason).toBe("not her");
    given(Approval, id, [asked(), lapsed])
      .when((it) => it.expire(agent, expiresAt))
      .then([]);
  });

  test("takes no other verdict after the first", () => {
    const verdicts: readonly ((it: Approval) => void)[] = [
      (it) => it.approve(hash, bob, later),
      (it) => it.approve(edited, bob, later),
      (it) => it.edit(hash, { to: "cleo@example.com" }, bob, later),
      (it) => it.edit(hash, { to: "dan@example.com" }, bob, later),
      (it) => it.reject("no", bob, later),
      (it) => it.expire(agent, later),
    ];
    for (const [status, decision, same] of [
      ["approved", approved, [0]],
      ["edited", changed, [2]],
      ["rejected", rejected, [4]],
    ] as const)
      for (const [at, verdict] of verdicts.entries()) {
        if ((same as readonly number[]).includes(at)) continue;
        given(Approval, id, [asked(), decision])
          .when(verdict)
          .thenThrows(ApprovalAlreadyDecided, { approvalId: id, status, decidedAt: later });
      }
  });

  test("cannot be decided from its expiry on, whether or not the timer was there", () => {
    for (const past of [[asked()], [asked(), lapsed]])
      for (const verdict of [
        (it: Approval) => it.approve(hash, bob, expiresAt),
        (it: Approval) => it.edit(hash, { to: "x" }, bob, expiresAt),
        (it: Approval) => it.reject(undefined, bob, expiresAt),
      ])
        given(Approval, id, past)
          .when(verdict)
          .thenThrows(ApprovalHasExpired, { approvalId: id, expiredAt: expiresAt });
    given(Approval, id, [asked()])
      .when((it) => it.approve(hash, bob, "2026-01-07T23:59:59.999Z"))
      .then([[ApprovalApproved, { ...about, at: "2026-01-07T23:59:59.999Z", decidedBy: byBob }]]);
  });

  test("expires when its time is over and not before, and only while it waits", () => {
    given(Approval, id, [asked()])
      .when((it) => void expect(it.expireDue(later)).toBe(true))
      .then([]);
    given(Approval, id, [asked()])
      .when((it) => void expect(it.expireDue(expiresAt)).toBe(false))
      .then([lapsed]);
    given(Approval, id, [asked(), approved])
      .when((it) => void expect(it.expireDue(expiresAt)).toBe(false))
      .then([]);
  });

  test("expires early when who asked needs it no longer", () => {
    given(Approval, id, [asked()])
      .when((it) => it.expire(agent, later))
      .then([
        [
          ApprovalExpired,
          {
            ...about,
            at: later,
            expiredBy: { actor: { type: "agent", id: "sales" }, onBehalfOf: { type: "user", id: "ann" } },
          },
        ],
      ]);
  });
});

describe("an approver", () => {
  const verdicts: readonly ((it: Approval, by: typeof ann) => void)[] = [
    (it, by) => it.approve(hash, by, later),
    (it, by) => it.edit(hash, { to: "x" }, by, later),
    (it, by) => it.reject(undefined, by, later),
  ];
  const refused = (by: typeof ann, because: "agent" | "system" | "requester", fourEyes = false) => {
    for (const verdict of verdicts)
      given(Approval, id, [asked(fourEyes)])
        .when((it) => verdict(it, by))
        .thenThrows(ApproverNotAllowed, { approvalId: id, because });
  };

  test("is never an agent, and never the system, on whoever's behalf", () => {
    refused(agent, "agent");
    refused({ ...agent, onBehalfOf: { type: "user", id: "bob" } }, "agent");
    refused({ tenant: "acme", actor: { type: "system", id: "x" }, onBehalfOf: { type: "user", id: "bob" } }, "system");
    refused(toPrincipal({ tenant: "acme", system: "x" }), "system");
  });

  test("under four eyes is not who asked, nor for whom, nor one who acts for them", () => {
    refused(ann, "requester", true);
    refused(
      { tenant: "acme", actor: { type: "service", id: "chat" }, onBehalfOf: { type: "user", id: "ann" } },
      "requester",
      true,
    );
    given(Approval, id, [asked(true)])
      .when((it) => it.approve(hash, bob, later))
      .then([approved]);
    // A service account of the same name is somebody else.
    given(Approval, id, [asked(true)])
      .when((it) => it.reject(undefined, toPrincipal({ tenant: "acme", service: "ann" }), later))
      .then([[ApprovalRejected, { ...about, at: later, decidedBy: { actor: { type: "service", id: "ann" } } }]]);
  });

  test("without four eyes may be who asked", () => {
    given(Approval, id, [asked()])
      .when((it) => it.approve(hash, ann, later))
      .then([[ApprovalApproved, { ...about, at: later, decidedBy: { actor: { type: "user", id: "ann" } } }]]);
  });
});
