import { createHash } from "node:crypto";
import { reviveError } from "../../kernel/errors.ts";
import {
  type Compensation,
  ExecutionCanceled,
  type ExecutionContext,
  type ExecutionDefinition,
  ExecutionDiverged,
} from "../../kernel/execution.ts";
import type { JournalEntry, JournalKind, NewExecution } from "../../kernel/executions.ts";
import { jsonCopy } from "../../kernel/json-copy.ts";
import { parse } from "../../kernel/parse.ts";
import type { Json } from "../../kernel/schema.ts";
import { storableJson } from "./storable-json.ts";

/** Something that a definition has asked for and that has not happened yet. */
export interface Asked {
  readonly position: number;
  readonly kind: JournalKind;
  readonly name: string;
  /** Of an activity. */
  readonly args: Json;
  /** When a sleep is over, or a signal no longer waited for. Milliseconds since 1970. */
  readonly until: number | undefined;
  readonly resolve: (value: Json | undefined) => void;
  readonly reject: (error: unknown) => void;
}

interface Finish {
  readonly value?: Json | undefined;
  readonly error?: unknown;
  readonly failed: boolean;
}

/**
 * The side of an execution that is the same in every repetition: the definition's function, what it has asked for, and
 * its clock. It moves only when it is told what has happened, one thing at a time.
 */
export class ExecutionScript {
  readonly #execution: NewExecution;
  readonly #definition: ExecutionDefinition;
  readonly #asked = new Map<number, Asked>();
  readonly #compensations: Compensation[] = [];
  /** Index in the journal of the entry that gave an error. */
  readonly #givenBy = new Map<unknown, number>();
  #nextPosition = 0;
  #uuids = 0;
  #askedAfterCancel = 0;
  #now: number;
  #finish: Finish | undefined;
  #canceled: ExecutionCanceled | undefined;
  #seq = 0;

  constructor(execution: NewExecution, definition: ExecutionDefinition) {
    this.#execution = execution;
    this.#definition = definition;
    this.#now = execution.startedAt;
  }

  /** What waits to happen, in the order in which it was asked for. */
  get asked(): Iterable<Asked> {
    return this.#asked.values();
  }

  get waiting(): number {
    return this.#asked.size;
  }

  /** How the function has ended; nothing that it asks for counts any more. */
  get finish(): Finish | undefined {
    return this.#finish;
  }

  get canceled(): ExecutionCanceled | undefined {
    return this.#canceled;
  }

  /** Index of the journal's entry that gave this error, when one did. */
  givenBy(error: unknown): number | undefined {
    return this.#givenBy.get(error);
  }

  /** What is to be undone next: the last thing that was done, first. */
  takeCompensation(): Compensation | undefined {
    return this.#compensations.pop();
  }

  begin(): void {
    const run = async () => this.#definition.run(this.#context(), structuredClone(this.#execution.input));
    run().then(
      (value) => this.#end({ failed: false, value }),
      (error: unknown) => this.#end({ failed: true, error }),
    );
  }

  /** Resolves when the function can go no further by itself. */
  settled(): Promise<void> {
    // What it does between two answers are microtasks, and all of them run before this.
    return new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * Tells what has happened.
   *
   * @throws {ExecutionDiverged} it is the answer to something that was not asked for
   */
  apply(entry: JournalEntry): void {
    const seq = this.#seq;
    this.#seq += 1;
    if (entry.kind === "cancel") {
      this.#now = entry.at;
      this.#cancel(entry, seq);
      return;
    }
    const asked = this.#asked.get(entry.position);
    if (asked === undefined || asked.kind !== entry.kind || asked.name !== entry.name) throw diverged(entry, asked);
    this.#now = entry.at;
    this.#asked.delete(entry.position);
    if (entry.outcome.type === "value") {
      const { value } = entry.outcome;
      // What the definition does with it changes nothing in the journal.
      asked.resolve(value === undefined ? undefined : jsonCopy(value));
      return;
    }
    const error = reviveError(entry.outcome.error, []);
    this.#givenBy.set(error, seq);
    asked.reject(error);
  }

  /** Asks for the undoing of something. */
  compensate({ activity, args }: Compensation, failed: (error: unknown) => void): void {
    void this.#ask("compensation", activity, args, undefined).catch(failed);
  }

  #end(finish: Finish): void {
    this.#finish ??= finish;
    this.#forgetWaits();
  }

  // Activities are under way, and what they come to has to be known. The rest can be forgotten.
  #forgetWaits(): void {
    for (const { position, kind } of this.#asked.values())
      if (kind === "sleep" || kind === "signal") this.#asked.delete(position);
  }

