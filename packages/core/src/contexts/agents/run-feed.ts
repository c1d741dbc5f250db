import type { Emitter } from "mitt";
import type { Clock } from "../../kernel/clock.ts";
import type { AnswerDelta } from "./contract.ts";
import type { ModelDelta } from "./model-stream.ts";

/** A piece of an answer, and where its message will stand in the conversation. */
export interface WrittenText extends AnswerDelta {
  readonly order: string;
}

/** By tenant and run: something of it is durable now, or its model has written on. */
export type RunSignals = Record<string, "changed" | WrittenText>;

/** How much is kept for a follower who does not read, in characters. Beyond it the text so far is dropped. */
const KEPT = 65_536;

/**
 * What happens to runs in this process, for who follows them in it. Nothing here is durable, and nobody is waited for: a
 * follower who reads slowly gets larger pieces, or misses some.
 */
export class RunFeed {
  readonly #signals: Emitter<RunSignals>;
  /** Answers that are streamed now, as far as they have come. */
  readonly #underWay = new Map<string, WrittenText>();

  constructor(signals: Emitter<RunSignals>) {
    this.#signals = signals;
  }

  /** Aggregates of a tenant have changed, runs among them perhaps. */
  changed(tenant: string, ids: readonly string[]): void {
    if (this.#signals.all.size === 0) return;
    for (const id of ids) this.#signals.emit(keyOf(tenant, id), "changed");
  }

  /** Whether somebody follows one of these runs. */
  isFollowed(tenant: string, runIds: readonly string[]): boolean {
    return runIds.some((id) => this.#signals.all.has(keyOf(tenant, id)));
  }

  /** To be closed when it is read no more. */
  follow(tenant: string, runId: string): RunFollower {
    const key = keyOf(tenant, runId);
    const follower = new RunFollower(this.#underWay.get(key));
    const hear = (signal: RunSignals[string]) => follower.hear(signal);
    this.#signals.on(key, hear);
    follower.close = () => {
      this.#signals.off(key, hear);
      if (this.#signals.all.get(key)?.length === 0) this.#signals.all.delete(key);
    };
    return follower;
  }

  /**
   * Shows an answer while it is written, to the followers of these runs.
   *
   * @param answer which message it will be, and which attempt at it this is
   */
  show(tenant: string, runIds: readonly string[], answer: Omit<WrittenText, "offset" | "text">): ShownAnswer {
    const keys = runIds.map((id) => keyOf(tenant, id));
    let restarts = 0;
    let shown: WrittenText = { ...answer, offset: 0, text: "" };
    return {
      delta: (delta) => {
        if (delta.type === "restarted") {
          restarts += 1;
          shown = { ...answer, attempt: `${answer.attempt}/${restarts}`, offset: 0, text: "" };
        }
        if (delta.type !== "text") return;
        const piece = { ...shown, offset: shown.text.length, text: delta.text };
        shown = { ...shown, text: shown.text + delta.text };
        for (const key of keys) {
          this.#signals.emit(key, piece);
          this.#underWay.set(key, shown);
        }
      },
      end: () => {
        for (const key of keys) this.#underWay.delete(key);
      },
    };
  }
}

/** An answer under way, as its writer sees it. */
export interface ShownAnswer {
  readonly delta: (delta: ModelDelta) => void;
  end(): void;
}

/** One who follows: what has come since they last looked. */
export class RunFollower {
  #changed = false;
  #text: WrittenText | undefined;
  #wake: (() => void) | undefined;
  close: () => void = () => {};

  constructor(soFar: WrittenText | undefined) {
    this.#text = soFar;
  }

  hear(signal: RunSignals[string]): void {
    if (signal === "changed") this.#changed = true;
    else this.#text = joined(this.#text, signal);
    this.#wake?.();
  }

  /** Whether something has become durable since this was last asked. */
  takeChanged(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  /** The text that has come, in one piece. */
  takeText(): WrittenText | undefined {
    const text = this.#text;
    this.#text = undefined;
    return text;
  }

  /** Waits until there is something to take, for so long at most; whether there is. */
  async heard(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    if (!this.#hasSome) await clock.sleep(ms, AbortSignal.any([woken.signal, signal])).catch(() => undefined);
    this.#wake = undefined;
    return this.#hasSome;
  }

  get #hasSome(): boolean {
    return this.#changed || this.#text !== undefined;
  }
}

/** As one piece, where the second goes on from the first; else the second: where it begins says what is missing. */
function joined(some: WrittenText | undefined, more: WrittenText): WrittenText {
  const goesOn = some?.attempt === more.attempt && some.offset + some.text.length === more.offset;
  return goesOn && some.text.length < KEPT ? { ...some, text: some.text + more.text } : more;
}

// No tenant's name has a blank.
function keyOf(tenant: string, id: string): string {
  return `${tenant} ${id}`;
}
