import { NotFound } from "../../kernel/errors.ts";
import type { AgentDefinition } from "./agent-definition.ts";
import { NoAgentFits } from "./contract.ts";
import type { Tool } from "./tool.ts";

/** How a call says which agent it means. */
export interface Asked {
  readonly agent?: string | undefined;
  readonly capability?: string | undefined;
  readonly taskType?: string | undefined;
}

/** The host's agents by id and version. */
export class AgentRegistry {
  readonly #byId = new Map<string, AgentDefinition[]>();

  /** @throws {TypeError} two have the same id and version */
  constructor(definitions: readonly AgentDefinition[]) {
    for (const definition of definitions) {
      const versions = this.#byId.get(definition.id) ?? [];
      if (versions.some(({ version }) => version === definition.version))
        throw new TypeError(`There are two agents "${definition.id}" of version ${definition.version}.`);
      this.#byId.set(
        definition.id,
        [...versions, definition].sort((a, b) => b.version - a.version),
      );
    }
  }

  /** Each agent's newest version. */
  get newest(): readonly AgentDefinition[] {
    return [...this.#byId.values()].map((versions) => versions[0]!);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** The newest, or the given one. Throws `NotFound`. */
  find(id: string, version?: number): AgentDefinition {
    const versions = this.#byId.get(id) ?? [];
    const found = version === undefined ? versions[0] : versions.find((each) => each.version === version);
    if (found === undefined) throw new NotFound({ type: "agent", id: version === undefined ? id : `${id}@${version}` });
    return found;
  }

  /** Those that fit, in the order in which the host has listed them. */
  fitting({ capability, taskType }: Asked): readonly AgentDefinition[] {
    return this.newest.filter(
      ({ capabilities, taskTypes }) =>
        (capability === undefined || capabilities.includes(capability)) &&
        (taskType === undefined || taskTypes.includes(taskType)),
    );
  }

  /**
   * The agent that is asked for: by id, or the first active one that fits. No model is asked.
   *
   * @throws {NotFound | NoAgentFits}
   */
  async route(asked: Asked, isActive: (id: string) => Promise<boolean>): Promise<AgentDefinition> {
    if (asked.agent !== undefined) return this.find(asked.agent);
    for (const definition of asked.capability === undefined && asked.taskType === undefined ? [] : this.fitting(asked))
      if (await isActive(definition.id)) return definition;
    const parts = [
      asked.capability === undefined ? "" : `the capability "${asked.capability}"`,
      asked.taskType === undefined ? "" : `the task type "${asked.taskType}"`,
    ].filter((part) => part !== "");
    throw new NoAgentFits({
      asked: parts.join(" and ") || "a call that names neither agent, capability nor task type",
    });
  }
}

/** The tool that a model has named, if the agent has it. */
export function toolOf({ tools }: AgentDefinition, name: string): Tool | undefined {
  return tools.find((tool) => tool.name === name);
}
