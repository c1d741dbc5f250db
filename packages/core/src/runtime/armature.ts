import type { AgentDefinition } from "../contexts/agents/agent-definition.ts";
import type { Agents } from "../contexts/agents/contract.ts";
import type { ModelPrices } from "../contexts/agents/model-prices.ts";
import type { TenantAgents } from "../contexts/agents/own-agent.ts";
import type { Approvals } from "../contexts/approvals/contract.ts";
import type { Audit } from "../contexts/audit/contract.ts";
import type { ConnectorDefinition } from "../contexts/connectors/connector-definition.ts";
import type { Connectors } from "../contexts/connectors/contract.ts";
import type { Delivery } from "../contexts/delivery/contract.ts";
import type { Identity } from "../contexts/identity/contract.ts";
import type { Projections } from "../contexts/projections/contract.ts";
import type { Secrets } from "../contexts/secrets/contract.ts";
import type { Workflows } from "../contexts/workflows/contract.ts";
import type { Workflow } from "../contexts/workflows/workflow-definition.ts";
import type { Clock } from "../kernel/clock.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import type { AnyOperation, CallOptions, Client, Contract, OperationKind } from "../kernel/contract.ts";
import type { Ids } from "../kernel/ids.ts";
import type { LanguageModel } from "../kernel/language-model.ts";
import type {
  Authorizer,
  Cache,
  EventBus,
  HttpClient,
  Lease,
  Logger,
  RateLimiter,
  SecretStore,
} from "../kernel/ports.ts";
import type { Principal, PrincipalInput } from "../kernel/principal.ts";
import type { PublicKeys } from "../kernel/principal-token.ts";
import type { JsonObject } from "../kernel/schema.ts";
import type { Secret } from "../kernel/secret.ts";
import type { StoreAdapter, TransactionClient } from "../kernel/store-adapter.ts";
import type { ExecutionOptions, ExecutionsElsewhere } from "./executions/worker-settings.ts";
import type { ProjectionOptions } from "./projection-runner.ts";
import type { RelayOptions } from "./relay-settings.ts";
import type { RetentionOptions } from "./retention-loop.ts";
import type { LifecycleEvents } from "./runtime-ports.ts";

/** A host's own decision instead of roles kept in the identity context. */
export type AuthorizeFunction = (principal: Principal, permission: string) => boolean | Promise<boolean>;

export interface ArmatureOptions<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> {
  /** `inMemory()`, `pglite({ dataDir })` or `postgres({ pool })`. */
  readonly store: StoreAdapter;
  /** 32 random bytes in base64 that seal all secrets (`openssl rand -base64 32`). Lose it and every credential is lost. Only an in-memory app may do without. */
  readonly keyEncryptionKey?: string | Secret<string>;
  /**
   * Where the HTTP API is reached from outside, `https://api.example.com`, without a slash at the end. It stands in the
   * tokens that remote agents get, as who has issued them and as whose API they are good for; without it there are none.
   */
  readonly apiUrl?: string;
  /**
   * What principal tokens are signed with, 32 random bytes in base64 each: the first signs, all are believed. Without it
   * a key that follows from `keyEncryptionKey`.
   */
  readonly tokenKeys?: readonly [string | Secret<string>, ...(string | Secret<string>)[]];
  /** Providers that tenants can connect. */
  readonly connectors?: readonly ConnectorDefinition[];
  /** Models of the AI SDK by the names that agents ask them by; `default` is asked by agents that name none. */
  readonly models?: Readonly<Record<string, LanguageModel>>;
  /** What models cost. Without it costs are unknown, and no budget can bound them. */
  readonly prices?: ModelPrices;
  /** Each version of each agent that a run may still be under way of. */
  readonly agents?: readonly AgentDefinition[];
  /**
   * Is asked which agent answers where what a caller says fits several, or says nothing. It is told what they are, and
   * uses no tools. Without it the first in the list answers, and who says nothing is refused.
   */
  readonly agentRouter?: AgentDefinition;
  /** What tenants can make agents of; without it they make none. */
  readonly tenantAgents?: TenantAgents;
  /** What tenants can start as durable executions: each version of each workflow that one may still be under way of. */
  readonly workflows?: readonly Workflow[];
  /** The host's own contexts. */
  readonly contexts?: X;
  /** Without it the identity context's roles decide. */
  readonly authorizer?: Authorizer | AuthorizeFunction;
  readonly bus?: EventBus;
  /** Without it secrets are sealed in the store. */
  readonly secrets?: SecretStore;
  readonly lease?: Lease;
  readonly rateLimiter?: RateLimiter;
  /** Where providers' answers are kept to be asked about again; without it 16 MiB of this process. It holds tenants' data. */
  readonly cache?: Cache;
  readonly clock?: Clock;
  readonly ids?: Ids;
  /** Without it warnings and errors go to the console, and nothing else anywhere. */
  readonly logger?: Logger;
  readonly http?: HttpClient;
  /** Origins that connectors may call although they are private or not https: `http://127.0.0.1:4000`. */
  readonly allowedOrigins?: readonly string[];
  /** Where providers send a browser back to; may be given per authorization. */
  readonly oauthRedirectUri?: string;
  /**
   * Origins that an authorization may name as its callback, beside that of `oauthRedirectUri`. With neither, any: then
   * what is registered with the provider is the only bound.
   */
  readonly redirectOrigins?: readonly string[];
  /** Where the OAuth callback may send the browser afterwards, by origin. */
  readonly returnOrigins?: readonly string[];
  /** Whether `secrets.reveal` may return plaintext. Default false. */
  readonly allowSecretReveal?: boolean;
  /** `false`: this process publishes nothing and fires no timers (another one does). */
  readonly relay?: RelayOptions | false;
  /** `false`: this process keeps no projections up to date (another one does). */
  readonly projections?: ProjectionOptions | false;
  /**
   * How this process works on durable executions, or the engine that carries them elsewhere than in the store. `false`:
   * this process works on none (another one does).
   */
  readonly executions?: ExecutionOptions | ExecutionsElsewhere | false;
  /**
   * How long it is remembered what calls with an idempotency key came to. `false`: this process forgets nothing, as is
   * the default where `relay` is `false`.
   */
  readonly retention?: RetentionOptions | false;
}

