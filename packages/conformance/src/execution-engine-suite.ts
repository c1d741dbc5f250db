import { beforeAll } from "vitest";
import { registerEngineEndTests } from "./execution-engine-end-tests.ts";
import type { ExecutionEngineSetup } from "./execution-engine-fixture.ts";
import { registerEngineTests } from "./execution-engine-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

/**
 * What every `ExecutionEngine` must do, seen through applications that run on it. The suite knows nothing of where the
 * engine keeps what it carries. The processes that it opens it closes, except those that it has killed. Tests of deaths are skipped where
 * the setup cannot bring them about.
 */
export function executionEngineSuite(
  engine: string,
  setup: () => ExecutionEngineSetup | Promise<ExecutionEngineSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("ExecutionEngine", engine, options, (test) => {
    let ready: ExecutionEngineSetup;
    beforeAll(async () => {
      ready = await setup();
    });
    registerEngineTests(test, () => ready);
    registerEngineEndTests(test, () => ready);
  });
}
