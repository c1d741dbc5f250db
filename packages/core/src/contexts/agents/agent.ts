import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import { AgentActivated, AgentNotActive, AgentPaused, AgentRetired } from "./contract.ts";

const state = z.strictObject({ status: z.enum(["active", "paused", "retired"]) });
type AgentState = z.infer<typeof state>;
type Event = EventOf<typeof AgentPaused> | EventOf<typeof AgentActivated> | EventOf<typeof AgentRetired>;

/** What a tenant lets an agent do. One that nothing was said of is active. */
export class Agent extends AggregateRoot<AgentState, Event> {
  static readonly definition = defineAggregate("agent", {
    state,
    events: [AgentPaused, AgentActivated, AgentRetired],
    index: ["status"],
  });

  pause(at: Instant): void {
    this.#mustNotBeRetired();
    if (this.#status !== "paused") this.raise(AgentPaused, { agent: this.id, at });
  }

  activate(at: Instant): void {
    this.#mustNotBeRetired();
    if (this.#status !== "active") this.raise(AgentActivated, { agent: this.id, at });
  }

  retire(at: Instant): void {
    if (this.#status !== "retired") this.raise(AgentRetired, { agent: this.id, at });
  }

  /** @throws {AgentNotActive} it is paused or retired */
  static mustBeActive(id: string, agent: Agent | undefined): void {
    const status = agent?.state.status ?? "active";
    if (status !== "active") throw new AgentNotActive({ agent: id, status });
  }

  get #status(): AgentState["status"] {
    return this.version === 0 ? "active" : this.state.status;
  }

  #mustNotBeRetired(): void {
    if (this.#status === "retired") throw new AgentNotActive({ agent: this.id, status: "retired" });
  }

  protected override evolve(_: AgentState | undefined, event: Event): AgentState {
    switch (event.type) {
      case "agent.paused":
        return { status: "paused" };
      case "agent.activated":
        return { status: "active" };
      case "agent.retired":
        return { status: "retired" };
    }
  }
}
