import { z } from "zod";
import type { ActivityContext } from "../../kernel/execution.ts";
import { assistantPart, type ModelMessage, toolResultPart } from "../../kernel/model-messages.ts";
import type { Json } from "../../kernel/schema.ts";
import type { AgentCatalog } from "./agent-catalog.ts";
import { placeOf } from "./agent-run.ts";
import { compacted, fitsContext, type ReadConversation } from "./compaction.ts";
import { messageIdOf } from "./conversation.ts";
import { isShownAsWritten } from "./guardrail.ts";
import type { KeptConversation, KeptConversations } from "./kept-conversations.ts";
import type { ModelClient } from "./model-client.ts";
import { askModel, type ModelStep, withCall } from "./model-step.ts";
import { ownCalls } from "./own-calls.ts";
import type { RunFeed } from "./run-feed.ts";

const stepBefore = z.object({
  /** What its model answered. */
  content: z.array(assistantPart),
  /** What the tools came to that it asked for. */
  results: z.array(toolResultPart),
  /** When the last of these was there. */
  at: z.number(),
  /** Whether these are written down. */
  recorded: z.boolean(),
});
export type StepBefore = z.infer<typeof stepBefore>;

const modelArguments = z.object({
  runId: z.templateLiteral(["run_", z.string()]),
  step: z.int(),
  /** The step before, where it is all that is new to this one. */
  before: stepBefore.optional(),
  /** The same of the step before that one. */
  priorAt: z.number().optional(),
  /** The conversation, where the run has begun it and says its first. */
  begun: z.string().optional(),
  streamed: z.boolean().optional(),
});

/** Asks a run's model for its next step. */
export function modelActivity(
  catalog: AgentCatalog,
  model: ModelClient,
  feed: RunFeed,
  conversations: KeptConversations,
): (args: Json, ctx: ActivityContext) => Promise<ModelStep> {
  return async (args, ctx) => {
    const { runId, step, before, priorAt, begun, streamed = false } = modelArguments.parse(args);
    const said = before && saidIn(before);
    const results = before?.recorded === false ? before.results : undefined;
    const isKept = said !== undefined || begun !== undefined;
    const known = isKept ? conversations.next(ctx.tenant, runId, step, { said, begun, priorAt }) : undefined;
    const definition = known && (await catalog.at(ctx, known.agent, known.version));
    const found: KeptConversation & ReadConversation =
      known !== undefined && fitsContext(definition!, known.messages)
        ? known
        : ((await ownCalls(ctx).transcript({ runId, results })) as unknown as KeptConversation & ReadConversation);
    const agent = definition ?? (await catalog.at(ctx, found.agent, found.version));
    const { shownTo } = found;
    // What came before is durable by now.
    feed.changed(ctx.tenant, shownTo);
    const shown =
      (streamed || feed.isFollowed(ctx.tenant, shownTo)) && isShownAsWritten(agent)
        ? feed.show(ctx.tenant, shownTo, { ...placeOfAnswer(runId, found), attempt: ctx.now })
        : undefined;
    try {
      const { older } = found;
      const short = older && (await compacted(model, agent, { ...found, older }, ctx.signal));
      const read = short === undefined ? found : { ...found, ...short.read };
      const answer = await askModel(model, agent, read, ctx.signal, shown?.delta);
      if (short === undefined) {
        conversations.keep(ctx.tenant, runId, step, read, before?.at);
        return answer;
      }
      // The next step reads its summary where it is written down: another process may have made another one.
      const { summary, call } = short;
      return call === undefined ? { ...answer, summary } : withCall({ ...answer, summary }, call);
    } finally {
      shown?.end();
    }
  };
}

function saidIn({ content, results }: StepBefore): readonly ModelMessage[] {
  return [
    { role: "assistant", content },
    { role: "tool", content: results },
  ];
}

/** What its answer will be. */
function placeOfAnswer(runId: string, { order, said }: Pick<KeptConversation, "order" | "said">) {
  return { messageId: messageIdOf(runId, said), order: placeOf(order, said) };
}
