import type { CommandContext, QueryContext } from "../../kernel/context.ts";
import { Agent } from "./agent.ts";
import type { AgentCatalog } from "./agent-catalog.ts";
import { type Agents, type OwnAgent, TooManyAgents } from "./contract.ts";
import { AgentVersion, agentVersionId } from "./own-agent.ts";
import { agentView } from "./views.ts";

type Command = CommandContext<Agents, never>;
type Query = QueryContext<Agents, never>;
interface ByAgent {
  readonly agent: string;
}

/** What a tenant says of its agents: which there are, and what each may do for it. */
export function agentHandlers(catalog: AgentCatalog) {
  const agentOf = async (ctx: Command, id: string): Promise<Agent> => {
    if (catalog.isOwn(id)) return ctx.load(Agent, id);
    catalog.host.find(id);
    return (await ctx.tryLoad(Agent, id)) ?? ctx.add(new Agent(id));
  };
  return {
    list: async (
      asked: { readonly capability?: string | undefined; readonly taskType?: string | undefined },
      ctx: Query,
    ) =>
      Promise.all([
        ...catalog.host.fitting(asked).map(async (each) => agentView(each, await catalog.status(ctx, each.id))),
        ...(await catalog.own(ctx, asked)).map(async ({ id, status }) =>
          agentView(await catalog.shown(ctx, id), status),
        ),
      ]),
    describe: async ({ agent: id, version }: ByAgent & { readonly version?: number | undefined }, ctx: Query) => {
      const definition = await catalog.shown(ctx, id, version);
      const view = agentView(definition, await catalog.status(ctx, id));
      if (!catalog.isOwn(id)) return view;
      const { state } = await ctx.load(AgentVersion, agentVersionId(id, definition.version));
      return { ...view, definition: state };
    },
    create: async (definition: OwnAgent, ctx: Command) => {
      catalog.offer.check(definition);
      const { perTenant } = catalog.offer;
      const kept = (await catalog.own(ctx, {})).filter(({ status }) => status !== "retired");
      if (kept.length >= perTenant) throw new TooManyAgents({ most: perTenant });
      const agent = ctx.add(Agent.create(ctx.newId("agt") as `agt_${string}`, definition, ctx.now));
      ctx.add(AgentVersion.of(agent.id as `agt_${string}`, 1, definition, ctx.now));
      return { agent: agent.id as `agt_${string}`, version: 1 };
    },
    update: async ({ agent: id, ...definition }: { readonly agent: `agt_${string}` } & OwnAgent, ctx: Command) => {
      catalog.offer.check(definition);
      const agent = await ctx.load(Agent, id);
      const version = agent.update(definition, ctx.now);
      ctx.add(AgentVersion.of(id, version, definition, ctx.now));
      return { agent: id, version };
    },
    pause: async ({ agent }: ByAgent, ctx: Command) => (await agentOf(ctx, agent)).pause(ctx.now),
    activate: async ({ agent }: ByAgent, ctx: Command) => (await agentOf(ctx, agent)).activate(ctx.now),
    retire: async ({ agent }: ByAgent, ctx: Command) => (await agentOf(ctx, agent)).retire(ctx.now),
    ownVersion: async ({ agent, version }: ByAgent & { readonly version?: number | undefined }, ctx: Query) => {
      const number = version ?? (await ctx.load(Agent, agent)).ownVersion;
      const { state } = await ctx.load(AgentVersion, agentVersionId(agent, number));
      return { version: number, definition: state };
    },
  };
}
