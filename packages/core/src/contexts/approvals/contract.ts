import { z } from "zod";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent } from "../../kernel/event.ts";
import { json, jsonObject } from "../../kernel/json.ts";
import { pageOf, paging } from "../../kernel/paging.ts";
import type { JsonObject } from "../../kernel/schema.ts";
import { sensitive } from "../../kernel/sensitive.ts";

const at = z.iso.datetime();

/** The asker's own id of it, so that who asks twice asks once, or one that is made. */
export const approvalId = z.templateLiteral(["apr_", z.string().regex(/^[0-9A-Za-z_-]{1,100}$/)]);
export const approvalStatus = z.enum(["pending", "approved", "rejected", "edited", "expired"]);
/** Whose call it was that is asked for, or that decided. */
export const approvalParty = z.object({
  actor: z.object({ type: z.enum(["user", "service", "agent", "system"]), id: z.string() }),
  onBehalfOf: z.object({ type: z.enum(["user", "service"]), id: z.string() }).optional(),
});
export const approvalRisk = z.enum(["read", "write", "irreversible"]);

/** These stand in events for good: names of code and ids, which no personal data fits into. */
const action = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$/, "must be 1 to 200 letters, digits and . _ : / -");
const subjectType = z
  .string()
  .regex(/^[a-z][A-Za-z0-9._]{0,99}$/, "must be 1 to 100 letters, digits and . _, and start with a small letter");
const subjectId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:|+~/-]{0,199}$/, "must be 1 to 200 letters, digits and . _ : | + ~ / -");
const subject = z.object({ type: subjectType, id: subjectId });
const permission = z
  .string()
  .max(200)
  .regex(/^[a-z][a-z0-9_]*(:[A-Za-z0-9_.-]+)+$/, 'must read like "connectors:invoke"');
const hash = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "must be a SHA-256 in base64url, as an approval shows it");

const MOST_DEPTH = 64;
const KIB = 1024;

function object(mostKib: number) {
  return z
    .record(z.string(), json)
    .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= mostKib * KIB, {
      error: `must be at most ${mostKib} KiB as JSON`,
    })
    .refine((value) => depthOf(value) <= MOST_DEPTH, {
      error: `must be nested at most ${MOST_DEPTH} deep`,
    }) as unknown as z.ZodType<JsonObject>;
}

// Not by recursion: how deep it goes is what is asked.
function depthOf(value: unknown): number {
  let level: unknown[] = [value];
  let depth = 0;
  for (; level.length > 0 && depth <= MOST_DEPTH; depth += 1)
    level = level.flatMap((each) => (each !== null && typeof each === "object" ? Object.values(each) : []));
  return depth;
}

/** What would be done it to. It may hold personal data: it stands in the approval, and in no event, audit row or log. */
const callArguments = sensitive(object(256));
const stored = sensitive(jsonObject);
const title = sensitive(z.string().trim().min(1).max(500));
const reason = sensitive(z.string().trim().min(1).max(2_000));

/** What each event says. None has the arguments, the title or a reason. */
const about = { approvalId, subject, action, hash, at };

export const ApprovalRequested = defineEvent("approval.requested", {
  version: 1,
  data: z.object({
    ...about,
    permission: permission.optional(),
    risk: approvalRisk,
    fourEyes: z.boolean(),
    requestedBy: approvalParty,
    expiresAt: at,
  }),
});
export const ApprovalApproved = defineEvent("approval.approved", {
  version: 1,
  data: z.object({ ...about, decidedBy: approvalParty }),
});
export const ApprovalRejected = defineEvent("approval.rejected", {
  version: 1,
  data: z.object({ ...about, decidedBy: approvalParty }),
});
/** Approved with other arguments than those that were asked for. */
export const ApprovalEdited = defineEvent("approval.edited", {
  version: 1,
  data: z.object({
    ...about,
    /** Hash of the action and the edited arguments: what may run now. */
    editedHash: hash,
    decidedBy: approvalParty,
  }),
});
export const ApprovalExpired = defineEvent("approval.expired", {
  version: 1,
  data: z.object({
    ...about,
    /** Who needed it no longer; absent when its time was over. */
    expiredBy: approvalParty.optional(),
  }),
});

/** The hash is not that of the arguments that wait: what was looked at is another call. Look again. */
export class ApprovalStale extends defineError("approval.stale", {
  kind: "precondition",
  details: z.object({ approvalId, hash: z.string() }),
  message: ({ approvalId, hash }) =>
    `The approval "${approvalId}" is for other arguments (hash ${hash}) than those that were decided on.`,
}) {}

/** Somebody has decided otherwise. */
export class ApprovalAlreadyDecided extends defineError("approval.already_decided", {
  kind: "precondition",
  details: z.object({ approvalId, status: approvalStatus, decidedAt: at }),
  message: ({ approvalId, status, decidedAt }) => `The approval "${approvalId}" is ${status} since ${decidedAt}.`,
}) {}

/** Its time is over, or whoever asked needs it no longer. */
export class ApprovalHasExpired extends defineError("approval.expired", {
  kind: "precondition",
  details: z.object({ approvalId, expiredAt: at }),
  message: ({ approvalId, expiredAt }) => `The approval "${approvalId}" has expired at ${expiredAt}.`,
}) {}

/** The id is taken by a request for something else. */
export class ApprovalRequestedOtherwise extends defineError("approval.requested_otherwise", {
  kind: "conflict",
  details: z.object({ approvalId, hash: z.string() }),
  message: ({ approvalId, hash }) => `The approval "${approvalId}" was requested for another call (hash ${hash}).`,
}) {}

