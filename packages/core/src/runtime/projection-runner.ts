import { toInstant } from "../kernel/clock.ts";
import { type ContextDefinition, heardContracts } from "../kernel/context.ts";
import { ArmatureError, CorruptData, VersionConflict } from "../kernel/errors.ts";
import type { LoggedEvent, LogPage } from "../kernel/event-log.ts";
import { type ProjectionDefinition, projectionSources } from "../kernel/projection.ts";
import type { Positions } from "../kernel/projection-store.ts";
import { errorText } from "./error-text.ts";
import type { LeasedWork, Looked } from "./leased-loop.ts";
import { BatchRows } from "./projection-rows.ts";
import {
  begun,
  type Generation,
  gone,
  type Next,
  type ProjectionState,
  switched,
  toState,
  withGeneration,
} from "./projection-state.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

export interface ProjectionOptions {
  /** Most events that are applied in one commit. Default 200. */
  readonly batch?: number;
  /** Failed attempts at one event before its projection stops there. Default 8. */
  readonly maxAttempts?: number;
  /** Wait after the first failure, doubled each time up to `maxBackoffMs`. Default 200. */
  readonly backoffMs?: number;
  /** Default 30 000. */
  readonly maxBackoffMs?: number;
  /** Longest wait between looks at the log when nobody nudges. Default 1 000. */
  readonly pollMs?: number;
}

/** Rows of an old generation that go in one statement. */
const DROP = 1_000;

type Ports = Pick<RuntimePorts, "store" | "clock" | "logger">;

/** What is known of a generation beside what is stored: nothing that may not be lost. */
interface Trouble {
  /** How often the next event has failed, and when it is tried again. */
  readonly attempts: number;
  readonly nextAt: number;
  /** Up to here events go one at a time: one of them cannot be written. */
  readonly singlyUpTo: number;
}

/**
 * Keeps one projection up to date: reads the log behind each generation's position and commits what the events do to
 * the rows together with the new position. Whoever has lost the lease without knowing it cannot commit: the positions
 * that it knows are no longer those that are stored.
 */
