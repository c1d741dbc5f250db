import { Canceled, DeadlineExceeded } from "../kernel/errors.ts";

/**
 * How long a call is waited for: until its caller gives up, or its own deadline passes. A signal costs more than a short
 * call, so it is made when somebody asks for it.
 */
export class Patience {
  /** What the caller gave. */
  readonly callers: AbortSignal | undefined;
  readonly #timed: boolean;
  #exceeded: DeadlineExceeded | undefined;
  #own: AbortController | undefined;
  #signal: AbortSignal | undefined;

  /** @param timed whether there is a deadline beside the caller's signal */
  constructor(callers: AbortSignal | undefined, timed: boolean) {
    this.callers = callers;
    this.#timed = timed;
  }

  get over(): boolean {
    return this.#exceeded !== undefined || this.callers?.aborted === true;
  }

  /** The deadline has passed. */
  exceed(operation: string): void {
    this.#exceeded = new DeadlineExceeded({ operation });
    this.#own?.abort(this.#exceeded);
  }

  /** Aborted when the call is given up. */
  get signal(): AbortSignal {
    this.#signal ??= this.#makeSignal();
    return this.#signal;
  }

  /** Why it was given up. */
  reason(operation: string): DeadlineExceeded | Canceled {
    if (this.#exceeded !== undefined) return this.#exceeded;
    const given: unknown = this.callers?.reason;
    return given instanceof DeadlineExceeded ? given : new Canceled({ operation });
  }

  #makeSignal(): AbortSignal {
    if (!this.#timed && this.callers !== undefined) return this.callers;
    this.#own = new AbortController();
    if (this.#exceeded !== undefined) this.#own.abort(this.#exceeded);
    return this.callers === undefined ? this.#own.signal : AbortSignal.any([this.callers, this.#own.signal]);
  }
}
