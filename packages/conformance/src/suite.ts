import { describe, expect, it, type TestContext } from "vitest";

/** How an adapter says which of the suite's tests do not hold for it. */
export interface SuiteOptions {
  /** Tests by their full name, each with the reason, which is printed. */
  readonly skip?: readonly { readonly test: string; readonly reason: string }[];
}

/** Registers one test. */
export type RegisterTest = (
  name: string,
  run: (context: TestContext) => void | Promise<void>,
  timeoutMs?: number,
) => void;

/** Registers a suite under the adapter's name. */
export function describeSuite(
  port: string,
  adapter: string,
  options: SuiteOptions,
  register: (test: RegisterTest) => void,
): void {
  describe(`${port}: ${adapter}`, () => {
    const skips = new SkipList(options);
    register((name, run, timeoutMs) => {
      const reason = skips.reasonFor(name);
      if (reason === undefined) it(name, run, timeoutMs);
      else it.skip(`${name} (skipped: ${reason})`, run);
    });
    if (options.skip !== undefined)
      it("every test that is to be skipped is one of this suite", () => expect(skips.unknown).toEqual([]));
  });
}

/** Notices the names that no test has asked for, so that a list of skips does not outlive its reasons. */
export class SkipList {
  readonly #reasons: ReadonlyMap<string, string>;
  readonly #unknown: Set<string>;

  constructor({ skip = [] }: SuiteOptions) {
    this.#reasons = new Map(skip.map(({ test, reason }) => [test, reason]));
    this.#unknown = new Set(this.#reasons.keys());
  }

  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  reasonFor(test: string): string | undefined {
    this.#unknown.delete(test);
    return this.#reasons.get(test);
  }
}
