import "reflect-metadata";
import { Container, type ServiceIdentifier } from "inversify";
import mitt, { type Emitter } from "mitt";
import { agentsContext } from "../contexts/agents/context.ts";
import { approvalsContext } from "../contexts/approvals/context.ts";
import { auditContext } from "../contexts/audit/context.ts";
import { audit } from "../contexts/audit/contract.ts";
import { connectorsContext } from "../contexts/connectors/context.ts";
import { type Connectors, connectors } from "../contexts/connectors/contract.ts";
import type { AuthorizationSigner, DetachedCalls } from "../contexts/connectors/ports.ts";
import { deliveryContext } from "../contexts/delivery/context.ts";
import { delivery } from "../contexts/delivery/contract.ts";
import { type ApiKeyAuthenticator, createApiKeyAuthenticator } from "../contexts/identity/authenticator.ts";
import { identityContext } from "../contexts/identity/context.ts";
import { type Identity, identity } from "../contexts/identity/contract.ts";
import { createIdentityAuthorizer, type IdentityAuthorizer } from "../contexts/identity/identity-authorizer.ts";
import { projectionsContext } from "../contexts/projections/context.ts";
import { secretsContext } from "../contexts/secrets/context.ts";
import { workflowsContext } from "../contexts/workflows/context.ts";
import { InProcessBus } from "../in-memory/in-memory-bus.ts";
import { InMemoryCache } from "../in-memory/in-memory-cache.ts";
import { InMemoryRateLimiter } from "../in-memory/in-memory-rate-limiter.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import type { Client, OwnClient } from "../kernel/contract.ts";
import { type Ids, systemIds } from "../kernel/ids.ts";
import type { Authorizer, EventBus, HttpClient, Lease, Logger, RateLimiter, SecretStore } from "../kernel/ports.ts";
import type { Party } from "../kernel/principal.ts";
import type { PrincipalTokens } from "../kernel/principal-token.ts";
import type { Secret } from "../kernel/secret.ts";
import type { StoreAdapter, TransactionStore } from "../kernel/store-adapter.ts";
import { agentPorts } from "./agent-ports.ts";
import type { Armature, ArmatureOptions } from "./armature.ts";
import { AuditTrail } from "./audit-trail.ts";
import { authorizationSigner } from "./authorization-signer.ts";
import { BackgroundWork } from "./background-work.ts";
import { checkContexts } from "./check-contexts.ts";
import { clientOf } from "./client.ts";
import { consumersOf } from "./consumers.ts";
import { engineOf } from "./executions/execution-workers.ts";
import { GuardedHttpClient } from "./guarded-http-client.ts";
import { workOf } from "./handler-context.ts";
import type { PipelineWithin } from "./host-transactions.ts";
import { deriveKey } from "./key-derivation.ts";
import { keyEncryptionKeyOf } from "./key-encryption-key.ts";
import { observedSend } from "./observed-send.ts";
import { Pipeline } from "./pipeline.ts";
import { tokensOf } from "./principal-tokens.ts";
import { ProjectionDesk } from "./projection-administration.ts";
import { remoteAgents } from "./remote-agents.ts";
import { knownSince } from "./retention-loop.ts";
import { runningArmature } from "./running-armature.ts";
import type { LifecycleEvents, RuntimePorts } from "./runtime-ports.ts";
import { SealedSecretStore } from "./sealed-secret-store.ts";
import { Telemetry } from "./telemetry.ts";

// mitt's declarations describe its CommonJS form; what Node imports is the function itself.
const emitter = mitt as unknown as typeof mitt.default;

const token = <T>(name: string): ServiceIdentifier<T> => Symbol.for(`armature.${name}`);

const T = {
  store: token<StoreAdapter>("Store"),
  bus: token<EventBus>("EventBus"),
  secrets: token<SecretStore>("SecretStore"),
  lease: token<Lease>("Lease"),
  rateLimiter: token<RateLimiter>("RateLimiter"),
  clock: token<Clock>("Clock"),
  ids: token<Ids>("Ids"),
  authorizer: token<Authorizer>("Authorizer"),
  logger: token<Logger>("Logger"),
  http: token<HttpClient>("HttpClient"),
  key: token<Secret<string>>("KeyEncryptionKey"),
  authenticator: token<ApiKeyAuthenticator>("ApiKeyAuthenticator"),
  signer: token<AuthorizationSigner>("AuthorizationSigner"),
  tokens: token<PrincipalTokens | undefined>("PrincipalTokens"),
};

