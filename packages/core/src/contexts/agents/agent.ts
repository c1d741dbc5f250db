import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import { NotFound } from "../../kernel/errors.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Asked } from "./agent-registry.ts";
import {
  AgentActivated,
  AgentCreated,
  AgentNotActive,
  AgentPaused,
  AgentRetired,
  AgentUpdated,
  agentStatus,
  type OwnAgent,
} from "./contract.ts";

const state = z.strictObject({
  status: agentStatus,
  /** Of an agent that the tenant has made itself: its newest version, and what it can be asked for by. */
  own: z
    .strictObject({ version: z.int(), capabilities: z.array(z.string()), taskTypes: z.array(z.string()) })
    .optional(),
});
type AgentState = z.infer<typeof state>;
type Event =
  | EventOf<typeof AgentCreated>
  | EventOf<typeof AgentUpdated>
  | EventOf<typeof AgentPaused>
  | EventOf<typeof AgentActivated>
  | EventOf<typeof AgentRetired>;

/** What a tenant lets an agent do. One of the host's that nothing was said of is active. */
export class Agent extends AggregateRoot<AgentState, Event> {
  static readonly definition = defineAggregate("agent", {
    state,
    events: [AgentCreated, AgentUpdated, AgentPaused, AgentActivated, AgentRetired],
    index: ["status"],
  });

  /** A tenant's own, which does nothing before it is activated. */
  static create(id: `agt_${string}`, definition: OwnAgent, at: Instant): Agent {
    const agent = new Agent(id);
    agent.raise(AgentCreated, { agent: id, version: 1, ...told(definition), at });
    return agent;
  }

  /** Runs that begin from now on are of this version. */
  update(definition: OwnAgent, at: Instant): number {
    this.#mustNotBeRetired();
    const version = this.ownVersion + 1;
    this.raise(AgentUpdated, { agent: this.id as `agt_${string}`, version, ...told(definition), at });
    return version;
  }

  pause(at: Instant): void {
    this.#mustNotBeRetired();
    if (this.status === "draft") throw new AgentNotActive({ agent: this.id, status: "draft" });
    if (this.status !== "paused") this.raise(AgentPaused, { agent: this.id, at });
  }

  activate(at: Instant): void {
    this.#mustNotBeRetired();
    if (this.status !== "active") this.raise(AgentActivated, { agent: this.id, at });
  }

  retire(at: Instant): void {
    if (this.status !== "retired") this.raise(AgentRetired, { agent: this.id, at });
  }

  /** @throws {AgentNotActive} it is a draft, paused or retired */
  static mustBeActive(id: string, agent: Agent | undefined): void {
    const status = agent?.status ?? "active";
    if (status !== "active") throw new AgentNotActive({ agent: id, status });
  }

  get status(): AgentState["status"] {
    return this.version === 0 ? "active" : this.state.status;
  }

  /** The newest version of a tenant's own. Throws `NotFound` where it is the host's. */
  get ownVersion(): number {
    if (this.state.own === undefined) throw new NotFound({ type: "agent", id: this.id });
    return this.state.own.version;
  }

  /** Whether it is the tenant's own, and can do what is asked for. */
  fits({ capability, taskType }: Asked): boolean {
    const { own } = this.state;
    return (
      own !== undefined &&
      (capability === undefined || own.capabilities.includes(capability)) &&
      (taskType === undefined || own.taskTypes.includes(taskType))
    );
  }

  #mustNotBeRetired(): void {
    if (this.status === "retired") throw new AgentNotActive({ agent: this.id, status: "retired" });
  }

  protected override evolve(before: AgentState | undefined, event: Event): AgentState {
    switch (event.type) {
      case "agent.created":
      case "agent.updated": {
        const { version, capabilities, taskTypes } = event.data;
        return { status: before?.status ?? "draft", own: { version, capabilities, taskTypes } };
      }
      case "agent.paused":
        return { ...before, status: "paused" };
      case "agent.activated":
        return { ...before, status: "active" };
      case "agent.retired":
        return { ...before, status: "retired" };
    }
  }
}

/** What events tell of it: neither its instructions nor its summary, which may hold personal data. */
function told({ models, tools, capabilities, taskTypes }: OwnAgent) {
  return { models: models ?? [], tools, capabilities, taskTypes };
}