export class ProjectionRunner implements LeasedWork {
  readonly key: string;
  readonly pollMs: number;
  /** Contexts that it follows. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
  readonly #context: string;
  readonly #definition: ProjectionDefinition;
  readonly #ports: Ports;
  readonly #options: Required<ProjectionOptions>;
  readonly #trouble = new Map<number, Trouble>();

  constructor(
    context: ContextDefinition,
    definition: ProjectionDefinition,
    ports: Ports,
    options: ProjectionOptions = {},
  ) {
    this.#context = context.contract.name;
    this.#definition = definition;
    this.#ports = ports;
    this.#options = { batch: 200, maxAttempts: 8, backoffMs: 200, maxBackoffMs: 30_000, pollMs: 1_000, ...options };
    this.sources = projectionSources(definition, heardContracts(context));
    // Processes of two versions work side by side, each at its own generation.
    this.key = `projection:${this.#context}.${definition.name}:${definition.version}`;
    this.pollMs = this.#options.pollMs;
  }

  async look(): Promise<Looked> {
    const state = await this.#state();
    const { version } = this.#definition;
    // Code of an older version than that of the rows leaves them alone.
    if (!state.generations.some((each) => each.version >= version && each.status !== "retired"))
      return this.#write(state, begun(state, version, this.#ports.clock));
    const looks: Looked[] = [];
    for (const generation of state.generations)
      if (!state.paused && generation.version === version && isFollowed(generation))
        looks.push(await this.#follow(state, generation));
    const retired = state.generations.find(({ status }) => status === "retired");
    if (retired !== undefined) looks.push(await this.#drop(state, retired));
    const found = (["progress", "not-ours"] as const).find((each) => looks.some((look) => look.found === each));
    const nextAt = Math.min(...looks.map((look) => look.nextAt ?? Number.POSITIVE_INFINITY));
    return { found: found ?? "nothing", ...(Number.isFinite(nextAt) ? { nextAt } : {}) };
  }

  async waiting(): Promise<boolean> {
    const { paused, generations, positions } = await this.#state();
    const mine = generations.filter((each) => each.version === this.#definition.version);
    if (mine.length === 0) return generations.every((each) => each.version < this.#definition.version);
    if (paused) return false;
    for (const { number, status, stopped } of mine)
      if (stopped === undefined && (status === "building" || (await this.#behind(positions[number] ?? {}))))
        return true;
    return false;
  }

  /** One batch of each context that it follows; after that the generation may be the one that is read. */
  async #follow(state: ProjectionState, generation: Generation): Promise<Looked> {
    const { number } = generation;
    const { store, clock } = this.#ports;
    const trouble = this.#trouble.get(number);
    if (trouble !== undefined && trouble.nextAt > clock.now()) return { found: "nothing", nextAt: trouble.nextAt };
    let positions = state.positions[number];
    let progress = false;
    let more = false;
    for (const [source, types] of this.sources) {
      const after = positions?.[source] ?? 0;
      const limit = trouble !== undefined && trouble.singlyUpTo > after ? 1 : this.#options.batch;
      const page = await store.log.read(source, { after, types, limit });
      if (page.upTo > after || page.items.length > 0) {
        const reached = await this.#apply(state, generation, positions, source, page);
        if (typeof reached !== "number") return reached;
        positions = { ...positions, [source]: reached };
        progress = true;
      }
      more ||= page.more;
    }
    if (more) return { found: "progress" };
    if (generation.status === "building" && this.#reaches(positions, state))
      return this.#write(state, switched(state, generation));
    if (progress) return { found: "progress" };
    return { found: (await this.#behind(positions ?? {})) ? "not-ours" : "nothing" };
  }

  /** Commits what these events do. Gives how far that is, or what to do when it is not all of them. */
  async #apply(
    state: ProjectionState,
    generation: Generation,
    before: Positions | undefined,
    source: string,
    page: LogPage,
  ): Promise<number | Looked> {
    const { store } = this.#ports;
    const { name: projection } = this.#definition;
    const { number } = generation;
    const rows = new BatchRows(this.#definition, (refs) =>
      store.projections.load(this.#context, { projection, generation: number, refs }),
    );
    if (page.items.length > 1) await rows.expect(page.items.map(({ event }) => event));
    let failure: { readonly item: LoggedEvent; readonly error: unknown } | undefined;
    for (const item of page.items)
      try {
        await rows.apply(item.event);
      } catch (error) {
        if (isPassing(error)) throw error;
        failure = { item, error };
        break;
      }
    const upTo = failure === undefined ? page.upTo : failure.item.position - 1;
    if (failure === undefined || upTo > (before?.[source] ?? 0)) {
      const batch = {
        ...{ projection, generation: number, revision: state.revision },
        ...{ before, positions: { ...before, [source]: upTo }, rows: rows.changes() },
      };
      try {
        // Somebody has paused it, rebuilt it, or got ahead of us: look again.
        if (!(await store.projections.commit(this.#context, batch))) return { found: "progress" };
      } catch (error) {
        if (isPassing(error)) throw error;
        const [item] = page.items;
        if (item !== undefined && page.items.length === 1) return this.#failed(state, generation, source, item, error);
        const singlyUpTo = page.items.at(-1)?.position ?? upTo;
        this.#trouble.set(number, { attempts: 0, nextAt: 0, singlyUpTo });
        return { found: "progress" };
      }
      const trouble = this.#trouble.get(number);
      if (trouble !== undefined && upTo >= trouble.singlyUpTo) this.#trouble.delete(number);
    }
    return failure === undefined ? upTo : this.#failed(state, generation, source, failure.item, failure.error);
  }

  // A projection is ordered: nothing behind an event that fails is applied before it.
  async #failed(
    state: ProjectionState,
    generation: Generation,
    source: string,
    { event, position }: LoggedEvent,
    error: unknown,
  ): Promise<Looked> {
    const { clock, logger } = this.#ports;
    const { number } = generation;
    const { attempts: before = 0, singlyUpTo = 0 } = this.#trouble.get(number) ?? {};
    const attempts = before + 1;
    const reason = errorText(error);
    const fields = { projection: this.#name, generation: number, eventId: event.id, attempts, error: reason };
    if (attempts < this.#options.maxAttempts && !(error instanceof CorruptData)) {
      const { backoffMs, maxBackoffMs } = this.#options;
      const nextAt = clock.now() + Math.min(maxBackoffMs, backoffMs * 2 ** (attempts - 1));
      this.#trouble.set(number, { attempts, nextAt, singlyUpTo });
      logger.warn("A projection could not apply an event and tries again", fields);
      return { found: "nothing", nextAt };
    }
    this.#trouble.delete(number);
    const at = { eventId: event.id, eventType: event.type, context: source, position };
    const stopped = { ...at, reason, attempts, time: toInstant(clock.now()) };
    const looked = await this.#write(state, withGeneration(state, { ...generation, stopped }));
    logger.error("A projection has stopped at an event until somebody resumes it", fields);
    return looked;
  }

  /** Rows that nobody reads any more go, some at a time. */
  async #drop(state: ProjectionState, generation: Generation): Promise<Looked> {
    const query = { projection: this.#definition.name, generation: generation.number, limit: DROP };
    if ((await this.#ports.store.projections.drop(this.#context, query)) === DROP) return { found: "progress" };
    this.#trouble.delete(generation.number);
    return this.#write(state, gone(state, generation));
  }

  /** Written or not, the state is another one by now. */
  async #write(state: ProjectionState, next: Next): Promise<Looked> {
    await this.#ports.store.projections.write(this.#context, this.#definition.name, state.revision, next);
    return { found: "progress" };
  }

  async #state(): Promise<ProjectionState> {
    return toState(await this.#ports.store.projections.read(this.#context, this.#definition.name));
  }

  /** Queries must not go back in time when they get other rows. */
  #reaches(positions: Positions | undefined, { generations, positions: all }: ProjectionState): boolean {
    const serving = generations.find(({ status }) => status === "serving");
    const read = (serving === undefined ? undefined : all[serving.number]) ?? {};
    return [...this.sources.keys()].every((source) => (positions?.[source] ?? 0) >= (read[source] ?? 0));
  }

  async #behind(positions: Positions): Promise<boolean> {
    for (const source of this.sources.keys())
      if ((await this.#ports.store.log.head(source)) > (positions[source] ?? 0)) return true;
    return false;
  }

  get #name(): string {
    return `${this.#context}.${this.#definition.name}`;
  }
}

const isFollowed = ({ status, stopped }: Generation) => status !== "retired" && stopped === undefined;

/** The store is in trouble, or another was quicker: that is no fault of the event. */
function isPassing(error: unknown): boolean {
  if (error instanceof VersionConflict) return true;
  return error instanceof ArmatureError && (error.kind === "unavailable" || error.kind === "timeout");
}
