import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import { callHash } from "../../kernel/call-hash.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import { jsonObject } from "../../kernel/json.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { JsonObject } from "../../kernel/schema.ts";
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
  type approvalId,
  approvalParty,
  approvalRisk,
  approvalStatus,
} from "./contract.ts";
import { checkEdited } from "./input-schema.ts";

const at = z.iso.datetime();

const state = z.object({
  status: approvalStatus,
  subjectType: z.string(),
  subjectId: z.string(),
  action: z.string(),
  title: z.string().optional(),
  arguments: jsonObject,
  hash: z.string(),
  inputSchema: jsonObject.optional(),
  permission: z.string().optional(),
  risk: approvalRisk,
  fourEyes: z.boolean(),
  requestedBy: approvalParty,
  createdAt: at,
  expiresAt: at,
  /** Id of the delayed command that ends it. */
  timer: z.string(),
  decidedBy: approvalParty.optional(),
  decidedAt: at.optional(),
  reason: z.string().optional(),
  editedArguments: jsonObject.optional(),
  editedHash: z.string().optional(),
});
export type ApprovalState = z.infer<typeof state>;
type PartyOf = z.infer<typeof approvalParty>;

/** What stands in the approval and in no event: arguments, and what is said of them, may hold personal data. */
type Asked = Pick<ApprovalState, "arguments" | "title" | "inputSchema" | "timer">;

type Event =
  | Withholding<EventOf<typeof ApprovalRequested>, Asked>
  | EventOf<typeof ApprovalApproved>
  | Withholding<EventOf<typeof ApprovalRejected>, Pick<ApprovalState, "reason">>
  | Withholding<EventOf<typeof ApprovalEdited>, Required<Pick<ApprovalState, "editedArguments">>>
  | EventOf<typeof ApprovalExpired>;

/** What is asked for, apart from how it is shown and how long it waits. */
export interface ApprovalRequest {
  readonly subject: { readonly type: string; readonly id: string };
  readonly action: string;
  readonly title?: string | undefined;
  readonly arguments: JsonObject;
  readonly inputSchema?: JsonObject | undefined;
  readonly permission?: string | undefined;
  readonly risk: ApprovalState["risk"];
  readonly fourEyes: boolean;
}

/** A call that waits for a person's verdict, of which there is one. */
export class Approval extends AggregateRoot<ApprovalState, Event> {
  declare readonly id: z.infer<typeof approvalId>;
  static readonly definition = defineAggregate("approval", {
    state,
    events: [ApprovalRequested, ApprovalApproved, ApprovalRejected, ApprovalEdited, ApprovalExpired],
    index: ["status", "subjectType", "subjectId", "createdAt", "expiresAt"],
  });

  static request(
    id: string,
    request: ApprovalRequest,
    by: Principal,
    { expiresAt, timer, at }: { readonly expiresAt: Instant; readonly timer: string; readonly at: Instant },
  ): Approval {
    const approval = new Approval(id);
    const { subject, action, title, arguments: args, inputSchema, permission, risk, fourEyes } = request;
    approval.raise(
      ApprovalRequested,
      {
        approvalId: approval.id,
        subject,
        action,
        hash: callHash(action, args),
        permission,
        risk,
        fourEyes,
        requestedBy: partyOf(by),
        expiresAt,
        at,
      },
      { arguments: args, title, inputSchema, timer },
    );
    return approval;
  }

  /**
   * Throws unless this is what is asked for again. Whose approval is enough must be the same too: otherwise somebody
   * could ask first under an id that is to come, for less.
   */
  mustBe(request: ApprovalRequest, by: Principal): void {
    const { state } = this;
    const { subject, action, permission, risk, fourEyes } = request;
    const same =
      callHash(action, request.arguments) === state.hash &&
      subject.type === state.subjectType &&
      subject.id === state.subjectId &&
      permission === state.permission &&
      risk === state.risk &&
      fourEyes === state.fourEyes &&
      peopleOf(partyOf(by)).join(" ") === peopleOf(state.requestedBy).join(" ");
    if (!same) throw new ApprovalRequestedOtherwise({ approvalId: this.id, hash: state.hash });
  }

