import {
  type Armature,
  type ArmatureOptions,
  apiKey,
  type ConnectorDefinition,
  connectorAction,
  createArmature,
  defineConnector,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import {
  type FixedClock,
  fixedClock,
  ProviderSimulator,
  type RecordingLogger,
  recordingLogger,
} from "@armature/core/testing";
import { afterEach } from "vitest";
import { z } from "zod";

export const api = "https://api.played.example";
const item = z.object({ id: z.string() });

/** A connector to a provider that is played: it reads one thing, and writes one. */
export function played(http: Partial<ConnectorDefinition["http"]> = {}) {
  return defineConnector({
    id: "played",
    name: "Played",
    auth: { apiKey: apiKey({ header: "x-api-key" }) },
    http: { baseUrl: api, attempts: 1, ...http },
    health: async () => ({ id: "1", name: "Acme" }),
    actions: {
      read: connectorAction({
        summary: "Reads.",
        risk: "read",
        input: z.strictObject({ id: z.string() }),
        output: item,
        run: ({ id }, { http }) => http.get(`/items/${id}`, { schema: item }),
      }),
      write: connectorAction({
        summary: "Writes, and twice when it is repeated.",
        risk: "write",
        input: z.strictObject({}),
        output: item,
        run: (_input, { http }) => http.post("/items", { json: {}, schema: item }),
      }),
    },
  });
}

const running: Armature[] = [];
afterEach(async () => {
  for (const app of running.splice(0)) await app.close();
});

/** An application on a clock that stands still. */
export async function playedApp<D extends ConnectorDefinition>(
  definition: D,
  options: Partial<ArmatureOptions> & { readonly clock?: FixedClock } = {},
) {
  const clock = options.clock ?? fixedClock();
  const simulator = new ProviderSimulator({ clock });
  const logger: RecordingLogger = recordingLogger();
  const app = await createArmature({
    store: inMemory(),
    authorizer: () => true,
    connectors: [definition],
    http: simulator,
    clock,
    logger,
    relay: false,
    ...options,
  });
  running.push(app);
  /** A tenant's connection, and its actions. */
  const connect = async (tenant = "acme") => {
    const { connectors } = app.as({ tenant, user: "ann" });
    const { id } = await connectors.connectWithApiKey({ provider: definition.id, apiKey: "key" });
    const invoke = async (action: string, input: object = {}, given?: object) =>
      (await connectors.invoke({ connectorId: id, action, input: input as never }, given)).result as never;
    return { connectorId: id, connectors, invoke };
  };
  return { app, clock, simulator, logger, connect };
}

/** Lets calls go through their waits, by steps, until they have ended. */
export async function hurry<T>(clock: FixedClock, step: number, call: Promise<T>): Promise<T> {
  let ended = false;
  const end = () => {
    ended = true;
  };
  const done = call.then(end, end);
  while (!ended) {
    // Whoever can go on without time passing does so first.
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await Promise.race([done, clock.untilSleeping(1, 60_000)]);
    if (!ended) await clock.advance(step);
  }
  return call;
}
