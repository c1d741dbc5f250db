import { z } from "zod";
import { AuthorizationInvalid, type Connectors, connectors } from "../contexts/connectors/contract.ts";
import type { AuthorizationSigner } from "../contexts/connectors/ports.ts";
import type { ApiKeyAuthenticator } from "../contexts/identity/authenticator.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import type { CallOptions, OwnClient } from "../kernel/contract.ts";
import { DeadlineExceeded, ShuttingDown } from "../kernel/errors.ts";
import { parse } from "../kernel/parse.ts";
import type { HttpClient } from "../kernel/ports.ts";
import { type Principal, type PrincipalInput, toPrincipal } from "../kernel/principal.ts";
import type { PrincipalTokens } from "../kernel/principal-token.ts";
import type { TransactionClient, TransactionStore } from "../kernel/store-adapter.ts";
import type { Armature, ArmatureOptions, CallbackResult, OperationDescription } from "./armature.ts";
import type { BackgroundWork } from "./background-work.ts";
import { type CallRequest, callOptions } from "./call.ts";
import { clientOf } from "./client.ts";
import { executionWorkers } from "./executions/execution-workers.ts";
import type { Calls } from "./handler-context.ts";
import { HostTransactions, type PipelineWithin } from "./host-transactions.ts";
import { LeasedLoop } from "./leased-loop.ts";
import { OutboxSignals } from "./outbox-signals.ts";
import type { Pipeline } from "./pipeline.ts";
import { authenticated } from "./principal-tokens.ts";
import type { ProjectionDesk } from "./projection-administration.ts";
import { ProjectionRunner } from "./projection-runner.ts";
import { Relay } from "./relay.ts";
import { type RelaySettings, relaySettings } from "./relay-settings.ts";
import type { RemoteAgents } from "./remote-agents.ts";
import { RetentionLoop, retentionSettings } from "./retention-loop.ts";
import type { RuntimePorts } from "./runtime-ports.ts";
import { Slots } from "./slots.ts";
import { TimerLoop } from "./timer-loop.ts";

interface Parts {
  readonly options: ArmatureOptions;
  readonly ports: RuntimePorts;
  readonly pipeline: Pipeline;
  readonly contexts: readonly ContextDefinition[];
  readonly authenticator: ApiKeyAuthenticator;
  readonly signer: AuthorizationSigner;
  readonly tokens: PrincipalTokens | undefined;
  /** The client itself, to be closed. */
  readonly http: HttpClient;
  readonly remote: RemoteAgents | undefined;
  /** The same pipeline inside of a transaction. */
  readonly over: (store: TransactionStore) => PipelineWithin;
  /** Work that goes on without a caller: token renewals. */
  readonly background: BackgroundWork;
  readonly desk: ProjectionDesk;
}

/** How long handlers whose callers have given up may still take when the application closes. */
const GRACE_MS = 5_000;
const LOOK_AGAIN_MS = 20;

const callbackParameters = z.object({
  state: z.string().min(1).max(4000),
  code: z.string().max(4000).optional(),
  iss: z.string().max(500).optional(),
  error: z.string().max(200).optional(),
});