  /** Approves the call that has this hash. Without effect when just that was decided before. */
  approve(hash: string, by: Principal, at: Instant): void {
    const decidedBy = this.#approver(by);
    if (this.state.status === "approved" && this.state.hash === hash) return;
    this.#mustWait(at);
    this.#mustHave(hash);
    this.raise(ApprovalApproved, { ...this.#about(at), decidedBy });
  }

  /** Approves the call with other arguments. Without effect when just that was decided before. */
  edit(hash: string, args: JsonObject, by: Principal, at: Instant): void {
    const decidedBy = this.#approver(by);
    const { action, inputSchema, status } = this.state;
    const editedHash = callHash(action, args);
    if (status === "edited" && this.state.hash === hash && this.state.editedHash === editedHash) return;
    this.#mustWait(at);
    this.#mustHave(hash);
    if (inputSchema !== undefined) checkEdited(inputSchema, args);
    this.raise(ApprovalEdited, { ...this.#about(at), editedHash, decidedBy }, { editedArguments: args });
  }

  /** Rejects the call. Without effect when it was rejected before; the first reason stays. */
  reject(reason: string | undefined, by: Principal, at: Instant): void {
    const decidedBy = this.#approver(by);
    if (this.state.status === "rejected") return;
    this.#mustWait(at);
    this.raise(ApprovalRejected, { ...this.#about(at), decidedBy }, { reason });
  }

  /** Ends it before its time. Without effect when it has ended so. */
  expire(by: Principal, at: Instant): void {
    if (this.state.status === "expired") return;
    if (this.state.status !== "pending") throw this.#alreadyDecided();
    this.raise(ApprovalExpired, { ...this.#about(at), expiredBy: partyOf(by) });
  }

  /**
   * Ends it when its time is over.
   *
   * @returns whether it still waits: the clock of who calls is behind
   */
  expireDue(at: Instant): boolean {
    if (this.state.status !== "pending") return false;
    if (!this.#isOver(at)) return true;
    this.raise(ApprovalExpired, this.#about(at));
    return false;
  }

  /** Why this principal can decide on it by no permission, if so. */
  refuses(by: Principal): "agent" | "system" | "requester" | undefined {
    if (by.actor.type === "agent" || by.actor.type === "system") return by.actor.type;
    const asked = peopleOf(this.state.requestedBy);
    return this.state.fourEyes && peopleOf(partyOf(by)).some((each) => asked.includes(each)) ? "requester" : undefined;
  }

  #approver(by: Principal): PartyOf {
    const because = this.refuses(by);
    if (because !== undefined) throw new ApproverNotAllowed({ approvalId: this.id, because });
    return partyOf(by);
  }

  #mustWait(at: Instant): void {
    const { status, expiresAt, decidedAt } = this.state;
    if (status === "expired") throw new ApprovalHasExpired({ approvalId: this.id, expiredAt: decidedAt ?? expiresAt });
    if (status !== "pending") throw this.#alreadyDecided();
    // Whether or not the timer was there yet.
    if (this.#isOver(at)) throw new ApprovalHasExpired({ approvalId: this.id, expiredAt: expiresAt });
  }

  #mustHave(hash: string): void {
    if (this.state.hash !== hash) throw new ApprovalStale({ approvalId: this.id, hash: this.state.hash });
  }

  #isOver(at: Instant): boolean {
    return Date.parse(at) >= Date.parse(this.state.expiresAt);
  }

  #alreadyDecided(): ApprovalAlreadyDecided {
    const { status, decidedAt, createdAt } = this.state;
    return new ApprovalAlreadyDecided({ approvalId: this.id, status, decidedAt: decidedAt ?? createdAt });
  }

  #about(at: Instant) {
    const { subjectType: type, subjectId: id, action, hash } = this.state;
    return { approvalId: this.id, subject: { type, id }, action, hash, at };
  }

  protected override evolve(state: ApprovalState | undefined, event: Event): ApprovalState {
    if (event.type === "approval.requested") {
      const { approvalId: _, subject, at: createdAt, ...asked } = event.data;
      const about = { subjectType: subject.type, subjectId: subject.id, createdAt };
      return { ...event.withheld, ...asked, ...about, status: "pending" };
    }
    const before = state!;
    const { at: decidedAt } = event.data;
    switch (event.type) {
      case "approval.approved":
        return { ...before, status: "approved", decidedBy: event.data.decidedBy, decidedAt };
      case "approval.rejected":
        return { ...before, ...event.withheld, status: "rejected", decidedBy: event.data.decidedBy, decidedAt };
      case "approval.edited": {
        const { decidedBy, editedHash } = event.data;
        return { ...before, ...event.withheld, editedHash, status: "edited", decidedBy, decidedAt };
      }
      case "approval.expired":
        return { ...before, status: "expired", decidedBy: event.data.expiredBy, decidedAt };
    }
  }
}

function partyOf({ actor, onBehalfOf }: Principal): PartyOf {
  const self = { type: actor.type, id: actor.id };
  return onBehalfOf === undefined
    ? { actor: self }
    : { actor: self, onBehalfOf: { type: onBehalfOf.type, id: onBehalfOf.id } };
}

/** The users and service accounts behind a call. An agent is neither. */
function peopleOf({ actor, onBehalfOf }: PartyOf): readonly string[] {
  const parties = [actor, ...(onBehalfOf === undefined ? [] : [onBehalfOf])];
  return parties.filter(({ type }) => type === "user" || type === "service").map(({ type, id }) => `${type}:${id}`);
}