  #cancel({ outcome }: JournalEntry, seq: number): void {
    const error = new ExecutionCanceled({ reason: reasonOf(outcome.type === "value" ? outcome.value : undefined) });
    this.#canceled = error;
    this.#givenBy.set(error, seq);
    const asked = [...this.#asked.values()];
    this.#forgetWaits();
    for (const { reject } of asked) reject(error);
  }

  #context(): ExecutionContext {
    const { id, principal } = this.#execution;
    return {
      executionId: id,
      tenant: principal.tenant,
      principal,
      activity: (name, args, { compensate } = {}) => this.#activity(name, args, compensate),
      sleep: async (ms) => {
        await this.#ask("sleep", "", null, this.#now + duration(ms, "sleep"));
      },
      waitForSignal: (name, { timeoutMs } = {}) =>
        this.#ask("signal", name, null, timeoutMs === undefined ? undefined : this.#now + duration(timeoutMs, name)),
      now: () => this.#now,
      uuid: () => this.#uuid(),
    };
  }

  async #activity(
    name: string,
    given: Json,
    compensate: ((result: never) => Compensation) | undefined,
  ): Promise<Json | undefined> {
    const activity = Object.hasOwn(this.#definition.activities, name) ? this.#definition.activities[name] : undefined;
    if (activity === undefined)
      throw new TypeError(`The definition "${this.#definition.name}" has no activity "${name}".`);
    const subject = `The arguments of the activity "${name}"`;
    const args = storableJson(activity.input === undefined ? given : parse(activity.input, given, subject), subject);
    if (compensate === undefined) return this.#ask("activity", name, args ?? null, undefined);
    return this.#ask("activity", name, args ?? null, undefined, (value) => {
      // Also when nobody waits for the answer any more: it was done, and is to be undone.
      const undo = compensate(value as never);
      if (!Object.hasOwn(this.#definition.activities, undo.activity))
        throw new TypeError(`The definition "${this.#definition.name}" has no activity "${undo.activity}".`);
      this.#compensations.push({ activity: undo.activity, args: storableJson(undo.args, subject) ?? null });
    });
  }

  #ask(
    kind: JournalKind,
    name: string,
    args: Json,
    until: number | undefined,
    done?: (value: Json | undefined) => void,
  ): Promise<Json | undefined> {
    if (kind !== "compensation") {
      if (this.#canceled !== undefined) {
        this.#askedAfterCancel += 1;
        if (this.#askedAfterCancel <= MOST_AFTER_CANCEL) return Promise.reject(this.#canceled);
        // It goes on whatever it is told, and would never let anybody else have a turn.
        this.#end({ failed: true, error: this.#canceled });
        return new Promise(() => undefined);
      }
      // Whoever goes on after the end goes nowhere: nothing waits for it.
      if (this.#finish !== undefined) return new Promise(() => undefined);
    }
    const position = this.#nextPosition;
    this.#nextPosition += 1;
    const answer = new Promise<Json | undefined>((resolve, reject) => {
      const answered = (value: Json | undefined) => {
        try {
          done?.(value);
          resolve(value);
        } catch (error) {
          reject(error);
        }
      };
      this.#asked.set(position, { position, kind, name, args, until, resolve: answered, reject });
    });
    // One of several that are waited for together may fail when nobody listens to the others any more.
    answer.catch(() => undefined);
    return answer;
  }

  #uuid(): string {
    this.#uuids += 1;
    const { principal, id } = this.#execution;
    const bytes = createHash("sha256").update(`${principal.tenant} ${id} ${this.#uuids}`).digest();
    bytes[6] = (bytes[6]! & 0x0f) | 0x80;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const hex = bytes.toString("hex");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
  }
}

/** A hundred years. Beyond are numbers that no database keeps, and times that are no dates. */
const LONGEST_MS = 3_155_760_000_000;

/** How often a definition may be told that it was canceled before it is not listened to any more. */
const MOST_AFTER_CANCEL = 1_000;

/** `the activity "charge"` */
function described({ kind, name }: Pick<Asked, "kind" | "name">): string {
  return name === "" ? `a ${kind}` : `the ${kind} "${name}"`;
}

/** The journal has an entry that nothing asks for. */
export function diverged(entry: JournalEntry, asked: Asked | undefined): ExecutionDiverged {
  return new ExecutionDiverged({
    position: entry.position,
    recorded: described(entry),
    asked: asked === undefined ? "nothing" : described(asked),
  });
}

function reasonOf(payload: Json | undefined): string {
  return typeof payload === "string" ? payload : "no reason was given";
}

function duration(ms: number, what: string): number {
  if (ms >= 0 && ms <= LONGEST_MS) return Math.ceil(ms);
  throw new TypeError(`"${what}" was given ${ms} as a number of milliseconds: 0 to ${LONGEST_MS} can be waited.`);
}