/** Starts the relays and gives the object that a host works with. */
export async function runningArmature(parts: Parts): Promise<Armature> {
  const { options, ports, pipeline, contexts } = parts;
  const { store, clock } = ports;
  const stored = contexts.map(({ contract, aggregates, projections }) => ({
    name: contract.name,
    aggregates: aggregates.map(({ definition }) => ({ type: definition.type, index: definition.index })),
    projections: projections.map(({ name, index }) => ({ name, index })),
  }));
  const carried = contexts.filter(({ executions }) => executions.length > 0).map(({ contract }) => contract.name);
  const migrate = async () => {
    await store.migrate(stored);
    await ports.engine?.migrate?.(carried);
  };
  if (store.embedded) await migrate();

  const settings = options.relay === false ? undefined : relaySettings(options.relay ?? {});
  const relays = settings === undefined ? [] : relaysOf(parts, settings);
  const followers = contexts.flatMap((context) =>
    context.projections.flatMap((definition) => {
      if (options.projections === false) return [];
      const runner = new ProjectionRunner(context, definition, ports, options.projections);
      return [{ runner, loop: new LeasedLoop(runner, ports) }];
    }),
  );
  const nudge = new Map(contexts.map(({ contract }, index) => [contract.name, relays[index]]));
  const signals = new OutboxSignals({ ...ports, outbox: store.outbox });
  // Ours, and those of other processes unless there can be none, or ours has everything.
  const nudgeRelays = (changed: readonly string[]) => {
    for (const name of changed) {
      const own = nudge.get(name);
      own?.nudge();
      if (!store.embedded && own?.alone !== true) signals.tell(name);
    }
  };
  const names = contexts.map(({ contract }) => contract.name);
  const timers =
    settings === undefined
      ? undefined
      : new TimerLoop(ports, {
          contexts: names,
          pollMs: settings.pollMs,
          fired: (context) => nudgeRelays([context]),
        });
  const workers = executionWorkers(options.executions, parts);
  const loops: readonly (TimerLoop | Relay | LeasedLoop)[] = [
    ...(timers === undefined ? [] : [timers]),
    ...relays,
    ...followers.map(({ loop }) => loop),
  ];
  const { retention = options.relay === false ? false : {} } = options;
  const pruning =
    retention === false
      ? undefined
      : new LeasedLoop(new RetentionLoop(ports, names, retentionSettings(retention)), ports);
  // Engines begin by themselves.
  const working: readonly Pick<Relay, "look" | "progress" | "stop">[] = [...workers.values(), ...loops];
  const progress = () => working.reduce((sum, each) => sum + each.progress, 0);
  const nudgeFollowers = (changed: readonly string[]) => {
    for (const { runner, loop } of followers) if (changed.some((name) => runner.sources.has(name))) loop.nudge();
  };
  ports.lifecycle.on("committed", ({ contexts: changed, dueAt, executions }) => {
    nudgeRelays(changed);
    nudgeFollowers(changed);
    for (const name of executions ?? []) {
      workers.get(name)?.nudge();
      // Whoever relays alone tells nobody of that, and others may work on executions.
      if (!store.embedded) signals.tell(name);
    }
    if (dueAt !== undefined) timers?.nudge(dueAt);
  });
  // What other processes tell of is news for whoever works on it here.
  if (working.length > 0)
    signals.hear((name) => {
      nudge.get(name)?.nudge();
      workers.get(name)?.nudge();
      nudgeFollowers([name]);
    });
  for (const loop of loops) loop.start();
  pruning?.start();
  const unwatch = [
    ports.telemetry.watchOutbox(names, (context) => store.outbox.size(context)),
    ports.telemetry.watchProjections(parts.desk.names, (projection) => parts.desk.lag(projection)),
  ];

  const operations: readonly OperationDescription[] = contexts.flatMap(({ contract }) =>
    Object.entries(contract.operations)
      .filter(([, operation]) => operation.permission !== "internal")
      .map(([name, operation]) => ({ id: `${contract.name}.${name}`, context: contract.name, operation })),
  );

  let closing: Promise<void> | undefined;
  // How a call gets in from outside; what handlers and relays call is under way already.
  const calls: Pick<Calls, "call" | "stream"> & Pick<Pipeline, "openStream"> = {
    call: (id, input, request) =>
      closing === undefined ? pipeline.call(id, input, request) : Promise.reject(new ShuttingDown({})),
    async *stream(id, input, request) {
      if (closing !== undefined) throw new ShuttingDown({});
      yield* pipeline.stream(id, input, request);
    },
    openStream: async (id, input, request) => {
      if (closing !== undefined) throw new ShuttingDown({});
      return pipeline.openStream(id, input, request);
    },
  };

  const transactions = new HostTransactions(parts);
  const clients = (principal: Principal) => {
    const all: Record<string, unknown> = {};
    for (const { contract } of contexts) {
      let client: unknown;
      Object.defineProperty(all, contract.name, {
        enumerable: true,
        get: () => {
          client ??= clientOf(calls, contract, { principal });
          return client;
        },
      });
    }
    Object.defineProperty(all, "within", {
      value: async (client: TransactionClient, run: (clients: never) => unknown) => {
        if (closing !== undefined) throw new ShuttingDown({});
        return transactions.within(principal, client, run);
      },
    });
    return all;
  };

  const close = async () => {
    for (const end of unwatch) end();
    await signals.close();
    await Promise.all([...working.map((each) => each.stop()), pruning?.stop()]);
    transactions.stop();
    await pipeline.answered();
    await parts.background.ended();
    const enough = new AbortController();
    await Promise.race([
      Promise.all([pipeline.ended(), transactions.ended()]),
      clock.sleep(GRACE_MS, enough.signal).catch(() => undefined),
    ]);
    enough.abort();
    await ports.bus.close();
    await closeHttp(parts.http);
    await parts.remote?.close();
    await ports.engine?.close();
    await store.close();
  };

  const app: Armature = {
    as: (principal) => clients(toPrincipal(principal)) as never,
    call: async (id, input, { principal, ...options }) => calls.call(id, input, fromOutside(principal, options)),
    stream: (id, input, { principal, ...options }) => calls.stream(id, input, fromOutside(principal, options)),
    openStream: async (id, input, { principal, ...options }) =>
      calls.openStream(id, input, fromOutside(principal, options)),
    operations,
    authenticate: (credential) => authenticated(parts, credential),
    publicKeys: () => parts.tokens?.publicKeys() ?? { keys: [] },
    oauthCallback: (parameters) => oauthCallback(parts.signer, calls, parameters),
    migrate,
    pendingMigration: async () => (await store.pendingMigration?.(stored)) ?? [],
    async ready() {
      await Promise.all([store.ping(), ports.bus.ping(), ports.secrets.ping(), ports.engine?.ping()]);
    },
    on(type, listener) {
      // What a listener does wrong is not the call's: its change is committed by now.
      const isolated: typeof listener = async (event) => {
        try {
          await listener(event);
        } catch (error) {
          ports.logger.error(`A listener to "${type}" failed`, { error: String(error) });
        }
      };
      ports.lifecycle.on(type, isolated);
      return () => ports.lifecycle.off(type, isolated);
    },
    async settled({ timeoutMs = 30_000 } = {}) {
      const giveUpAt = clock.now() + timeoutMs;
      for (;;) {
        // What a relay was at before may have given another one work after that one looked.
        const before = progress();
        const found = await Promise.all(working.map((each) => each.look()));
        if (found.every((each) => each === "nothing") && progress() === before) return;
        if (clock.now() > giveUpAt) throw new DeadlineExceeded({ operation: "settled" });
        if (found.includes("not-ours") && progress() === before) await clock.sleep(LOOK_AGAIN_MS);
      }
    },
    close() {
      closing ??= close();
      return closing;
    },
    [Symbol.asyncDispose]: () => app.close(),
  };
  return app;
}

