import { type Instant, toInstant } from "../../kernel/clock.ts";
import { type CommandContext, defineContext } from "../../kernel/context.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { Approval } from "./approval.ts";
import { type Approvals, approvals } from "./contract.ts";
import { decidablePage } from "./decidable.ts";
import { checkInputSchema } from "./input-schema.ts";
import { approvalDetails, approvalView, listedApproval } from "./views.ts";

type Command = CommandContext<Approvals, never>;

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 7;
const MOST_DAYS = 90;

/** Calls that wait for a person. It knows nothing of who asks, and runs nothing itself. */
export const approvalsContext = defineContext(approvals, {
  aggregates: [Approval],
  handlers: {
    request: async ({ approvalId, expiresAt: wanted, ...request }, ctx) => {
      const known = approvalId === undefined ? undefined : await ctx.tryLoad(Approval, approvalId);
      if (known !== undefined) {
        known.mustBe(request, ctx.principal);
        return approvalView(known);
      }
      if (request.inputSchema !== undefined) checkInputSchema(request.inputSchema);
      const expiresAt = expiry(wanted, ctx.now);
      const id = approvalId ?? (ctx.newId("apr") as Approval["id"]);
      const timer = ctx.send(approvals, "expireDue", { approvalId: id }, { at: expiresAt });
      return approvalView(ctx.add(Approval.request(id, request, ctx.principal, { expiresAt, timer, at: ctx.now })));
    },
    approve: async ({ approvalId, hash }, ctx) =>
      decide(ctx, approvalId, (approval) => approval.approve(hash, ctx.principal, ctx.now)),
    edit: async ({ approvalId, hash, arguments: args }, ctx) =>
      decide(ctx, approvalId, (approval) => approval.edit(hash, args, ctx.principal, ctx.now)),
    reject: async ({ approvalId, reason }, ctx) =>
      decide(ctx, approvalId, (approval) => approval.reject(reason, ctx.principal, ctx.now)),
    expire: async ({ approvalId }, ctx) => {
      const approval = await ctx.load(Approval, approvalId);
      approval.expire(ctx.principal, ctx.now);
      ctx.unschedule(approval.state.timer);
      return approvalView(approval);
    },
    expireDue: async ({ approvalId }, ctx) => {
      const approval = await ctx.load(Approval, approvalId);
      if (approval.expireDue(ctx.now))
        ctx.send(approvals, "expireDue", { approvalId }, { at: approval.state.expiresAt });
    },
    get: async ({ approvalId }, ctx) => approvalDetails(await ctx.load(Approval, approvalId)),
    list: async ({ status, subjectType, subjectId, decidable = false, ...page }, ctx) => {
      const where = { subjectType, subjectId };
      if (decidable && status !== undefined && status !== "pending") return { items: [] };
      const { items, next } = decidable
        ? await decidablePage(ctx, { where, ...page })
        : await ctx.find(Approval, { ...page, where: { ...where, status }, orderBy: "createdAt" });
      return { items: items.map(listedApproval), next };
    },
  },
});

/** One verdict, by somebody who holds what the approval asks for at this moment. */
async function decide(ctx: Command, approvalId: string, verdict: (approval: Approval) => void) {
  const approval = await ctx.load(Approval, approvalId);
  const { permission, timer } = approval.state;
  if (permission !== undefined) await ctx.require(permission);
  verdict(approval);
  ctx.unschedule(timer);
  return approvalView(approval);
}

function expiry(wanted: Instant | undefined, now: Instant): Instant {
  const from = Date.parse(now);
  const expires = wanted === undefined ? from + DEFAULT_DAYS * DAY_MS : Date.parse(wanted);
  if (expires > from && expires <= from + MOST_DAYS * DAY_MS) return toInstant(expires);
  const message = `must be later than now, and at most ${MOST_DAYS} days from now`;
  throw new InvalidInput({ subject: "The approval", issues: [{ path: "expiresAt", message }] });
}
