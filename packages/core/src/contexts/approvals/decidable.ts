import { toInstant } from "../../kernel/clock.ts";
import type { QueryContext } from "../../kernel/context.ts";
import type { Page } from "../../kernel/store.ts";
import { Approval } from "./approval.ts";
import type { Approvals } from "./contract.ts";

type Reader = Pick<QueryContext<Approvals, never>, "find" | "can" | "principal" | "now">;

/** Pages that one call may look at in search of what its caller may decide. */
const MOST_PAGES = 10;

/** What the caller may decide now, the first to expire first: as deciding it would find, apart from who is quicker. */
export async function decidablePage(
  ctx: Reader,
  query: {
    readonly where: { readonly subjectType?: string | undefined; readonly subjectId?: string | undefined };
    readonly limit?: number | undefined;
    readonly after?: string | undefined;
  },
): Promise<Page<Approval>> {
  if (!(await ctx.can("approvals:decide"))) return { items: [] };
  // Many wait for the same permission.
  const known = new Map<string, Promise<boolean>>();
  const can = (permission: string) => {
    const answer = known.get(permission) ?? ctx.can(permission);
    known.set(permission, answer);
    return answer;
  };
  const isDecidable = async (approval: Approval) =>
    approval.refuses(ctx.principal) === undefined &&
    (approval.state.permission === undefined || (await can(approval.state.permission)));

  let { after } = query;
  for (let pages = 1; ; pages += 1) {
    const { items, next } = await ctx.find(Approval, {
      ...query,
      after,
      where: { ...query.where, status: "pending" },
      range: { field: "expiresAt", gte: toInstant(Date.parse(ctx.now) + 1) },
      orderBy: "expiresAt",
    });
    const decidable = await Promise.all(items.map(isDecidable));
    const found = items.filter((_, at) => decidable[at]);
    if (found.length > 0 || next === undefined || pages === MOST_PAGES) return { items: found, next };
    after = next;
  }
}
