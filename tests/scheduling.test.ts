import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";
import { schedulingScenarios } from "./scenarios/scheduling.ts";

const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

for (const kind of places) schedulingScenarios(kind);
