import type { JsonObject } from "../../kernel/schema.ts";
import type { Approval } from "./approval.ts";
import type { ApprovalDetails, ApprovalView } from "./contract.ts";
import { visibleJson, visibleText } from "./visible-text.ts";

/** An approval without its arguments and texts: what commands answer with, and what may be kept. */
export function approvalView({ id, version, state }: Approval): ApprovalView {
  return {
    approvalId: id,
    version,
    subject: { type: state.subjectType, id: state.subjectId },
    action: state.action,
    hash: state.hash,
    permission: state.permission,
    risk: state.risk,
    fourEyes: state.fourEyes,
    requestedBy: state.requestedBy,
    status: state.status,
    createdAt: state.createdAt,
    expiresAt: state.expiresAt,
    decidedBy: state.decidedBy,
    decidedAt: state.decidedAt,
    editedHash: state.editedHash,
  };
}

export function listedApproval(approval: Approval) {
  const { title } = approval.state;
  return { ...approvalView(approval), title: title === undefined ? undefined : visibleText(title) };
}

export function approvalDetails(approval: Approval): ApprovalDetails {
  const { title, arguments: exact, inputSchema, reason, editedArguments } = approval.state;
  const shown = visibleJson(exact);
  const editedShown = editedArguments === undefined ? undefined : visibleJson(editedArguments);
  const listed = listedApproval(approval);
  return {
    ...listed,
    arguments: exact,
    shown,
    stripped: listed.title !== title || differs(exact, shown) || differs(editedArguments, editedShown),
    inputSchema,
    reason,
    editedArguments,
    editedShown,
  };
}

function differs(exact: JsonObject | undefined, shown: JsonObject | undefined): boolean {
  return JSON.stringify(exact) !== JSON.stringify(shown);
}
