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
  /** Who is asked where several fit. It is none of them. */
  readonly router: AgentDefinition | undefined;

  /** @throws {TypeError} two have the same id and version, or one needs another that there is not */
  constructor(definitions: readonly AgentDefinition[], router?: AgentDefinition) {
    this.router = router;
    for (const definition of router === undefined ? definitions : [...definitions, router]) {
      const versions = this.#byId.get(definition.id) ?? [];
      if (versions.some(({ version }) => version === definition.version))
        throw new TypeError(`There are two agents "${definition.id}" of version ${definition.version}.`);
      this.#byId.set(
        definition.id,
        [...versions, definition].sort((a, b) => b.version - a.version),
      );
    }
    for (const { id, tools } of definitions)
      for (const { name, delegate } of tools)
        if (delegate !== undefined && !this.#byId.has(delegate.agent))
          throw new TypeError(
            `The tool "${name}" of the agent "${id}" needs the agent "${delegate.agent}", which is not among the host's.`,
          );
  }

  /** Every version of every agent. */
  get all(): readonly AgentDefinition[] {
    return [...this.#byId.values()].flat();
  }

  /** Each agent's newest version. */
  get newest(): readonly AgentDefinition[] {
    const versions = [...this.#byId].filter(([id]) => id !== this.router?.id);
    return versions.map(([, [newest]]) => newest!);
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
   * The agent that is asked for by id, or the active ones that fit: with a router all that fit, else the first. No model
   * is asked here.
   *
   * @param own agents of the tenant's that are active and fit: they come after the host's. Undefined: it cannot work
   * @throws {NotFound | NoAgentFits}
   */
  async route(
    asked: Asked,
    isActive: (id: string) => Promise<boolean>,
    own: readonly (() => Promise<AgentDefinition | undefined>)[] = [],
  ): Promise<readonly [AgentDefinition, ...AgentDefinition[]]> {
    if (asked.agent !== undefined) return [this.find(asked.agent)];
    const isVague = asked.capability === undefined && asked.taskType === undefined;
    const router = this.router !== undefined && (await isActive(this.router.id)) ? this.router : undefined;
    const found: AgentDefinition[] = [];
    for (const definition of isVague && router === undefined ? [] : this.fitting(asked)) {
      if (await isActive(definition.id)) found.push(definition);
      if (router === undefined && found.length > 0) break;
    }
    for (const load of isVague && router === undefined ? [] : own) {
      if (router === undefined && found.length > 0) break;
      const definition = await load();
      if (definition !== undefined) found.push(definition);
    }
    const [first, ...rest] = found;
    if (first !== undefined) return [first, ...rest];
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
