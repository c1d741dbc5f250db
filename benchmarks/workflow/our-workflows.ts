import { randomBytes } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import {
  activity,
  type CloudEvent,
  createArmature,
  defineWorkflow,
  type EventBus,
  type StoreAdapter,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { Pool } from "pg";
import { z } from "zod";
import { rowsOf } from "../command/changes.ts";
import { type RunsContender, runsContender, type WorkflowSetting } from "./runs.ts";

const number = z.strictObject({ value: z.int() });

/** A workflow whose activities each add 1. */
const adding = (activities: number) =>
  defineWorkflow({
    name: "adding",
    version: 1,
    input: number,
    output: number,
    activities: { add: activity({ input: number, output: number, run: ({ value }) => ({ value: value + 1 }) }) },
    run: async (ctx, input) => {
      let sum = input;
      for (let done = 0; done < activities; done += 1) sum = await ctx.activity("add", sum);
      return sum;
    },
  });

/** Workflows as an application runs them: started by a user's command, with events, audit and all. */
export async function onPostgres(setting: WorkflowSetting): Promise<RunsContender> {
  const { database, connections } = setting;
  const pool = new Pool({ connectionString: database.url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const store = () => postgres({ pool, rolePrefix: database.name });
  const before = await createArmature({ ...options(setting), store: store(), relay: false, executions: false });
  await before.migrate();
  await before.close();
  const { run, close } = await started(store(), setting);
  return runsContender(setting, {
    subject: "armature",
    run,
    written: () => rowsOf(database.pool, [endedAsTheyShould(setting), "workflows.execution_journal"]),
    close: async () => {
      await close();
      await pool.end();
    },
  });
}

/** The same without a database. */
export async function inThisProcess(setting: WorkflowSetting): Promise<RunsContender> {
  const { run, close } = await started(inMemory(), setting);
  return runsContender(setting, { subject: "armature (in memory)", note: "nothing is durable", run, close });
}

const options = ({ activities }: WorkflowSetting) => ({
  workflows: [adding(activities)],
  keyEncryptionKey: randomBytes(32).toString("base64"),
  authorizer: () => true,
});

const endedAsTheyShould = ({ activities }: WorkflowSetting) =>
  `workflows.executions JOIN workflows.execution_inputs USING (tenant, id)
     WHERE (ended #>> '{result,value}')::int = (body #>> '{input,value}')::int + ${activities}`;

async function started(store: StoreAdapter, setting: WorkflowSetting) {
  const waiting = new Map<string, () => void>();
  const app = await createArmature({
    ...options(setting),
    store,
    // Who waits for a workflow hears of its end as everybody does: by the event that the relay publishes.
    bus: hearing((event) => {
      const { executionId } = event.data as { readonly executionId: string };
      if (event.type === "workflow.started") return;
      waiting.get(executionId)?.();
      waiting.delete(executionId);
    }),
  });
  const { workflows } = app.as({ tenant: "acme", user: "ann" });
  let starts = 0;
  const run = async (value: number) => {
    starts += 1;
    const executionId = `adding-${starts}`;
    const ended = new Promise<void>((resolve) => void waiting.set(executionId, resolve));
    await workflows.start({ workflow: "adding", executionId, input: { value } });
    await ended;
    return undefined;
  };
  return { run, close: () => app.close() };
}

function hearing(hear: (event: CloudEvent) => void): EventBus {
  return {
    publish: async (events) => events.forEach(hear),
    subscribe: async () => ({ close: async () => {} }),
    ping: async () => {},
    close: async () => {},
  };
}
