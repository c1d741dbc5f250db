import type { OwnClient } from "../../kernel/contract.ts";
import type { ActivityContext } from "../../kernel/execution.ts";
import { type Agents, agents } from "./contract.ts";

/** The context's own operations, internal ones too, as its activities call them. */
export function ownCalls(ctx: Pick<ActivityContext, "use">): OwnClient<Agents> {
  return ctx.use(agents) as unknown as OwnClient<Agents>;
}
