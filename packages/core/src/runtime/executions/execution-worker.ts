import { AWAKE } from "../../kernel/clock.ts";
import { ArmatureError } from "../../kernel/errors.ts";
import type { ExecutionDefinition } from "../../kernel/execution.ts";
import type { ExecutionWork } from "../../kernel/execution-engine.ts";
import type {
  ExecutionEnd,
  Executions,
  ExecutionWrite,
  ServedDefinition,
  TakenExecution,
} from "../../kernel/executions.ts";
import { errorText } from "../error-text.ts";
import type { Found } from "../relay.ts";
import { type JoinableHost, keyOf } from "./execution-host.ts";
import { ExecutionRun, RunAbandoned, type RunHost } from "./execution-run.ts";
import { ExecutionWriter } from "./execution-writer.ts";
import type { WorkerSettings } from "./worker-settings.ts";

/** What an abandoned run was about, and when it may be gone on with. */
interface Doubt {
  readonly execution: TakenExecution;
  readonly attempts: ExecutionWrite["attempts"];
  readonly dueAt: number;
}

/** How long to wait before an execution is tried again that could not be written: that long at first, and at most. */
const AGAIN_MS = 1_000;
const LONGEST_AGAIN_MS = 60_000;
const GRACE_MS = 5_000;

/**
 * Goes on with the executions of one context, many at a time. Any number of processes may do so: each execution is held
 * by one, and what another one still writes of it is refused.
 */
export class ExecutionWorker implements ExecutionWork {
  readonly #host: JoinableHost;
  readonly #executions: Executions;
  readonly #settings: WorkerSettings;
  readonly #definitions = new Map<string, ExecutionDefinition>();
  readonly #served: readonly ServedDefinition[];
  readonly #writer: ExecutionWriter;
  readonly #worker: string;
  readonly #runs = new Map<string, ExecutionRun>();
  readonly #drives = new Set<Promise<void>>();
  readonly #doubts: Doubt[] = [];
  /** How often in a row executions could not be written, by tenant and id. */
  readonly #troubled = new Map<string, number>();
  readonly #bounded: boolean;
  /** When an execution is due that was let go here. */
  #dueAt = Number.POSITIVE_INFINITY;
  #wakeAt = 0;
  readonly #stop = new AbortController();
  #nudged = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #waiters: ((found: Found) => void)[] = [];
  #progress = 0;

