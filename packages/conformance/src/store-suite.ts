import type { Store } from "@armature/core";
import { afterAll, beforeAll } from "vitest";
import { registerCommitTests } from "./store-commit-tests.ts";
import { registerCounterTests } from "./store-counter-tests.ts";
import { registerExecutionCommitTests } from "./store-execution-commit-tests.ts";
import { registerExecutionTests } from "./store-execution-tests.ts";
import { registerExecutionWriteTests } from "./store-execution-write-tests.ts";
import { registerFindTests } from "./store-find-tests.ts";
import { contexts } from "./store-fixture.ts";
import { registerFollowTests } from "./store-follow-tests.ts";
import { registerLetterTests } from "./store-letter-tests.ts";
import { registerLogTests } from "./store-log-tests.ts";
import { registerMigrateTests } from "./store-migrate-tests.ts";
import { registerModelTests } from "./store-model-tests.ts";
import { registerOnceTests } from "./store-once-tests.ts";
import { registerOutboxTests } from "./store-outbox-tests.ts";
import { registerProjectionTests } from "./store-projection-tests.ts";
import { registerRecordsTests } from "./store-records-tests.ts";
import { registerRelayTests } from "./store-relay-tests.ts";
import { registerRetentionTests } from "./store-retention-tests.ts";
import { registerSharedTests, type StoreSetup } from "./store-shared-tests.ts";
import { registerTenancyTests } from "./store-tenancy-tests.ts";
import { registerTimerTests } from "./store-timer-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

/**
 * What every `Store` must do. The suite migrates contexts of its own (`conformance_…`), uses tenants of its own, and
 * closes the store at the end, and `elsewhere` too; the store may hold other things.
 */
export function storeSuite(
  adapter: string,
  setup: () => Store | StoreSetup | Promise<Store | StoreSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Store", adapter, options, (test) => {
    let ready: StoreSetup | undefined;
    const store = () => ready!.store;
    beforeAll(async () => {
      const made = await setup();
      ready = "store" in made ? made : { store: made };
      await ready.store.migrate(contexts);
    });
    afterAll(async () => {
      await ready?.store.close();
      await ready?.elsewhere?.close();
    });

    registerCommitTests(test, store);
    registerOnceTests(test, store);
    registerFindTests(test, store);
    registerLogTests(test, store);
    registerFollowTests(test, store);
    registerProjectionTests(test, store, () => ready!.elsewhere ?? ready!.store);
    registerRecordsTests(test, store);
    registerCounterTests(test, store);
    registerTenancyTests(test, store);
    registerMigrateTests(test, store);
    registerModelTests(test, store);
    registerSharedTests(test, () => ready!);
    registerOutboxTests(test, store);
    registerLetterTests(test, store);
    registerTimerTests(test, store);
    registerExecutionTests(test, store, () => ready!);
    registerExecutionCommitTests(test, store, () => ready!);
    registerExecutionWriteTests(test, store, () => ready!);
    registerRetentionTests(test, store, () => ready!);
    registerRelayTests(test, store, () => ready!);
  });
}
