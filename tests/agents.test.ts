import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { agentScenarios } from "./scenarios/agents.ts";
import { inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";

const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

for (const kind of places) agentScenarios(kind);