// They share what may go on at the same time.
function relaysOf({ ports, pipeline, contexts }: Parts, settings: RelaySettings): readonly Relay[] {
  const slots = { events: new Slots(settings.concurrency), commands: new Slots(settings.commandConcurrency) };
  return contexts.map(({ contract }) => new Relay(contract.name, ports, pipeline, contexts, settings, slots));
}

function fromOutside(principal: PrincipalInput, options: CallOptions): CallRequest {
  return { ...callOptions(options), principal: toPrincipal(principal) };
}

async function oauthCallback(
  signer: AuthorizationSigner,
  calls: Pick<Calls, "call" | "stream">,
  query: URLSearchParams,
): Promise<CallbackResult> {
  const { state, ...answer } = parse(callbackParameters, Object.fromEntries(query), "The authorization's answer");
  const claims = await signer.verify(state);
  if (claims === undefined) throw new AuthorizationInvalid({});
  const principal: Principal = {
    tenant: claims.tenant,
    actor: { type: "system", id: "connectors.oauth-callback" },
    ...(claims.startedBy === null ? {} : { onBehalfOf: claims.startedBy }),
  };
  const own = clientOf(calls, connectors, { principal, from: connectors.name }) as unknown as OwnClient<Connectors>;
  const { connector, returnTo } = await own.finishAuthorization({
    connectorId: claims.connectorId as `con_${string}`,
    nonce: claims.nonce,
    ...answer,
  });
  if (returnTo === undefined) return { connectorId: connector.id };
  const page = new URL(returnTo);
  page.searchParams.set("connectorId", connector.id);
  page.searchParams.set("status", connector.status);
  return { connectorId: connector.id, returnTo: page.href };
}

// The default client keeps connections; one that a host brought is the host's to close.
async function closeHttp(http: HttpClient): Promise<void> {
  if ("close" in http && typeof http.close === "function") await http.close();
}
