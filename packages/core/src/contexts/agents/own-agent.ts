import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { AgentDefinition, AgentLimits } from "./agent-definition.ts";
import { AgentBeyondOffer, AgentVersionWritten, type OwnAgent, ownAgent } from "./contract.ts";
import type { Guardrail } from "./guardrail.ts";
import type { Tool } from "./tool.ts";

/** What tenants can make agents of. Nothing that is not in here can be in one of theirs. */
export interface TenantAgents {
  /** Names of the host's models; the first is asked by an agent that names none. */
  readonly models: readonly [string, ...string[]];
  readonly tools?: readonly (Tool | readonly Tool[])[];
  /** What no agent of a tenant goes beyond, and what one has that says nothing. Those of `defineAgent` when absent. */
  readonly limits?: AgentLimits;
  /** From which risk on a person has to approve, at the latest: `write` when absent. */
  readonly approvalFrom?: AgentDefinition["approvalFrom"];
  /** What stands between each of them and its model. */
  readonly guardrails?: readonly Guardrail[];
  /** How many a tenant may have that are not retired. Default 100. */
  readonly perTenant?: number;
}

type Event = Withholding<EventOf<typeof AgentVersionWritten>, { readonly definition: OwnAgent }>;

/** One version of a tenant's agent. It is never changed: runs that were started with it keep to it. */
export class AgentVersion extends AggregateRoot<OwnAgent, Event> {
  static readonly definition = defineAggregate("agent_version", { state: ownAgent, events: [AgentVersionWritten] });

  static of(agent: `agt_${string}`, version: number, definition: OwnAgent, at: Instant): AgentVersion {
    const written = new AgentVersion(agentVersionId(agent, version));
    written.raise(AgentVersionWritten, { agent, version, at }, { definition });
    return written;
  }

  protected override evolve(_: OwnAgent | undefined, { withheld }: Event): OwnAgent {
    return withheld.definition;
  }
}

export function agentVersionId(agent: string, version: number): string {
  return `${agent}@${version}`;
}

const APPROVALS: readonly AgentDefinition["approvalFrom"][] = ["write", "irreversible", "never"];

/** What a tenant has said of an agent, and what the host lets it have. */
export class AgentOffer {
  readonly #models: readonly string[];
  readonly #tools: readonly Tool[];
  readonly #limits: AgentDefinition["limits"];
  readonly #approvalFrom: AgentDefinition["approvalFrom"];
  readonly #guardrails: readonly Guardrail[];
  readonly perTenant: number;

  /** @param template an agent with the offer's tools, limits and so on, which has checked them */
  constructor({ perTenant = 100 }: TenantAgents, template: AgentDefinition) {
    this.#models = template.models;
    this.#tools = template.tools;
    this.#limits = template.limits;
    this.#approvalFrom = template.approvalFrom;
    this.#guardrails = template.guardrails;
    this.perTenant = perTenant;
  }

  /** @throws {AgentBeyondOffer} it asks for what the host does not offer */
  check({ models = [], tools, limits, approvalFrom }: OwnAgent): void {
    const refuse = (what: string, names: readonly string[]) => {
      if (names.length > 0) throw new AgentBeyondOffer({ what, names: [...names] });
    };
    refuse(
      "models",
      models.filter((name) => !this.#models.includes(name)),
    );
    refuse(
      "tools",
      tools.filter((name) => !this.#tools.some((tool) => tool.name === name)),
    );
    refuse(
      "limits",
      Object.entries(this.#bounded(limits)).flatMap(([name, bound]) =>
        limits[name as keyof typeof limits] === bound ? [] : [`${name} above ${bound}`],
      ),
    );
    if (approvalFrom !== undefined && this.#stricter(approvalFrom) !== approvalFrom)
      refuse("approvals", [`none before "${approvalFrom}"`]);
  }

  /** The agent as it works, or as it is shown when none of its models is offered any more. */
  definitionOf(id: string, version: number, stored: OwnAgent): AgentDefinition {
    const models = this.#modelsOf(stored).filter((name) => this.#models.includes(name));
    return {
      ...{ id, version, models, summary: stored.summary, instructions: stored.instructions },
      ...{ capabilities: stored.capabilities, taskTypes: stored.taskTypes },
      tools: this.#tools.filter(({ name }) => stored.tools.includes(name)),
      limits: { ...this.#limits, ...this.#bounded(stored.limits) },
      approvalFrom: this.#stricter(stored.approvalFrom ?? this.#approvalFrom),
      output: undefined,
      guardrails: this.#guardrails,
    };
  }

  /**
   * The agent as it works: within what the host offers by now. A tool that is not offered any more is not there.
   *
   * @throws {AgentBeyondOffer} none of its models is offered any more
   */
  workingDefinitionOf(id: string, version: number, stored: OwnAgent): AgentDefinition {
    const definition = this.definitionOf(id, version, stored);
    if (definition.models.length > 0) return definition;
    throw new AgentBeyondOffer({ what: "models", names: [...this.#modelsOf(stored)] });
  }

  #modelsOf({ models }: OwnAgent): readonly string[] {
    return models ?? [this.#models[0]!];
  }

  #bounded(limits: OwnAgent["limits"]): Readonly<Record<string, number>> {
    const bounds: Readonly<Record<string, number | undefined>> = { ...this.#limits };
    return Object.fromEntries(
      Object.entries(limits).flatMap(([name, limit]) =>
        limit === undefined ? [] : [[name, Math.min(limit, bounds[name] ?? limit)]],
      ),
    );
  }

  #stricter(approvalFrom: AgentDefinition["approvalFrom"]): AgentDefinition["approvalFrom"] {
    return APPROVALS[Math.min(APPROVALS.indexOf(approvalFrom), APPROVALS.indexOf(this.#approvalFrom))]!;
  }
}
