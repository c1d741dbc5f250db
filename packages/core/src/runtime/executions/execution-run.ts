import { AWAKE, type Clock } from "../../kernel/clock.ts";
import { ArmatureError, type ErrorKind, type ErrorRecord, InternalError } from "../../kernel/errors.ts";
import {
  type Activity,
  CANCEL_SIGNAL,
  CompensationFailed,
  type ExecutionDefinition,
  ExecutionKeepsCrashing,
  ExecutionStuck,
} from "../../kernel/execution.ts";
import type { ActivityAttempt } from "../../kernel/execution-engine.ts";
import type {
  ActivityAttempts,
  ExecutionEnd,
  ExecutionWrite,
  JournalEntry,
  Signal,
  TakenExecution,
} from "../../kernel/executions.ts";
import { jsonCopy } from "../../kernel/json-copy.ts";
import type { Logger } from "../../kernel/ports.ts";
import { canonicalJson, type Json } from "../../kernel/schema.ts";
import { errorText } from "../error-text.ts";
import { isStorable } from "../storable.ts";
import { type Asked, diverged, ExecutionScript } from "./execution-script.ts";
import { mostAttempts, waitBeforeRetry } from "./retry.ts";
import { storableJson } from "./storable-json.ts";

/** What a run needs of its worker. */
export interface RunHost {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether the activity's result and what it changes are one commit. */
  joins(activity: Activity): boolean;
  /** @param join of an activity that joins: has its result written with what it changes */
  attempt(
    attempt: ActivityAttempt,
    join: ((value: Json | undefined) => Omit<ExecutionWrite, "tenant">) | undefined,
  ): Promise<Json | undefined>;
  signals(execution: TakenExecution): Promise<readonly Signal[]>;
  /** Whether it was written; not when the execution is held by another worker. */
  write(write: ExecutionWrite): Promise<boolean>;
  /** An execution that was let go is due by now. */
  due(): void;
  /** The same for the last of all writes. */
  end(execution: TakenExecution, write: ExecutionWrite, end: ExecutionEnd): Promise<boolean>;
}

interface Going {
  readonly asked: Asked;
  state: "running" | "waiting";
  attempts: number;
  nextAt: number;
  error: ErrorRecord | undefined;
  progress: Json | undefined;
  readonly abort: AbortController;
}

/** Something has happened: what is to be written, unless it has been. */
interface Happened {
  readonly entry: JournalEntry;
  readonly written: boolean;
}

const MOST_TAKES = 20;
const HEARTBEAT_WRITE_MS = 1_000;
/** So many results of repeatable activities may wait for what is to be written next. */
const MOST_UNWRITTEN = 32;

/**
 * One execution while a worker holds it: repeats what the journal has, goes on from there, and lets go when there is
 * nothing to do but wait. What has happened is durable before anything else is done on account of it.
 */
export class ExecutionRun {
  readonly #taken: TakenExecution;
  readonly #definition: ExecutionDefinition;
  readonly #host: RunHost;
  readonly #script: ExecutionScript;
  readonly #going = new Map<number, Going>();
  readonly #happened: Happened[] = [];
  readonly #unundone: string[] = [];
  #undone = 0;
  #signals: readonly Signal[];
  /** How many of them are known to have been looked for. */
  #signalCount: number;
  /** How many there are, as far as anybody has told. */
  #signalsTold = 0;
  #replayed = 0;
  #length: number;
  #unwritten: JournalEntry[] = [];
  #pen: Promise<unknown> = Promise.resolve();
  #joining = 0;
  #abandoned: RunAbandoned | undefined;
  #heartbeatAt = 0;
  #lastAttempts: string;
  #over = false;
  #closing = false;
  #wake: (() => void) | undefined;

  constructor(taken: TakenExecution, definition: ExecutionDefinition, host: RunHost) {
    this.#taken = taken;
    this.#definition = definition;
    this.#host = host;
    this.#script = new ExecutionScript(taken, definition);
    this.#signals = taken.signals;
    this.#signalCount = taken.signals.length;
    this.#length = taken.journal.length;
    this.#lastAttempts = canonicalJson(taken.attempts);
  }

