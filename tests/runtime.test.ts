import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { commitScenarios } from "./scenarios/commits.ts";
import { idempotencyScenarios } from "./scenarios/idempotency.ts";
import { pipelineScenarios } from "./scenarios/pipeline.ts";
import { inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";
import { relayScenarios } from "./scenarios/relay.ts";
import { versionScenarios } from "./scenarios/versions.ts";

const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

for (const kind of places) {
  pipelineScenarios(kind);
  idempotencyScenarios(kind);
  commitScenarios(kind);
  relayScenarios(kind);
  versionScenarios(kind);
}
