import type { ContextDefinition } from "../../kernel/context.ts";
import { ArmatureError } from "../../kernel/errors.ts";
import type { Activity, ExecutionDefinition } from "../../kernel/execution.ts";
import type { ExecutionEnd, ExecutionWrite, ServedDefinition, TakenExecution } from "../../kernel/executions.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { Json } from "../../kernel/schema.ts";
import type { CallRequest } from "../call.ts";
import { clientOf } from "../client.ts";
import { errorText } from "../error-text.ts";
import type { Calls } from "../handler-context.ts";
import type { Found } from "../relay.ts";
import type { RuntimePorts } from "../runtime-ports.ts";
import { idempotencyKeyOf, runActivity, timeoutOf } from "./activity-attempt.ts";
import { type Attempt, ExecutionRun, RunAbandoned, type RunHost } from "./execution-run.ts";
import { ExecutionWriter } from "./execution-writer.ts";
import type { WorkerSettings } from "./worker-settings.ts";

type Ports = Pick<RuntimePorts, "store" | "clock" | "ids" | "logger">;

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
export class ExecutionWorker {
  readonly #context: ContextDefinition;
  readonly #ports: Ports;
  readonly #calls: Pick<Calls, "call" | "stream">;
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

  constructor(
    context: ContextDefinition,
    ports: Ports,
    calls: Pick<Calls, "call" | "stream">,
    settings: WorkerSettings,
  ) {
    this.#context = context;
    this.#ports = ports;
    this.#calls = calls;
    this.#settings = settings;
    for (const definition of context.executions) this.#definitions.set(keyOf(definition), definition);
    this.#served = servedBy(context.executions);
    this.#bounded = context.executions.some(
      ({ concurrency, concurrencyPerTenant }) => (concurrency ?? concurrencyPerTenant) !== undefined,
    );
    this.#writer = new ExecutionWriter(ports.store.executions, context.contract.name);
    this.#worker = ports.ids.next("wkr");
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
    await this.#ports.store.executions.leave(this.#context.contract.name, this.#worker).catch(() => undefined);
  }

  // What is under way stays ours for as long as it is waited for.
  async #outlast(): Promise<void> {
    const { clock } = this.#ports;
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
    const { clock, logger } = this.#ports;
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
          context: this.#context.contract.name,
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
    const { clock } = this.#ports;
    const until = Math.min(time, clock.now() + this.#settings.ttlMs / 3);
    for (;;) {
      this.#wakeAt = Math.min(until, this.#dueAt);
      const ms = this.#wakeAt - clock.now();
      if (this.#nudged || ms <= 0 || this.#stop.signal.aborted) return;
      const awake = new AbortController();
      this.#wake = () => awake.abort();
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
    const { store, clock } = this.#ports;
    const { ttlMs } = this.#settings;
    const request = { worker: this.#worker, ttlMs, now: clock.now(), limit, definitions: this.#served };
    return store.executions.take(this.#context.contract.name, request);
  }

  /** When to look again. */
  async #take(): Promise<number> {
    const { clock } = this.#ports;
    const { concurrency } = this.#settings;
    await this.#settleDoubts();
    const limit = Math.max(0, concurrency - this.#runs.size);
    const taken = await this.#ask(limit);
    for (const execution of taken.executions) this.#begin(execution);
    for (const { tenant, id, signals } of taken.signaled)
      void this.#runs
        .get(`${tenant} ${id}`)
        ?.signaled(signals)
        .catch((error: unknown) => this.#ports.logger.warn("Signals could not be read", { error: errorText(error) }));
    // With all places taken, the next look is when one is free.
    if (limit === 0 || taken.executions.length < limit) return taken.nextAt ?? Number.POSITIVE_INFINITY;
    return this.#runs.size < concurrency ? clock.now() : Number.POSITIVE_INFINITY;
  }

  #begin(execution: TakenExecution): void {
    const key = `${execution.tenant} ${execution.id}`;
    const definition = this.#definitions.get(keyOf({ name: execution.definition, version: execution.version }))!;
    const run = new ExecutionRun(execution, definition, this.#hostOf(execution, definition));
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

  #hostOf(execution: TakenExecution, definition: ExecutionDefinition): RunHost {
    const { clock, logger, store } = this.#ports;
    const scope = { tenant: execution.tenant, context: this.#context.contract.name };
    return {
      clock,
      logger,
      joins: (activity) => this.#joins(activity),
      attempt: (attempt) => this.#attempt(attempt),
      signals: () => store.executions.signals(scope, execution.id),
      write: async (write) => {
        const written = await this.#writer.write(write);
        if (written && write.next?.type === "wait") this.#noteDue(write.next.dueAt);
        return written;
      },
      end: (_execution, write, end) =>
        definition.ended === undefined
          ? this.#writer.write(write)
          : this.#ended(definition.ended, execution, write, end),
    };
  }

  #joins({ operation }: Activity): boolean {
    return operation !== undefined && this.#settings.joins(operation);
  }

  async #attempt(attempt: Attempt): Promise<Json | undefined> {
    const { activity, execution, args, signal } = attempt;
    const context = this.#context.contract.name;
    const base = this.#requestOf(execution, activity.system === true);
    if (activity.operation === undefined)
      return runActivity(attempt, {
        context,
        clock: this.#ports.clock,
        logger: this.#ports.logger,
        client: (contract, options) => withOptions(clientOf(this.#calls, contract, base), options),
      });
    const request: CallRequest = { ...base, signal, timeoutMs: timeoutOf(attempt) };
    const { join } = attempt;
    const answer =
      join === undefined
        ? this.#calls.call(activity.operation, args, { ...request, idempotencyKey: idempotencyKeyOf(context, attempt) })
        : this.#calls.call(activity.operation, args, {
            ...request,
            signal: undefined,
            join: (value) => ({ context, change: { step: "write", write: join(value as Json | undefined) } }),
          });
    return (await answer) as Json | undefined;
  }

  async #ended(
    operation: string,
    execution: TakenExecution,
    write: ExecutionWrite,
    end: ExecutionEnd,
  ): Promise<boolean> {
    const context = this.#context.contract.name;
    const { tenant: _, ...own } = write;
    const { status } = end;
    const outcome =
      status === "completed"
        ? { result: end.result ?? null }
        : { error: { code: end.error.code, message: end.error.message }, retryable: end.retryFrom !== undefined };
    try {
      await this.#calls.call(
        `${context}.${operation}`,
        { executionId: execution.id, status, ...outcome },
        {
          ...this.#requestOf(execution, true),
          join: () => ({ context, change: { step: "write", write: own } }),
        },
      );
      return true;
    } catch (error) {
      if (error instanceof ArmatureError && error.code === "execution.lost") return false;
      throw error;
    }
  }

  #requestOf({ principal, traceparent, correlationId, id }: TakenExecution, asSystem: boolean): CallRequest {
    const context = this.#context.contract.name;
    const caller = asSystem ? systemFor(principal, `${context}.executions`) : principal;
    return { principal: caller, traceparent, correlationId, causationId: id, from: context };
  }

  #abandon(execution: TakenExecution, error: unknown): void {
    const cause = error instanceof RunAbandoned ? error.cause : error;
    const { tenant, id } = execution;
    this.#ports.logger.warn("An execution is gone on with later: what happened to it could not be written", {
      ...{ tenant, execution: id, error: errorText(cause) },
    });
    const key = `${tenant} ${id}`;
    const times = this.#troubled.get(key) ?? 0;
    this.#troubled.set(key, times + 1);
    const dueAt = this.#ports.clock.now() + Math.min(LONGEST_AGAIN_MS, AGAIN_MS * 2 ** times);
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
        this.#ports.logger.warn("An execution could not be let go of", {
          tenant,
          execution: id,
          error: errorText(error),
        });
        // What was tried may be what cannot be written. It can be done without.
        this.#doubts.push({ ...doubt, attempts: undefined, dueAt: this.#ports.clock.now() + AGAIN_MS });
      }
    }
  }
}

/** Armature itself, on behalf of whom the execution is for. */
function systemFor({ tenant, actor, onBehalfOf }: Principal, id: string): Principal {
  const self = actor.type === "user" || actor.type === "service" ? { type: actor.type, id: actor.id } : undefined;
  return { tenant, actor: { type: "system", id }, onBehalfOf: onBehalfOf ?? self };
}

function keyOf({ name, version }: Pick<ExecutionDefinition, "name" | "version">): string {
  return `${name}@${version}`;
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

function withOptions(client: Record<string, unknown>, options: (name: string) => object): Record<string, unknown> {
  const keyed: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(client))
    keyed[name] = (input: unknown, given: object = {}) =>
      (call as (input: unknown, options: object) => unknown)(input, { ...options(name), ...given });
  return keyed;
}