  /**
   * Resolves when the execution has ended, waits, or is another worker's.
   *
   * @throws {RunAbandoned} it is not known whether something was written
   */
  async drive(): Promise<void> {
    try {
      if (this.#taken.takes > MOST_TAKES) throw new ExecutionKeepsCrashing({ takes: this.#taken.takes });
      this.#script.begin();
      while (await this.#advance());
    } catch (error) {
      if (error instanceof RunAbandoned) throw error;
      if (error instanceof RunOver) return;
      if (!this.#over) await this.#fail(error);
    } finally {
      this.lose();
    }
  }

  /** It is another worker's, or about to be: whatever is under way here counts no more. */
  lose(): void {
    this.#over = true;
    for (const { abort } of this.#going.values()) abort.abort();
    this.#wake?.();
  }

  /** Begins nothing any more, and lets go as soon as nothing is under way. */
  release(): void {
    this.#closing = true;
    this.#wake?.();
  }

  /** So many signals have come by now. */
  async signaled(count: number): Promise<void> {
    if (count <= this.#signalCount) return;
    this.#signalsTold = Math.max(this.#signalsTold, count);
    if (this.#over) return this.#host.due();
    const signals = await this.#host.signals(this.#taken);
    this.#signalCount = Math.max(this.#signalCount, count);
    if (signals.length <= this.#signals.length) return;
    this.#signals = signals;
    this.#wake?.();
  }

  /** One thing more that has happened. Returns whether there may be others. */
  async #advance(): Promise<boolean> {
    const script = this.#script;
    await script.settled();
    if (this.#over) return false;
    const recorded = this.#taken.journal[this.#replayed];
    if (script.waiting === 0 && recorded?.kind !== "cancel") {
      if (script.finish === undefined) throw new ExecutionStuck({});
      if (this.#undo()) return true;
      if (recorded !== undefined) throw diverged(recorded, undefined);
      await this.#end();
      return false;
    }
    if (recorded !== undefined) {
      this.#replayed += 1;
      script.apply(recorded);
      return true;
    }
    this.#know();
    // Whoever was canceled before it began anything begins nothing.
    const early = this.#canceled();
    if (early === undefined) this.#begin();
    const happened = early ?? (await this.#next());
    if (happened === undefined) return false;
    if (!happened.written) this.#unwritten.push(happened.entry);
    this.#going.delete(happened.entry.position);
    script.apply(happened.entry);
    if (happened.entry.kind === "cancel") this.#giveUp(script.canceled!);
    return true;
  }

  #undo(): boolean {
    const { finish, canceled } = this.#script;
    if (finish?.failed !== true && canceled === undefined) return false;
    const next = this.#script.takeCompensation();
    if (next === undefined) return false;
    this.#undone += 1;
    this.#script.compensate(next, () => this.#unundone.push(next.activity));
    return true;
  }

  /** What is under way is asked to end. What was never begun has come to nothing, and that is written down. */
  #giveUp(error: ArmatureError): void {
    const mayHaveBegun = this.#taken.takes > 1;
    for (const going of this.#going.values()) {
      going.abort.abort();
      if (going.state !== "waiting" || going.attempts > 0 || mayHaveBegun) continue;
      const outcome = { type: "error", error: error.toJSON() } as const;
      going.state = "running";
      this.#happened.push({ entry: this.#entryOf(going, outcome), written: false });
    }
  }

  #know(): void {
    for (const asked of this.#script.asked) {
      if ((asked.kind !== "activity" && asked.kind !== "compensation") || this.#going.has(asked.position)) continue;
      const before = this.#taken.attempts[String(asked.position)];
      const { attempts = 0, nextAt = 0, error, progress } = before ?? {};
      const abort = new AbortController();
      this.#going.set(asked.position, { asked, state: "waiting", attempts, nextAt, error, progress, abort });
    }
  }

  #begin(): void {
    this.#know();
    if (this.#closing) return;
    const now = this.#host.clock.now();
    for (const going of this.#going.values())
      if (going.state === "waiting" && going.nextAt <= now && !(going.error !== undefined && this.#isGivenUp(going))) {
        going.state = "running";
        void this.#try(going);
      }
  }

  /** From now on it is only found out what is under way, and undone. */
  get #unwinding(): boolean {
    return this.#script.finish !== undefined || this.#script.canceled !== undefined;
  }

  /** What happens next; undefined when it has been let go. */
  async #next(): Promise<Happened | undefined> {
    for (;;) {
      if (this.#abandoned !== undefined) throw this.#abandoned;
      if (this.#over) return undefined;
      // What is written with a change stands in the journal before all that comes after.
      if (this.#joining === 0) {
        const happened = this.#happened.shift() ?? this.#occurred();
        if (happened !== undefined) return happened;
      }
      const wakeAt = this.#wakeAt();
      if ([...this.#going.values()].every(({ state }) => state === "waiting")) {
        if (wakeAt <= this.#host.clock.now() && !this.#closing) {
          this.#begin();
          continue;
        }
        if (await this.#letGo(wakeAt)) return undefined;
        continue;
      }
      // A time that has come has to wait for what is being written, or for the end of what closes.
      await this.#pause(this.#joining > 0 || this.#closing ? Number.POSITIVE_INFINITY : wakeAt);
      this.#begin();
    }
  }

  #canceled(): Happened | undefined {
    const cancel = this.#unwinding ? undefined : this.#signals.find(({ name }) => name === CANCEL_SIGNAL);
    if (cancel === undefined) return undefined;
    const at = this.#host.clock.now();
    const outcome = { type: "value", value: cancel.payload } as const;
    return { entry: { position: -1, kind: "cancel", name: "", at, outcome }, written: false };
  }

  /** What has come about by itself: it was canceled, a signal is there, a time has come. */
  #occurred(): Happened | undefined {
    const at = this.#host.clock.now();
    const happened = (position: number, kind: JournalEntry["kind"], name: string, value?: Json): Happened => ({
      entry: { position, kind, name, at, outcome: { type: "value", value } },
      written: false,
    });
    const signal = (name: string) => this.#signals.find((each) => each.name === name);
    const canceled = this.#canceled();
    if (canceled !== undefined) return canceled;
    for (const { position, kind, name, until } of this.#script.asked) {
      if (kind !== "signal" && kind !== "sleep") continue;
      const received = kind === "signal" ? signal(name) : undefined;
      if (received !== undefined) return happened(position, kind, name, received.payload);
      if (until !== undefined && until <= at) return happened(position, kind, name);
    }
    for (const going of this.#going.values()) {
      const { state, error } = going;
      if (state === "waiting" && error !== undefined && this.#isGivenUp(going))
        return { entry: this.#entryOf(going, { type: "error", error }), written: false };
    }
    return undefined;
  }

  /** Whether an activity that has failed is tried no more. */
  #isGivenUp({ asked, attempts }: Going): boolean {
    if (asked.kind === "activity" && this.#unwinding) return true;
    return attempts >= mostAttempts(this.#definition.activities[asked.name]?.retry);
  }

  /** When it goes on without anybody's doing. */
  #wakeAt(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { until } of this.#script.asked) earliest = Math.min(earliest, until ?? earliest);
    for (const { state, nextAt } of this.#going.values())
      if (state === "waiting") earliest = Math.min(earliest, nextAt);
    return earliest;
  }

  /** Whether it was let go; not when a signal has come that it had not seen. */
  async #letGo(wakeAt: number): Promise<boolean> {
    const dueAt = this.#closing ? this.#host.clock.now() : Number.isFinite(wakeAt) ? wakeAt : undefined;
    // What comes while the pen is waited for has not been looked at.
    const seen = this.#signals.length;
    await this.#withPen(() => this.#write({ type: "wait", dueAt, seen }));
    this.#over = true;
    if (this.#signalsTold > seen) this.#host.due();
    return true;
  }

  async #pause(until: number): Promise<void> {
    const awake = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const { clock } = this.#host;
    const time = Number.isFinite(until)
      ? clock.sleep(Math.max(0, until - clock.now()), awake.signal).catch(() => undefined)
      : woken;
    if (this.#happened.length === 0 || this.#joining > 0) await Promise.race([woken, time]);
    awake.abort(AWAKE);
    this.#wake = undefined;
  }

  async #try(going: Going): Promise<void> {
    const { asked } = going;
    const activity = this.#definition.activities[asked.name]!;
    going.attempts += 1;
    let happened: Happened | undefined;
    try {
      happened = this.#host.joins(activity) ? await this.#joined(going) : await this.#apart(going);
    } catch (error) {
      if (error instanceof RunAbandoned) this.#abandon(error);
      else if (!this.#over) happened = this.#failed(going, activity, error);
      // It may have been written all the same, before nobody answered.
      if (this.#host.joins(activity) && isInDoubt(error)) {
        happened = undefined;
        going.state = "waiting";
        this.#abandon(new RunAbandoned({ attempts: this.#attempts(), dueAt: going.nextAt }, { cause: error }));
      }
    }
    if (happened !== undefined && !this.#over) this.#happened.push(happened);
    this.#wake?.();
  }

  async #apart(going: Going): Promise<Happened> {
    if (!this.#mayWriteLater(going)) await this.#withPen(() => this.#write());
    const value = await this.#host.attempt(this.#attemptOf(going), undefined);
    return { entry: this.#entryOf(going, { type: "value", value }), written: false };
  }

  /**
   * Whether what has happened may get lost, and happen again: in another order, perhaps, and with other results. What is
   * attempted on account of it must then be nothing that would be done under another key the next time.
   */
  #mayWriteLater({ asked: { kind, name } }: Going): boolean {
    const { activities } = this.#definition;
    const { repeatable, changesNothing = repeatable } = activities[name]!;
    if (kind !== "activity" || changesNothing !== true || this.#unwritten.length > MOST_UNWRITTEN) return false;
    if (canonicalJson(this.#counted()) !== this.#lastAttempts) return false;
    return this.#unwritten.every(
      (entry) =>
        entry.kind === "activity" && entry.outcome.type === "value" && activities[entry.name]?.repeatable === true,
    );
  }

  /** The result is written with what the activity changes, and so is what has happened before. Until then nothing else is. */
  #joined(going: Going): Promise<undefined> {
    this.#joining += 1;
    const attempt = async () => {
      if (this.#over) throw new RunOver();
      const attempts = this.#attempts();
      let entries: readonly JournalEntry[] = [];
      const join = (value: Json | undefined) => {
        entries = [...this.#unwritten, this.#entryOf(going, { type: "value", value })];
        return { id: this.#taken.id, fence: this.#taken.fence, length: this.#length, entries, attempts };
      };
      try {
        await this.#host.attempt(this.#attemptOf(going), join);
      } catch (error) {
        await this.#writeWithout();
        throw error;
      }
      this.#unwritten = [];
      this.#length += entries.length;
      // In the journal's order, and before anybody may look again.
      const behind = this.#happened.filter(({ written }) => written).length;
      this.#happened.splice(behind, 0, { entry: entries.at(-1)!, written: true });
      return undefined;
    };
    return this.#withPen(attempt).finally(() => {
      this.#joining -= 1;
    });
  }

  /** Writes what was to be written with a change that has failed. */
  async #writeWithout(): Promise<void> {
    this.#lastAttempts = "";
    try {
      await this.#write();
    } catch (error) {
      // The next write has what this one had.
      if (!(error instanceof RunAbandoned)) throw error;
    }
  }

  #attemptOf({ asked, attempts, progress, abort }: Going): ActivityAttempt {
    const { name, args, position } = asked;
    const heartbeat = (told: Json | undefined) => this.#heartbeat(position, told);
    const { signal } = abort;
    const known = progress === undefined ? undefined : jsonCopy(progress);
    return { execution: this.#taken, name, args, position, number: attempts, progress: known, signal, heartbeat };
  }

  #entryOf({ asked, attempts }: Going, outcome: JournalEntry["outcome"]): JournalEntry {
    const { position, kind, name } = asked;
    return { position, kind, name, at: this.#host.clock.now(), outcome, attempts };
  }

  #abandon(reason: RunAbandoned): void {
    this.#abandoned ??= reason;
    this.lose();
  }

  /** What a failed attempt comes to: nothing yet, when there is to be another one. */
  #failed(going: Going, activity: Activity, error: unknown): Happened | undefined {
    const record = this.#recordOf(error, `The activity "${going.asked.name}"`);
    going.error = record;
    const wait =
      this.#unwinding && going.asked.kind === "activity"
        ? undefined
        : waitBeforeRetry(activity.retry, going.attempts, error);
    if (wait === undefined) return { entry: this.#entryOf(going, { type: "error", error: record }), written: false };
    going.state = "waiting";
    going.nextAt = this.#host.clock.now() + wait;
    return undefined;
  }

  async #heartbeat(position: number, progress: Json | undefined): Promise<void> {
    const going = this.#going.get(position);
    if (going === undefined || this.#over) return;
    if (progress !== undefined) going.progress = storableJson(progress, "The progress") ?? null;
    const now = this.#host.clock.now();
    if (progress === undefined || now < this.#heartbeatAt + HEARTBEAT_WRITE_MS) return;
    this.#heartbeatAt = now;
    try {
      await this.#withPen(() => this.#write());
    } catch (error) {
      // The next write tells of it.
      if (!(error instanceof RunAbandoned)) throw error;
    }
  }

  /** One writer at a time, in order. */
  #withPen<T>(write: () => Promise<T>): Promise<T> {
    const turn = this.#pen.then(write);
    this.#pen = turn.catch(() => undefined);
    return turn;
  }

  async #write(next?: ExecutionWrite["next"]): Promise<void> {
    if (this.#over) throw new RunOver();
    const entries = this.#unwritten;
    const attempts = this.#attempts();
    if (entries.length === 0 && next === undefined && attempts === undefined) return;
    this.#unwritten = [];
    const { tenant, id, fence } = this.#taken;
    const write = { tenant, id, fence, length: this.#length, entries, attempts, next };
    let written: boolean;
    try {
      written =
        next?.type === "end" ? await this.#host.end(this.#taken, write, next.end) : await this.#host.write(write);
    } catch (cause) {
      // An activity may go on without its heartbeat: the next write has what this one had.
      this.#unwritten = [...entries, ...this.#unwritten];
      this.#lastAttempts = "";
      throw new RunAbandoned({}, { cause });
    }
    if (!written) {
      this.lose();
      throw new RunOver();
    }
    this.#length += entries.length;
  }

  /** What is to be written of attempts; undefined when that has not changed. */
  #attempts(): Readonly<Record<string, ActivityAttempts>> | undefined {
    const attempts = this.#counted();
    const text = canonicalJson(attempts);
    if (text === this.#lastAttempts) return undefined;
    this.#lastAttempts = text;
    return attempts;
  }

  #counted(): Readonly<Record<string, ActivityAttempts>> {
    const attempts: Record<string, ActivityAttempts> = {};
    for (const { asked, state, attempts: tried, nextAt, error, progress } of this.#going.values()) {
      const failed = state === "waiting" ? tried : tried - 1;
      if (failed > 0 || progress !== undefined)
        attempts[String(asked.position)] = { name: asked.name, attempts: failed, nextAt, error, progress };
    }
    return attempts;
  }

  async #end(): Promise<void> {
    const { finish, canceled } = this.#script;
    const end = this.#endOf(finish!, canceled);
    await this.#withPen(() => this.#write({ type: "end", end, at: this.#host.clock.now() }));
  }

  #endOf(
    { failed, error, value }: NonNullable<ExecutionScript["finish"]>,
    canceled: ArmatureError | undefined,
  ): ExecutionEnd {
    const status = canceled === undefined ? "failed" : "canceled";
    if (canceled === undefined && !failed) {
      try {
        return { status: "completed", result: storableJson(value, "The result") };
      } catch (refused) {
        return { status, error: this.#recordOf(refused, "The result") };
      }
    }
    const record = this.#recordOf(canceled ?? error, "The execution");
    if (this.#unundone.length > 0)
      return { status, error: new CompensationFailed({ activities: this.#unundone, cause: record.message }).toJSON() };
    const all = this.#length + this.#unwritten.length;
    const retryFrom = this.#script.givenBy(error) ?? all;
    // What was done behind the failure would be done again, or be taken for something else.
    const isLast = retryFrom >= all - 1;
    return {
      status,
      error: record,
      retryFrom: status === "failed" && this.#undone === 0 && isLast ? retryFrom : undefined,
    };
  }

  /** It cannot go on: not by what it does, but by what it is. */
  async #fail(error: unknown): Promise<void> {
    const record = this.#recordOf(error, "The execution");
    const at = this.#host.clock.now();
    // Nothing that was done is undone: with a definition that fits, it can go on from where it stands.
    const end = { status: "failed", error: record, retryFrom: this.#length + this.#unwritten.length } as const;
    try {
      await this.#withPen(() => this.#write({ type: "end", end, at }));
    } catch (failure) {
      if (!(failure instanceof RunOver)) throw failure;
    }
  }

  #recordOf(error: unknown, subject: string): ErrorRecord {
    if (error instanceof ArmatureError) {
      const record = error.toJSON();
      if (isStorable(record as never)) return record;
      return { ...record, message: errorText(record.message), details: {} };
    }
    const { id, tenant, traceparent } = this.#taken;
    const traceId = traceparent.split("-")[1] ?? "";
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    this.#host.logger.error(`${subject} failed unexpectedly`, {
      ...{ tenant, execution: id, definition: this.#definition.name, traceId },
      error: text,
    });
    return new InternalError({ traceId }).toJSON();
  }
}

/** The run has been let go, lost or ended: nothing more is written. */
export class RunOver extends Error {}

/** It is not known whether something was written: whoever takes the execution next reads what was. */
export class RunAbandoned extends Error {
  readonly attempts: ExecutionWrite["attempts"];
  readonly dueAt: number | undefined;

  constructor(
    { attempts, dueAt }: { readonly attempts?: ExecutionWrite["attempts"]; readonly dueAt?: number },
    options: ErrorOptions,
  ) {
    super("It is not known whether what happened to an execution was written.", options);
    this.attempts = attempts;
    this.dueAt = dueAt;
  }
}

const DOUBTFUL: ReadonlySet<ErrorKind> = new Set(["timeout", "unavailable", "internal", "unknown-outcome"]);

function isInDoubt(error: unknown): boolean {
  return !(error instanceof RunOver) && !(error instanceof ArmatureError && !DOUBTFUL.has(error.kind));
}
