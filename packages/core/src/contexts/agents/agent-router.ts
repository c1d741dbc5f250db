import { z } from "zod";
import { ArmatureError } from "../../kernel/errors.ts";
import {
  type ActivityContext,
  ExecutionCanceled,
  type ExecutionContext,
  type ExecutionDefinition,
} from "../../kernel/execution.ts";
import type { ModelMessage } from "../../kernel/model-messages.ts";
import type { Json, Schema } from "../../kernel/schema.ts";
import type { AgentCatalog } from "./agent-catalog.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { answerOf, endOf } from "./agent-loop.ts";
import { AGENT_ROUTING } from "./begin-run.ts";
import { AgentLimitReached, HandoffFailed, type routed } from "./contract.ts";
import type { ModelClient } from "./model-client.ts";
import { askModel, modelStep } from "./model-step.ts";
import { ownCalls } from "./own-calls.ts";

const routingArguments = z.strictObject({
  runId: z.templateLiteral(["run_", z.string()]),
  router: z.string(),
  version: z.int(),
  candidates: z.array(z.string()).min(2),
});

const RULE = "Say which of these agents is to answer:";

/** The router as it is asked: it says one of the agents, and does nothing else. */
export function asRouter(router: AgentDefinition, candidates: readonly AgentDefinition[]): AgentDefinition {
  const lines = candidates.map(({ id, summary, capabilities, taskTypes }) => {
    const words = [...capabilities, ...taskTypes].join(", ");
    return `- ${id}: ${summary}${words === "" ? "" : ` (${words})`}`;
  });
  return {
    ...router,
    instructions: [router.instructions, "", RULE, ...lines].join("\n"),
    tools: [],
    output: z.strictObject({ agent: z.enum(candidates.map(({ id }) => id)) }),
  };
}

/**
 * The execution of a run for which rules leave several agents: the router is asked once, and hands the conversation over.
 * One that names none of them, or does not answer, leaves it to the first.
 */
export function agentRoutingDefinition(catalog: AgentCatalog, model: ModelClient): ExecutionDefinition {
  return {
    ...AGENT_ROUTING,
    ended: "ended",
    activities: {
      route: {
        output: modelStep as unknown as Schema,
        retry: { attempts: 2 },
        timeoutMs: 120_000,
        system: true,
        run: async (given: Json, ctx: ActivityContext) => {
          const { runId, router, version, candidates } = routingArguments.parse(given);
          const { messages } = await ownCalls(ctx).transcript({ runId });
          const asked = asRouter(
            await catalog.at(ctx, router, version),
            await Promise.all(candidates.map((id) => catalog.at(ctx, id))),
          );
          return askModel(model, asked, { messages: messages as unknown as readonly ModelMessage[] }, ctx.signal);
        },
      },
      // As the agent for its user: what it passes on is what that one may do.
      "record-route": { operation: "agents.recordRoute" },
    },
    run: async (ctx, given) => {
      const args = routingArguments.parse(given);
      const { runId, candidates } = args;
      const { handedTo, stop, refused } = (await ctx.activity("record-route", {
        ...{ runId, candidates },
        ...(await ask(ctx, args as unknown as Json)),
      } as unknown as Json)) as z.infer<typeof routed>;
      if (stop !== undefined) throw new AgentLimitReached({ runId, limit: stop });
      if (handedTo === undefined) throw new HandoffFailed({ runId, ...refused! });
      return answerOf(handedTo, await endOf(ctx, handedTo)) as Json;
    },
  };
}

async function ask(ctx: ExecutionContext, args: Json) {
  try {
    const { output, usage, model, nanos, currency } = modelStep.parse(await ctx.activity("route", args));
    const { agent } = z.object({ agent: z.string() }).parse(output ?? { agent: "" });
    return { answer: { agent, usage, model, nanos, currency } };
  } catch (error) {
    if (error instanceof ExecutionCanceled || !(error instanceof ArmatureError)) throw error;
    return {};
  }
}
