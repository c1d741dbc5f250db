import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { agentBudgets } from "./scenarios/agent-budgets.ts";
import { agentScenarios } from "./scenarios/agents.ts";
import { apartPlace, inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";

const places = [inMemoryPlace, apartPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

for (const kind of places) agentScenarios(kind);
for (const kind of places.filter((each) => each !== pglitePlace)) agentBudgets(kind);
