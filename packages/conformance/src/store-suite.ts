import type { Store } from "@armature/core";
import { afterAll, beforeAll } from "vitest";
import { registerCommitTests } from "./store-commit-tests.ts";
import { registerCounterTests } from "./store-counter-tests.ts";
import { registerFindTests } from "./store-find-tests.ts";
import { contexts } from "./store-fixture.ts";
import { registerFollowTests } from "./store-follow-tests.ts";
import { registerLogTests } from "./store-log-tests.ts";
import { registerMigrateTests } from "./store-migrate-tests.ts";
import { registerModelTests } from "./store-model-tests.ts";
import { registerOnceTests } from "./store-once-tests.ts";
import { registerOutboxTests } from "./store-outbox-tests.ts";
import { registerRecordsTests } from "./store-records-tests.ts";
import { registerTenancyTests } from "./store-tenancy-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

/**
 * What every `Store` must do. The suite migrates contexts of its own (`conformance_…`), uses tenants of its own, and
 * closes the store at the end; the store may hold other things.
 */
export function storeSuite(adapter: string, setup: () => Store | Promise<Store>, options: SuiteOptions = {}): void {
  describeSuite("Store", adapter, options, (test) => {
    let opened: Store | undefined;
    const store = () => opened!;
    beforeAll(async () => {
      opened = await setup();
      await opened.migrate(contexts);
    });
    afterAll(async () => {
      await opened?.close();
    });

    registerCommitTests(test, store);
    registerOnceTests(test, store);
    registerFindTests(test, store);
    registerLogTests(test, store);
    registerFollowTests(test, store);
    registerRecordsTests(test, store);
    registerCounterTests(test, store);
    registerTenancyTests(test, store);
    registerMigrateTests(test, store);
    registerModelTests(test, store);
    registerOutboxTests(test, store);
  });
}
