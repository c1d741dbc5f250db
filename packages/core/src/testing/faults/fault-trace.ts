/** What must always hold, and did not. */
export interface FaultViolation {
  /** Which rule: `one effect per consumer and event`. */
  readonly rule: string;
  readonly detail: string;
}

/** What happened in one run, in lines that a person can read, and what was wrong with it. */
export class FaultTrace {
  readonly lines: string[] = [];
  readonly violations: FaultViolation[] = [];
  readonly #now: () => number;
  readonly #start: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#start = now();
  }

  /** @param who a process, `p1`, or what else acted */
  note(who: string, what: string): void {
    const seconds = ((this.#now() - this.#start) / 1000).toFixed(3);
    this.lines.push(`${seconds.padStart(10)} ${who.padEnd(5)} ${what}`);
  }

  violation(rule: string, detail: string): void {
    this.violations.push({ rule, detail });
    this.note("!", `${rule}: ${detail}`);
  }
}