/** The contexts that Armature brings, by name. */
export interface BuiltInContracts {
  readonly identity: Identity;
  readonly connectors: Connectors;
  readonly secrets: Secrets;
  readonly approvals: Approvals;
  readonly audit: Audit;
  readonly projections: Projections;
  readonly delivery: Delivery;
  readonly workflows: Workflows;
  readonly agents: Agents;
}

// Of contexts that are not known by name nothing can be said: every app is then an app with the built-in ones.
type HostContracts<X extends readonly ContextDefinition[]> = {
  readonly [K in X[number] as string extends K["contract"]["name"] ? never : K["contract"]["name"]]: K["contract"];
};

type ClientsOf<X extends readonly ContextDefinition[], Kind extends OperationKind> = {
  readonly [K in keyof BuiltInContracts]: Client<BuiltInContracts[K], Kind>;
} & ClientsByName<HostContracts<X>, Kind>;

type ClientsByName<C, Kind extends OperationKind> = { readonly [K in keyof C]: Client<C[K] & Contract, Kind> };

/** Everything that a principal can call, by context. */
export type Clients<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> = ClientsOf<
  X,
  OperationKind
> & {
  /**
   * Runs commands and queries inside a transaction that the host has open on this client: what they change commits or
   * rolls back with what else the transaction does. Calls take turns. A conflict is thrown and never tried again.
   * Actions and streams wait for the outside, so there are none here.
   *
   * @returns what `run` returns, once every call that it made has its answer. The transaction stays open.
   * @throws {HostTransactionUnsupported} the store is not a PostgreSQL server
   * @throws {HostTransactionUnusable} the client is in no transaction, or in one that has failed
   */
  within<T>(client: TransactionClient, run: (clients: TransactionClients<X>) => T | Promise<T>): Promise<T>;
};

/** What a principal can call inside of a transaction: commands and queries. */
export type TransactionClients<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> = ClientsOf<
  X,
  "query" | "command"
>;

/** An operation as the server and other projections see it. */
export interface OperationDescription {
  /** `connectors.invoke` */
  readonly id: string;
  readonly context: string;
  readonly operation: AnyOperation;
}

/** The answer of an OAuth callback: where the browser goes next, or what to show. */
export interface CallbackResult {
  readonly connectorId: string;
  /** The host's page that the authorization named, with `connectorId` and `status` added. */
  readonly returnTo?: string;
}

/** A running Armature. */
export interface Armature<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> {
  /** Typed clients of all contexts for one principal. Cheap: make one per request. */
  as(principal: PrincipalInput): Clients<X>;
  /** Calls an operation by its id: for servers and tools that work from contracts. */
  call(id: string, input: unknown, options: CallOptions & { readonly principal: PrincipalInput }): Promise<unknown>;
  /** Reads a stream by its id. */
  stream(
    id: string,
    input: unknown,
    options: CallOptions & { readonly principal: PrincipalInput },
  ): AsyncIterable<{ readonly cursor: string; readonly item: unknown }>;
  /**
   * Reads a stream by its id, and says at once whether the call is refused: `stream` says so with its first item.
   *
   * @throws what the pipeline refuses: the operation, the input, the permission
   */
  openStream(
    id: string,
    input: unknown,
    options: CallOptions & { readonly principal: PrincipalInput },
  ): Promise<AsyncIterable<{ readonly cursor: string; readonly item: unknown }>>;
  /** Every public operation of every context. */
  readonly operations: readonly OperationDescription[];
  /**
   * The principal of an API key, or of a token that a remote agent was given.
   *
   * @throws {Unauthenticated} for every credential that is not good, without saying why
   */
  authenticate(credential: string): Promise<Principal>;
  /** By what anybody can check a token of ours; none where there is no `apiUrl`. */
  publicKeys(): PublicKeys;
  /** Completes an authorization with the query string that the provider sent the browser back with. */
  oauthCallback(parameters: URLSearchParams): Promise<CallbackResult>;
  /** Creates or upgrades what the contexts need in the store. Embedded stores are migrated at the start. */
  migrate(): Promise<void>;
  /** What `migrate` would do, as names of its steps. Changes nothing. */
  pendingMigration(): Promise<readonly string[]>;
  /** Whether store, bus and secrets answer. Throws what is wrong. */
  ready(): Promise<void>;
  /** Listens to what happens in this process: for caches, tests and metrics. */
  on<K extends keyof LifecycleEvents>(type: K, listener: (event: LifecycleEvents[K]) => void): () => void;
  /**
   * Resolves when the outbox of every context is empty, or holds only what waits to be tried again, and every projection
   * that is neither paused nor stopped has applied what was committed, and every durable execution waits for its time, for
   * a signal, or has ended.
   */
  settled(options?: { readonly timeoutMs?: number }): Promise<void>;
  /** Ends the relay and closes what was opened here. Calls under way are waited for. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export type { JsonObject };
