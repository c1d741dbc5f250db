import type { QueryContext } from "../../kernel/context.ts";
import type { ActivityContext } from "../../kernel/execution.ts";
import { Agent } from "./agent.ts";
import { type AgentDefinition, defineAgent } from "./agent-definition.ts";
import { AgentRegistry, type Asked } from "./agent-registry.ts";
import { type Agents, AgentsNotOffered } from "./contract.ts";
import { AgentOffer, AgentVersion, agentVersionId, type TenantAgents } from "./own-agent.ts";
import { ownCalls } from "./own-calls.ts";

type Reads = Pick<QueryContext<Agents, never>, "load" | "tryLoad" | "findAll">;

/** All agents that there are for a tenant: the host's, and those that it has made itself. */
export class AgentCatalog {
  readonly host: AgentRegistry;
  readonly #offer: AgentOffer | undefined;

  /** @throws {TypeError | NotFound} what tenants are offered cannot be */
  constructor(
    definitions: readonly AgentDefinition[],
    router: AgentDefinition | undefined,
    tenantAgents: TenantAgents | undefined,
  ) {
    this.host = new AgentRegistry(definitions, router);
    if (tenantAgents === undefined) return;
    const texts = { id: "tenant-agents", summary: "", instructions: "" };
    const template = defineAgent({ ...tenantAgents, ...texts });
    for (const { delegate } of template.tools) if (delegate !== undefined) this.host.find(delegate.agent);
    this.#offer = new AgentOffer(tenantAgents, template);
  }

  /** @throws {AgentsNotOffered} tenants make no agents here */
  get offer(): AgentOffer {
    if (this.#offer === undefined) throw new AgentsNotOffered({});
    return this.#offer;
  }

  get isEmpty(): boolean {
    return this.#offer === undefined && this.host.newest.length === 0;
  }

  /** Whether it is a tenant's. No agent of the host's has such an id. */
  isOwn(id: string): id is `agt_${string}` {
    return id.startsWith("agt_");
  }

  /**
   * The newest version, or the given one.
   *
   * @throws {NotFound | AgentsNotOffered | AgentBeyondOffer}
   */
  async find(ctx: Reads, id: string, version?: number): Promise<AgentDefinition> {
    if (!this.isOwn(id)) return this.host.find(id, version);
    const found = await this.#stored(ctx, id, version);
    return this.offer.workingDefinitionOf(id, found.version, found.definition);
  }

  /**
   * The same for who only looks at it: one that cannot work any more is shown too.
   *
   * @throws {NotFound | AgentsNotOffered}
   */
  async shown(ctx: Reads, id: string, version?: number): Promise<AgentDefinition> {
    if (!this.isOwn(id)) return this.host.find(id, version);
    const found = await this.#stored(ctx, id, version);
    return this.offer.definitionOf(id, found.version, found.definition);
  }

  async #stored(ctx: Reads, id: string, version: number | undefined) {
    const number = version ?? (await ctx.load(Agent, id)).ownVersion;
    const { state } = await ctx.load(AgentVersion, agentVersionId(id, number));
    return { version: number, definition: state };
  }

  /** The same for an activity. */
  async at(ctx: Pick<ActivityContext, "use">, id: string, version?: number): Promise<AgentDefinition> {
    if (!this.isOwn(id)) return this.host.find(id, version);
    const found = await ownCalls(ctx).ownVersion({ agent: id, version });
    return this.offer.workingDefinitionOf(id, found.version, found.definition);
  }

  /** What a tenant lets it do. */
  async status(ctx: Reads, id: string): Promise<Agent["status"]> {
    return (await ctx.tryLoad(Agent, id))?.status ?? "active";
  }

  /** Those of the tenant's own that fit. */
  async own(ctx: Reads, asked: Asked, status?: Agent["status"]): Promise<readonly Agent[]> {
    const found: Agent[] = [];
    if (this.#offer === undefined) return found;
    for await (const agent of ctx.findAll(Agent, { where: { status } })) if (agent.fits(asked)) found.push(agent);
    return found;
  }

  /**
   * The agent that is asked for by id, or the active ones that fit: the host's first.
   *
   * @throws {NotFound | NoAgentFits | AgentsNotOffered | AgentBeyondOffer}
   */
  async route(ctx: Reads, asked: Asked): Promise<readonly [AgentDefinition, ...AgentDefinition[]]> {
    if (asked.agent !== undefined) return [await this.find(ctx, asked.agent)];
    const own = await this.own(ctx, asked, "active");
    return this.host.route(
      asked,
      async (id) => (await this.status(ctx, id)) === "active",
      own.map(({ id }) => async () => {
        const shown = await this.shown(ctx, id);
        return shown.models.length === 0 ? undefined : shown;
      }),
    );
  }
}
