import type { ProjectionAdministration } from "../contexts/projections/context.ts";
import { ProjectionRebuilding, type ProjectionView } from "../contexts/projections/contract.ts";
import { type ContextDefinition, heardContracts } from "../kernel/context.ts";
import { NotFound } from "../kernel/errors.ts";
import { type ProjectionDefinition, projectionSources } from "../kernel/projection.ts";
import type { Positions } from "../kernel/projection-store.ts";
import { begun, changed, type Next, type ProjectionState, toState } from "./projection-state.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** The highest number that a lag is counted up to. */
const MOST_LAG = 10_000;

interface Known {
  readonly context: string;
  readonly definition: ProjectionDefinition;
  readonly sources: readonly string[];
}

/** Changes what the runners of all processes go by: they find it with the next look, and cannot commit before. */
export class ProjectionDesk implements ProjectionAdministration {
  readonly #ports: Pick<RuntimePorts, "store" | "clock">;
  readonly #contexts: readonly ContextDefinition[];

  /** @param contexts all of this process; the list may still be filled */
  constructor(contexts: readonly ContextDefinition[], ports: Pick<RuntimePorts, "store" | "clock">) {
    this.#ports = ports;
    this.#contexts = contexts;
  }

  async list(): Promise<readonly ProjectionView[]> {
    const views: ProjectionView[] = [];
    for (const [name, known] of this.#known()) views.push(await this.#view(name, known));
    return views;
  }

  async pause(projection: string): Promise<void> {
    await this.#change(projection, (state) => (state.paused ? undefined : changed(state, { paused: true })));
  }

  async resume(projection: string): Promise<void> {
    await this.#change(projection, (state) => {
      if (!state.paused && state.generations.every(({ stopped }) => stopped === undefined)) return undefined;
      const generations = state.generations.map(({ stopped, ...each }) => each);
      return changed(state, { paused: false, generations });
    });
  }

  async rebuild(projection: string, again: boolean): Promise<number> {
    const { version } = this.#find(projection).definition;
    let number = 0;
    await this.#change(projection, (state) => {
      const present = state.generations.find((each) => each.status === "building" && each.version === version);
      number = present?.number ?? state.last + 1;
      if (present === undefined) return begun(state, version, this.#ports.clock);
      if (!again) throw new ProjectionRebuilding({ projection });
      return undefined;
    });
    return number;
  }

  /** How many events are behind what queries read; up to `MOST_LAG`. */
  async lag(projection: string): Promise<number> {
    const known = this.#find(projection);
    const { generations, positions } = await this.#state(known);
    const serving = generations.find(({ status }) => status === "serving");
    return this.#behind(known, serving === undefined ? {} : (positions[serving.number] ?? {}));
  }

  get names(): readonly string[] {
    return [...this.#known().keys()];
  }

  #known(): ReadonlyMap<string, Known> {
    return new Map(
      this.#contexts.flatMap((context) =>
        context.projections.map((definition) => {
          const { name } = context.contract;
          const sources = [...projectionSources(definition, heardContracts(context)).keys()];
          return [`${name}.${definition.name}`, { context: name, definition, sources }] as const;
        }),
      ),
    );
  }

  async #view(name: string, known: Known): Promise<ProjectionView> {
    const { paused, generations, positions } = await this.#state(known);
    const shown: ProjectionView["generations"] = [];
    for (const { number, status, ...each } of generations) {
      if (status === "retired") continue;
      const reached = positions[number] ?? {};
      const lag = await this.#behind(known, reached);
      shown.push({ generation: number, status, ...each, positions: { ...reached }, lag });
    }
    return { projection: name, version: known.definition.version, paused, generations: shown };
  }

  async #behind({ sources }: Known, positions: Positions): Promise<number> {
    let behind = 0;
    for (const source of sources) {
      const query = { after: positions[source] ?? 0, atMost: MOST_LAG };
      behind += await this.#ports.store.log.count(source, query);
    }
    return Math.min(behind, MOST_LAG);
  }

  async #change(projection: string, change: (state: ProjectionState) => Next | undefined): Promise<void> {
    const known = this.#find(projection);
    for (;;) {
      const state = await this.#state(known);
      const next = change(state);
      if (next === undefined) return;
      const { projections } = this.#ports.store;
      if (await projections.write(known.context, known.definition.name, state.revision, next)) return;
    }
  }

  async #state({ context, definition }: Known): Promise<ProjectionState> {
    return toState(await this.#ports.store.projections.read(context, definition.name));
  }

  #find(projection: string): Known {
    const known = this.#known().get(projection);
    if (known === undefined) throw new NotFound({ type: "projection", id: projection });
    return known;
  }
}
