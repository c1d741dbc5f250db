import { callHash } from "../../kernel/call-hash.ts";
import type { StreamContext } from "../../kernel/context.ts";
import type { StreamItem } from "../../kernel/contract.ts";
import { AgentRun } from "./agent-run.ts";
import type { Agents, Followed } from "./contract.ts";
import { Message } from "./conversation.ts";
import type { RunFeed } from "./run-feed.ts";
import { messageView, runView } from "./views.ts";

/** How long is waited before the store is looked into, where nothing was heard: a run may be worked on elsewhere. */
const LOOK_MS = 200;
const LONGEST_LOOK_MS = 1_000;

/**
 * A run's messages and states, from the cursor on, until it has ended. What its model writes in between comes where the
 * run is worked on in this process, under the cursor of the last durable item.
 */
export async function* followRun(
  ctx: Omit<StreamContext<Agents, never>, "use">,
  feed: RunFeed,
  runId: string,
): AsyncIterable<StreamItem<Followed>> {
  let [order = "", seen = ""] = (ctx.after ?? "").split("|");
  let wait = LOOK_MS;
  const follower = feed.follow(ctx.tenant, runId);
  try {
    for (;;) {
      // What is heard of from here on may be too new for this look.
      follower.takeChanged();
      // In this order: a run that has ended has all its messages.
      const run = await ctx.load(AgentRun, runId);
      const { conversationId, endedAt } = run.state;
      // Those of runs that it has handed over to stand behind its own.
      const place = `${run.state.order} `;
      for await (const message of ctx.findAll(Message, {
        where: { conversationId },
        orderBy: "order",
        range: { field: "order", gte: order > place ? order : place },
      })) {
        if (!message.state.order.startsWith(place)) break;
        if (message.state.order <= order) continue;
        order = message.state.order;
        yield { cursor: `${order}|${seen}`, item: { type: "message", message: messageView(message) } };
      }
      const status = statusOf(run);
      if (status !== seen) {
        seen = status;
        yield { cursor: `${order}|${seen}`, item: { type: "status", run: runView(run) } };
      }
      if (endedAt !== undefined) return;
      while (await follower.heard(ctx.clock, wait, ctx.signal)) {
        wait = LOOK_MS;
        if (follower.takeChanged()) break;
        const text = follower.takeText();
        // What belongs to a message that was told of comes too late.
        if (text === undefined || text.order <= order || !text.order.startsWith(place)) continue;
        const { order: _, ...delta } = text;
        yield { cursor: `${order}|${seen}`, item: { type: "delta", ...delta } };
      }
      if (ctx.signal.aborted) return;
      wait = Math.min(wait * 2, LONGEST_LOOK_MS);
    }
  } finally {
    follower.close();
  }
}

/** Another one whenever there is something new to see of how it stands: what it waits for, too. */
function statusOf(run: AgentRun): string {
  const { status, approvals } = runView(run);
  return approvals.length === 0 ? status : `${status} ${callHash(status, { approvals }).slice(0, 12)}`;
}