  constructor(host: JoinableHost, executions: Executions, settings: WorkerSettings) {
    const { context, definitions, ids } = host;
    this.#host = host;
    this.#executions = executions;
    this.#settings = settings;
    for (const each of definitions) this.#definitions.set(keyOf(each.name, each.version), each);
    this.#served = servedBy(definitions);
    this.#bounded = definitions.some(
      ({ concurrency, concurrencyPerTenant }) => (concurrency ?? concurrencyPerTenant) !== undefined,
    );
    this.#writer = new ExecutionWriter(executions, context);
    this.#worker = ids.next("wkr");
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Lets what is under way come to an end for a while, lets go of everything, and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
    for (const resolve of this.#waiters.splice(0)) resolve("nothing");
    for (const run of this.#runs.values()) run.release();
    await this.#outlast();
    for (const run of this.#runs.values()) run.lose();
    // Who cannot say so is silent, and others take over.
    await this.#executions.leave(this.#host.context, this.#worker).catch(() => undefined);
  }

  // What is under way stays ours for as long as it is waited for.
  async #outlast(): Promise<void> {
    const { clock } = this.#host;
    const giveUpAt = clock.now() + GRACE_MS;
    const ended = Promise.all(this.#drives);
    while (this.#drives.size > 0 && clock.now() < giveUpAt) {
      const enough = new AbortController();
      const ms = Math.min(giveUpAt - clock.now(), this.#settings.ttlMs / 3);
      await Promise.race([ended, clock.sleep(ms, enough.signal).catch(() => undefined)]);
      enough.abort();
      if (this.#drives.size > 0) await this.#ask(0).catch(() => undefined);
    }
  }

  /** An execution may be due, or has got a signal. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Grows with every execution that was gone on with. */
  get progress(): number {
    return this.#progress;
  }

  /** Looks now, and says what came of it. */
  look(): Promise<Found> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve("nothing");
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.nudge();
    });
  }

  async #loop(): Promise<void> {
    const { clock, logger } = this.#host;
    while (!this.#stop.signal.aborted) {
      this.#nudged = false;
      this.#dueAt = Number.POSITIVE_INFINITY;
      const waiters = this.#waiters.splice(0);
      let found: Found = "not-ours";
      let wakeAt = clock.now() + this.#settings.pollMs;
      try {
        const before = this.#progress;
        wakeAt = Math.min(wakeAt, await this.#take());
        found = this.#progress > before ? "progress" : "nothing";
      } catch (error) {
        if (this.#stop.signal.aborted) break;
        logger.warn("Executions could not be looked for; they wait", {
          context: this.#host.context,
          error: errorText(error),
        });
        wakeAt = clock.now() + AGAIN_MS;
      } finally {
        this.#tell(waiters, found);
      }
      await this.#sleepUntil(wakeAt);
    }
  }

  // What is under way has to come to rest first.
  #tell(waiters: readonly ((found: Found) => void)[], found: Found): void {
    if (waiters.length === 0) return;
    const all = [...this.#drives];
    const tell = (told: Found) => {
      for (const resolve of waiters) resolve(told);
    };
    if (all.length === 0) tell(found);
    else void Promise.all(all).then(() => tell("progress"));
  }

  async #sleepUntil(time: number): Promise<void> {
    const { clock } = this.#host;
    const until = Math.min(time, clock.now() + this.#settings.ttlMs / 3);
    for (;;) {
      this.#wakeAt = Math.min(until, this.#dueAt);
      const ms = this.#wakeAt - clock.now();
      if (this.#nudged || ms <= 0 || this.#stop.signal.aborted) return;
      const awake = new AbortController();
      this.#wake = () => awake.abort(AWAKE);
      await clock.sleep(ms, awake.signal).catch(() => undefined);
      this.#wake = undefined;
    }
  }

  /** An execution that was let go here is due then. */
  #noteDue(dueAt: number | undefined): void {
    if (dueAt === undefined) return;
    this.#dueAt = Math.min(this.#dueAt, dueAt);
    if (dueAt < this.#wakeAt) this.#wake?.();
  }

  #ask(limit: number) {
    const { context, clock } = this.#host;
    const { ttlMs } = this.#settings;
    const request = { worker: this.#worker, ttlMs, now: clock.now(), limit, definitions: this.#served };
    return this.#executions.take(context, request);
  }

  /** When to look again. */
  async #take(): Promise<number> {
    const { clock } = this.#host;
    const { concurrency } = this.#settings;
    await this.#settleDoubts();
    const limit = Math.max(0, concurrency - this.#runs.size);
    const taken = await this.#ask(limit);
    for (const execution of taken.executions) this.#begin(execution);
    for (const { tenant, id, signals } of taken.signaled) {
      const run = this.#runs.get(`${tenant} ${id}`);
      // It was let go since, and is due: or it is to be let go, and will be.
      if (run === undefined) {
        if (!this.#doubts.some(({ execution }) => execution.id === id && execution.tenant === tenant)) this.nudge();
        continue;
      }
      void run
        .signaled(signals)
        .catch((error: unknown) => this.#host.logger.warn("Signals could not be read", { error: errorText(error) }));
    }
    // With all places taken, the next look is when one is free.
    if (limit === 0 || taken.executions.length < limit) return taken.nextAt ?? Number.POSITIVE_INFINITY;
    return this.#runs.size < concurrency ? clock.now() : Number.POSITIVE_INFINITY;
  }

  #begin(execution: TakenExecution): void {
    const key = `${execution.tenant} ${execution.id}`;
    const definition = this.#definitions.get(keyOf(execution.definition, execution.version))!;
    const run = new ExecutionRun(execution, definition, this.#hostOf(execution));
    // One that was taken from us and has come back: the older run is not to write any more.
    this.#runs.get(key)?.lose();
    this.#runs.set(key, run);
    this.#progress += 1;
    const drive = run
      .drive()
      .then(
        () => void this.#troubled.delete(key),
        (error: unknown) => this.#abandon(execution, error),
      )
      .finally(() => {
        this.#drives.delete(drive);
        if (this.#runs.get(key) === run) this.#runs.delete(key);
        this.#progress += 1;
        // There is room for another one, if there was none.
        const full = this.#runs.size >= this.#settings.concurrency - 1;
        if (full || this.#bounded || this.#doubts.length > 0) this.nudge();
      });
    this.#drives.add(drive);
  }

  #hostOf(execution: TakenExecution): RunHost {
    const { clock, logger, context } = this.#host;
    const scope = { tenant: execution.tenant, context };
    return {
      clock,
      logger,
      joins: (activity) => this.#host.joins?.(activity) === true,
      attempt: (attempt, join) => this.#host.attempt(attempt, join),
      signals: () => this.#executions.signals(scope, execution.id),
      due: () => this.nudge(),
      write: async (write) => {
        const written = await this.#writer.write(write);
        if (written && write.next?.type === "wait") this.#noteDue(write.next.dueAt);
        return written;
      },
      end: (_, write, end) => this.#end(execution, write, end),
    };
  }

  /** Whether it was written: with what its context makes of the end where that is one commit, after it otherwise. */
  async #end(execution: TakenExecution, write: ExecutionWrite, end: ExecutionEnd): Promise<boolean> {
    const { ended } = this.#definitions.get(keyOf(execution.definition, execution.version))!;
    if (ended === undefined) return this.#writer.write(write);
    if (this.#host.joins === undefined) {
      // What it has come to must be the same whenever it is repeated, so all before it is durable first.
      const { entries, length } = write;
      if (entries.length > 0 && !(await this.#writer.write({ ...write, next: undefined }))) return false;
      await this.#host.ended(execution, end);
      return this.#writer.write({ ...write, length: length + entries.length, entries: [], attempts: undefined });
    }
    const { tenant: _, ...own } = write;
    try {
      await this.#host.ended(execution, end, own);
      return true;
    } catch (error) {
      if (error instanceof ArmatureError && error.code === "execution.lost") return false;
      throw error;
    }
  }

  #abandon(execution: TakenExecution, error: unknown): void {
    const cause = error instanceof RunAbandoned ? error.cause : error;
    const { tenant, id } = execution;
    this.#host.logger.warn("An execution is gone on with later: what happened to it could not be written", {
      ...{ tenant, execution: id, error: errorText(cause) },
    });
    const key = `${tenant} ${id}`;
    const times = this.#troubled.get(key) ?? 0;
    this.#troubled.set(key, times + 1);
    const dueAt = this.#host.clock.now() + Math.min(LONGEST_AGAIN_MS, AGAIN_MS * 2 ** times);
    const { attempts, dueAt: given = 0 } = error instanceof RunAbandoned ? error : { attempts: undefined };
    this.#doubts.push({ execution, attempts, dueAt: Math.max(dueAt, given) });
  }

  // Whoever takes it next reads what was written, and goes on from there.
  async #settleDoubts(): Promise<void> {
    for (const doubt of this.#doubts.splice(0)) {
      const { execution, attempts, dueAt } = doubt;
      const { tenant, id, fence } = execution;
      const next = { type: "wait", dueAt, seen: Number.MAX_SAFE_INTEGER } as const;
      try {
        await this.#writer.write({ tenant, id, fence, length: 0, entries: [], attempts, next });
        this.#noteDue(dueAt);
      } catch (error) {
        this.#host.logger.warn("An execution could not be let go of", {
          tenant,
          execution: id,
          error: errorText(error),
        });
        // What was tried may be what cannot be written. It can be done without.
        this.#doubts.push({ ...doubt, attempts: undefined, dueAt: this.#host.clock.now() + AGAIN_MS });
      }
    }
  }
}

function servedBy(definitions: readonly ExecutionDefinition[]): readonly ServedDefinition[] {
  const served = new Map<string, ServedDefinition & { readonly versions: number[] }>();
  // The newest version says how many may go on at a time.
  for (const { name, version, concurrency, concurrencyPerTenant } of [...definitions].sort(
    (a, b) => a.version - b.version,
  )) {
    const versions = [...(served.get(name)?.versions ?? []), version];
    served.set(name, { name, versions, concurrency, concurrencyPerTenant });
  }
  return [...served.values()];
}