/** Binds every port once, makes the contexts, and starts what runs. The one place that knows the container. */
export async function compose(options: ArmatureOptions): Promise<Armature> {
  const lifecycle = emitter<LifecycleEvents>();
  // Identity answers questions of the pipeline, and is called through the pipeline: one of them has to come later.
  let pipeline: Pipeline;
  const asIdentity = (tenant: string, calls: Pipeline = pipeline): Client<Identity> =>
    clientOf(calls, identity, {
      principal: { tenant, actor: { type: "system", id: "authentication" } },
    }) as unknown as Client<Identity>;
  // What changes in a context makes what is remembered of it old.
  const byRoles = (clock: Clock, commits: Emitter<LifecycleEvents>, calls: () => Pipeline): IdentityAuthorizer => {
    const grants = async (tenant: string, account: Party) =>
      (await asIdentity(tenant, calls()).grantsOf({ account })).permissions;
    const authorizer = createIdentityAuthorizer({ grants, clock });
    commits.on(
      "committed",
      ({ tenant, contexts }) => contexts.includes(identity.name) && authorizer.invalidate(tenant),
    );
    return authorizer;
  };

  const container = new Container({ defaultScope: "Singleton" });
  container.bind(T.store).toConstantValue(options.store);
  container.bind(T.lease).toConstantValue(options.lease ?? options.store.lease);
  container.bind(T.clock).toConstantValue(options.clock ?? systemClock());
  container.bind(T.ids).toResolvedValue((clock: Clock) => options.ids ?? systemIds(clock), [T.clock]);
  container.bind(T.logger).toConstantValue(options.logger ?? troubleOnConsole);
  container.bind(T.bus).toResolvedValue((clock: Clock) => options.bus ?? new InProcessBus(clock), [T.clock]);
  container
    .bind(T.rateLimiter)
    .toResolvedValue((clock: Clock) => options.rateLimiter ?? new InMemoryRateLimiter(clock), [T.clock]);
  container.bind(T.key).toResolvedValue((ids: Ids) => keyEncryptionKeyOf(options, ids), [T.ids]);
  container
    .bind(T.secrets)
    .toResolvedValue(
      (key: Secret<string>, ids: Ids) =>
        options.secrets ?? new SealedSecretStore({ store: options.store, keyEncryptionKey: key, ids }),
      [T.key, T.ids],
    );
  container
    .bind(T.http)
    .toResolvedValue(
      (clock: Clock) => options.http ?? new GuardedHttpClient({ allowedOrigins: options.allowedOrigins ?? [], clock }),
      [T.clock],
    );
  container.bind(T.authorizer).toResolvedValue(
    (clock: Clock) => {
      if (typeof options.authorizer === "function") return toAuthorizer(options.authorizer);
      if (options.authorizer !== undefined) return options.authorizer;
      return byRoles(clock, lifecycle, () => pipeline);
    },
    [T.clock],
  );
  container.bind(T.authenticator).toResolvedValue(
    (clock: Clock) => {
      const call = (tenant: string, keyId: string, secretHash: string) =>
        asIdentity(tenant).authenticateApiKey({ keyId, secretHash });
      const authenticator = createApiKeyAuthenticator({ call, clock });
      lifecycle.on(
        "committed",
        ({ tenant, contexts }) => contexts.includes(identity.name) && authenticator.invalidate(tenant),
      );
      return authenticator;
    },
    [T.clock],
  );
  container.bind(T.signer).toResolvedValue(authorizationSigner, [T.key, T.clock]);
  container
    .bind(T.tokens)
    .toResolvedValue(
      (key: Secret<string>, clock: Clock, ids: Ids) => tokensOf(options, key, clock, ids),
      [T.key, T.clock, T.ids],
    );

  const ports: RuntimePorts = {
    store: container.get(T.store),
    bus: container.get(T.bus),
    secrets: container.get(T.secrets),
    lease: container.get(T.lease),
    rateLimiter: container.get(T.rateLimiter),
    clock: container.get(T.clock),
    ids: container.get(T.ids),
    authorizer: container.get(T.authorizer),
    logger: container.get(T.logger),
    http: { send: observedSend(container.get(T.http)) },
    inputKey: deriveKey(container.get(T.key), "idempotency-input"),
    lifecycle,
    telemetry: new Telemetry(container.get(T.ids)),
    engine: engineOf(options.executions),
  };
  const detached: DetachedCalls = ({ principal, traceparent, correlationId }) =>
    clientOf(pipeline, connectors, {
      principal,
      traceparent,
      correlationId,
      from: connectors.name,
    }) as unknown as OwnClient<Connectors>;

  const background = new BackgroundWork();
  const names: string[] = [];
  const all: ContextDefinition[] = [];
  const auditOver = (store: Pick<StoreAdapter, "audit" | "events">) =>
    auditContext({
      auditRows: (tenant, query) => store.audit(tenant, { ...query, contexts: names }),
      events: (tenant, query) => store.events(tenant, { ...query, contexts: names }),
    });
  const desk = new ProjectionDesk(all, ports);
  const deliveryOver = (store: Pick<StoreAdapter, "scheduled" | "deadLetters" | "events">) =>
    deliveryContext({
      contexts: names,
      consumers: () => consumersOf(all),
      knownSince: () => knownSince(options.retention, ports.clock.now()),
      deadLetters: (scope, query) => store.deadLetters(scope, query),
      events: (tenant, query) => store.events(tenant, query),
      decide: (ctx, context, change) => workOf(ctx).letter(context, change),
      scheduled: (tenant, query) => store.scheduled(tenant, query),
      cancel: (ctx, { context, key }) => workOf(ctx).timer(context, { step: "remove", key, required: true }),
    });
  const remote = remoteAgents(options, ports, container.get(T.tokens));
  const contexts: readonly ContextDefinition[] = [
    identityContext,
    secretsContext({ allowReveal: options.allowSecretReveal ?? false }),
    connectorsContext({
      providers: options.connectors ?? [],
      signer: container.get(T.signer),
      detached,
      background: background.track,
      cache: options.cache ?? new InMemoryCache({ clock: ports.clock }),
      redirectUri: options.oauthRedirectUri,
      redirectOrigins: options.redirectOrigins,
      returnOrigins: options.returnOrigins ?? [],
    }),
    approvalsContext,
    auditOver(ports.store),
    projectionsContext(desk),
    deliveryOver(ports.store),
    workflowsContext(options.workflows ?? []),
    agentsContext({ ...agentPorts(options, ports, emitter()), remote: remote?.client }),
    ...(options.contexts ?? []),
  ];
  all.push(...contexts);
  names.push(...contexts.map(({ contract }) => contract.name));
  checkContexts(contexts);
  pipeline = new Pipeline(ports, contexts);
  // Inside a transaction everything is read through it: on another connection its own changes cannot be seen, and a
  // pool whose connections all have a transaction open would never give another one. Nothing read there is kept.
  const inside = new Map<unknown, (store: TransactionStore) => ContextDefinition>([
    [audit, auditOver],
    [delivery, deliveryOver],
  ]);
  const over = (store: TransactionStore): PipelineWithin => {
    const commits = emitter<LifecycleEvents>();
    const changed = { contexts: new Set<string>(), executions: new Set<string>(), dueAt: Number.POSITIVE_INFINITY };
    commits.on("committed", ({ contexts: names, executions = [], dueAt = Number.POSITIVE_INFINITY }) => {
      for (const name of names) changed.contexts.add(name);
      for (const name of executions) changed.executions.add(name);
      changed.dueAt = Math.min(changed.dueAt, dueAt);
    });
    const authorizer =
      options.authorizer === undefined ? byRoles(ports.clock, commits, () => within) : ports.authorizer;
    const within: Pipeline = new Pipeline(
      { ...ports, store, authorizer, lifecycle: commits },
      contexts.map((context) => inside.get(context.contract)?.(store) ?? context),
      new AuditTrail(ports),
    );
    return { pipeline: within, changed };
  };
  return runningArmature({
    options,
    ports,
    pipeline,
    contexts,
    authenticator: container.get(T.authenticator),
    signer: container.get(T.signer),
    tokens: container.get(T.tokens),
    remote,
    http: container.get(T.http),
    over,
    background,
    desk,
  });
}

function toAuthorizer(allows: (...args: Parameters<Authorizer["allows"]>) => boolean | Promise<boolean>): Authorizer {
  // The system acts for Armature itself and is not the host's to judge.
  return {
    allows: async (principal, permission) =>
      principal.actor.type === "system" || (await allows(principal, permission)) === true,
  };
}

/** Who gives no logger still sees what is wrong: an answer that says nothing of a defect is all that its caller gets. */
const troubleOnConsole: Logger = {
  debug() {},
  info() {},
  warn: (message, fields = {}) => console.warn(`armature: ${message}`, fields),
  error: (message, fields = {}) => console.error(`armature: ${message}`, fields),
};