/** An approval is a person's or a service account's to give; under four eyes not the one's who asked. */
export class ApproverNotAllowed extends defineError("approval.approver_not_allowed", {
  kind: "forbidden",
  details: z.object({ approvalId, because: z.enum(["agent", "system", "requester"]) }),
  message: ({ approvalId, because }) =>
    because === "requester"
      ? `Who has requested the approval "${approvalId}", or for whom it was requested, cannot decide on it.`
      : `The approval "${approvalId}" cannot be decided on by ${because === "agent" ? "an agent" : "the system"}.`,
}) {}

const deciding = [ApprovalAlreadyDecided, ApprovalHasExpired, ApproverNotAllowed] as const;

const approvalView = z.object({
  approvalId,
  version: z.int(),
  /** What waits: `agents.run` and its id, say. Who asked has named it. */
  subject,
  /** What would be done: id of an operation, or name of a tool. */
  action,
  /** Of the action and the exact arguments; deciding takes it. */
  hash,
  /** What an approver must hold besides `approvals:decide`. */
  permission: permission.optional(),
  risk: approvalRisk,
  /** Whether who asked, or for whom, cannot decide. */
  fourEyes: z.boolean(),
  requestedBy: approvalParty,
  /** Stays pending for a moment past `expiresAt`, in which nothing can be decided any more. */
  status: approvalStatus,
  createdAt: at,
  expiresAt: at,
  decidedBy: approvalParty.optional(),
  decidedAt: at.optional(),
  /** Of the action and the edited arguments, which are to run instead. */
  editedHash: hash.optional(),
});
export type ApprovalView = z.infer<typeof approvalView>;

const listedApproval = approvalView.extend({
  /** Without what is invisible, which may leave nothing. */
  title: sensitive(z.string()).optional(),
});

const approvalDetails = listedApproval.extend({
  /** Exactly what would be done. */
  arguments: stored,
  /** The arguments as a person sees them: keys and texts without what is invisible. Show these. */
  shown: stored,
  /** Whether the title or any arguments hold something invisible. */
  stripped: z.boolean(),
  /** JSON Schema that edited arguments must fit. */
  inputSchema: stored.optional(),
  /** Why it was rejected. */
  reason: sensitive(z.string()).optional(),
  /** What is to run instead. */
  editedArguments: stored.optional(),
  editedShown: stored.optional(),
});
export type ApprovalDetails = z.infer<typeof approvalDetails>;

const byId = z.strictObject({ approvalId });

const contract = defineContract(
  "approvals",
  {
    request: command({
      input: z.strictObject({
        /** With the same id and the same call, the approval that is there already. */
        approvalId: approvalId.optional(),
        subject: z.strictObject({ type: subjectType, id: subjectId }),
        action,
        title: title.optional(),
        arguments: callArguments,
        /** JSON Schema of an object; without it an approver may edit the arguments to anything. */
        inputSchema: sensitive(object(64)).optional(),
        /** What an approver must hold besides `approvals:decide`. */
        permission: permission.optional(),
        risk: approvalRisk,
        fourEyes: z.boolean().default(false),
        /** 7 days from now when absent; 90 days at most. */
        expiresAt: at.optional(),
      }),
      output: approvalView,
      errors: [ApprovalRequestedOtherwise],
      permission: "approvals:request",
      http: "POST /approvals",
      target: "approvalId",
      summary: "Asks for a person's approval of one call, with its exact arguments.",
    }),
    approve: command({
      input: byId.extend({ hash }),
      output: approvalView,
      errors: [...deciding, ApprovalStale],
      permission: "approvals:decide",
      http: "POST /approvals/{approvalId}/approve",
      summary: "Approves the call whose arguments have this hash.",
    }),
    edit: command({
      input: byId.extend({ hash, arguments: callArguments }),
      output: approvalView,
      errors: [...deciding, ApprovalStale],
      permission: "approvals:decide",
      http: "POST /approvals/{approvalId}/edit",
      summary: "Approves the call with other arguments than those that were asked for.",
    }),
    reject: command({
      input: byId.extend({ reason: reason.optional() }),
      output: approvalView,
      errors: deciding,
      permission: "approvals:decide",
      http: "POST /approvals/{approvalId}/reject",
      summary: "Rejects the call: it is never to run.",
    }),
    expire: command({
      input: byId,
      output: approvalView,
      errors: [ApprovalAlreadyDecided],
      permission: "approvals:request",
      http: "POST /approvals/{approvalId}/expire",
      summary: "Ends an approval that nobody needs any more, before its time.",
    }),
    expireDue: command({
      input: byId,
      permission: "internal",
      summary: "Ends an approval whose time is over.",
    }),
    get: query({
      input: byId,
      output: approvalDetails,
      permission: "approvals:read",
      http: "GET /approvals/{approvalId}",
      summary: "Shows an approval with its arguments, exactly and as a person sees them.",
    }),
    list: query({
      input: z.strictObject({
        ...paging,
        status: approvalStatus.optional(),
        subjectType: subjectType.optional(),
        subjectId: subjectId.optional(),
        /** Only what the caller may decide now. A page may then hold fewer than `limit`, or none, and have a `next`. */
        decidable: z.boolean().optional(),
      }),
      output: pageOf(listedApproval),
      permission: "approvals:read",
      http: "GET /approvals",
      summary: "Lists approvals, the oldest first; of those that the caller may decide, the first to expire.",
    }),
  },
  { events: [ApprovalRequested, ApprovalApproved, ApprovalRejected, ApprovalEdited, ApprovalExpired] },
);

export interface Approvals extends Readonly<typeof contract> {}
/** Calls that wait for a person: requested with their exact arguments, and approved, rejected, edited or expired. */
export const approvals: Approvals = contract;
