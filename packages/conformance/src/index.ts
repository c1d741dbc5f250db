export { httpClientSuite } from "./http-client-suite.ts";
export { secretStoreSuite } from "./secret-store-suite.ts";
export { storeSuite } from "./store-suite.ts";
export type { SuiteOptions } from "./suite.ts";
