import { AWAKE, type Clock } from "../kernel/clock.ts";

/** What happens at a time, unless it is called off before. */
export interface Deadline {
  /** Milliseconds since 1970. */
  readonly at: number;
  pass(): void;
}

/** How long a timer is kept that nobody needs: mostly the next call is about to come. */
const LOOK_BACK_MS = 20;

/** Watches the deadlines of all calls with one timer: a timer for each costs more than a short call. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #waiting = new Set<Deadline>();
  #timer: AbortController | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #lookingBack = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  watch(deadline: Deadline): void {
    this.#waiting.add(deadline);
    if (deadline.at < this.#timerAt) this.#setTimer(deadline.at);
  }

  callOff(deadline: Deadline): void {
    this.#waiting.delete(deadline);
    if (this.#waiting.size > 0 || this.#lookingBack) return;
    // A timer keeps the process alive, but the next call may be about to come.
    this.#lookingBack = true;
    setTimeout(() => {
      this.#lookingBack = false;
      this.rest();
    }, LOOK_BACK_MS).unref();
  }

  /** Waits for nothing any more, unless a deadline is still watched. */
  rest(): void {
    if (this.#waiting.size === 0) this.#stopTimer();
  }

  #setTimer(at: number): void {
    this.#stopTimer();
    const timer = new AbortController();
    this.#timer = timer;
    this.#timerAt = at;
    this.#clock.sleep(at - this.#clock.now(), timer.signal).then(
      () => this.#timer === timer && this.#ring(),
      () => undefined,
    );
  }

  #stopTimer(): void {
    this.#timer?.abort(AWAKE);
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #ring(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const deadline of this.#waiting) {
      if (deadline.at > now) {
        next = Math.min(next, deadline.at);
        continue;
      }
      this.#waiting.delete(deadline);
      deadline.pass();
    }
    if (next < this.#timerAt) this.#setTimer(next);
  }
}
