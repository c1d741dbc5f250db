import { describe, it, type TestContext } from "vitest";

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

/** Registers a suite under the adapter's name; a skip that names no test of it is an error. */
export function describeSuite(
  port: string,
  adapter: string,
  options: SuiteOptions,
  register: (test: RegisterTest) => void,
): void {
  const skips = new Map(options.skip?.map(({ test, reason }) => [test, reason]));
  describe(`${port}: ${adapter}`, () => {
    register((name, run, timeoutMs) => {
      const reason = skips.get(name);
      skips.delete(name);
      if (reason === undefined) it(name, run, timeoutMs);
      else it.skip(`${name} (skipped: ${reason})`, run);
    });
    if (skips.size > 0) throw new Error(`The ${port} suite has no test named "${[...skips.keys()].join('", "')}".`);
  });
}
