export {
  type Cost,
  costOf,
  type ModelPrice,
  type ModelPrices,
  maxCost,
  modelPrices,
  type PricedModel,
} from "./contexts/agents/model-prices.ts";
export type { ModelUsage } from "./contexts/agents/model-turn.ts";
export { type Audit, audit } from "./contexts/audit/contract.ts";
export {
  type ApiKeyAuth,
  type Authentication,
  apiKey,
  type BasicAuth,
  basic,
  type ClientCredentialsAuth,
  clientCredentials,
  type OAuth2Auth,
  type OAuthClient,
  oauth2,
  type ProviderAuth,
  type TokenAnswer,
  type TokenEndpoint,
  type TokenErrorMeaning,
} from "./contexts/connectors/authentication.ts";
export type { CircuitOptions } from "./contexts/connectors/circuit.ts";
export { type ConnectorActions, connectorActions } from "./contexts/connectors/connector-actions.ts";
export {
  type AnyConnectorAction,
  type ConnectorAction,
  type ConnectorActionContext,
  type ConnectorDefinition,
  connectorAction,
  defineConnector,
  type Idempotency,
  type LimitedRequest,
  type NextPage,
  type PagesRequest,
  type Paging,
  type ProviderAccount,
  type ProviderClient,
  type ProviderFailure,
  type ProviderLimit,
  type ProviderRequest,
  type Risk,
} from "./contexts/connectors/connector-definition.ts";
export {
  ActionUnknown,
  AuthenticationUnsupported,
  AuthorizationInvalid,
  AuthorizationRefused,
  AuthorizationReturned,
  AuthorizationStarted,
  ConnectorAlreadyConnected,
  ConnectorConnected,
  ConnectorDisconnected,
  ConnectorNeedsReauthorization,
  ConnectorNotConnected,
  type Connectors,
  type ConnectorView,
  CredentialRefreshed,
  CredentialRefused,
  connectors,
  type InvokeResult,
  ProviderFailed,
  ProviderLimited,
  ProviderRedirected,
  ProviderRefused,
  ProviderUnknown,
  type ProviderView,
  ReauthorizationNeeded,
  type ReauthorizationReason,
} from "./contexts/connectors/contract.ts";
export { byCursor, byLink, byOffset, pagesOf } from "./contexts/connectors/pages.ts";
export { type Delivery, delivery } from "./contexts/delivery/contract.ts";
export { type ApiKeyAuthenticator, createApiKeyAuthenticator } from "./contexts/identity/authenticator.ts";
export {
  AccountDisabled,
  AccountNotDisabled,
  ApiKeyAlreadyRevoked,
  ApiKeyCreated,
  ApiKeyRevoked,
  ExpiryBeyondOwn,
  ExpiryInThePast,
  type Identity,
  identity,
  LastOwner,
  OwnerAdded,
  OwnerRemoved,
  RoleCreated,
  RoleDeleted,
  RoleIsBuiltIn,
  RoleNameRetired,
  RolesChanged,
  RoleUpdated,
  ServiceAccountCreated,
  ServiceAccountDisabled,
  ServiceAccountEnabled,
  TenantAlreadySuspended,
  TenantCreated,
  TenantNotSuspended,
  TenantRenamed,
  TenantResumed,
  TenantSuspended,
  UserCreated,
  UserDisabled,
  UserEnabled,
  UserUpdated,
} from "./contexts/identity/contract.ts";
export { createIdentityAuthorizer, type IdentityAuthorizer } from "./contexts/identity/identity-authorizer.ts";
export {
  ProjectionRebuilding,
  type Projections,
  type ProjectionView,
  projections,
} from "./contexts/projections/contract.ts";
export { SecretRevealDisabled, type Secrets, secrets } from "./contexts/secrets/contract.ts";
export {
  type AggregateClass,
  type AggregateDefinition,
  AggregateRoot,
  defineAggregate,
  type PendingEvent,
  type Withholding,
} from "./kernel/aggregate.ts";
export { type Clock, type Instant, systemClock, toInstant } from "./kernel/clock.ts";
export {
  type ActionContext,
  type Atomic,
  atomic,
  type CallContext,
  type CommandContext,
  type ContextDefinition,
  type Declared,
  type Dependency,
  defineContext,
  type FindOptions,
  type Handlers,
  type On,
  type QueryContext,
  type StreamContext,
  type Subscription,
} from "./kernel/context.ts";
export {
  type AnyOperation,
  action,
  type Call,
  type CallOptions,
  type Client,
  type Contract,
  command,
  defineContract,
  type HttpRoute,
  type Operation,
  type OperationKind,
  type OperationOptions,
  type Operations,
  type OwnClient,
  query,
  type StreamItem,
  stream,
} from "./kernel/contract.ts";
export {
  AlreadyExists,
  ArmatureError,
  Canceled,
  CorruptData,
  DeadlineExceeded,
  defineError,
  type ErrorClass,
  type ErrorKind,
  type ErrorRecord,
  Forbidden,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  IdempotencyResultNotKept,
  InternalError,
  InvalidInput,
  LimitExceeded,
  NotFound,
  reviveError,
  ShuttingDown,
  Unauthenticated,
  UnknownOutcome,
  UnrecognizedError,
  VersionConflict,
  VersionMismatch,
} from "./kernel/errors.ts";
export { defineEvent, type EventDefinition, type EventOf, type ReceivedEvent } from "./kernel/event.ts";
export type { EventLog, LoggedEvent, LogPage, LogQuery } from "./kernel/event-log.ts";
export { type Ids, systemIds } from "./kernel/ids.ts";
export { compareText, encodeIndexValue, type IndexValue } from "./kernel/index-value.ts";
export type { LanguageModel } from "./kernel/language-model.ts";
export {
  ModelAborted,
  ModelAnswerInvalid,
  ModelOutputInvalid,
  ModelRefused,
  ModelTimeout,
  ModelUnavailable,
  ModelUnknown,
} from "./kernel/model-errors.ts";
export {
  type AssistantPart,
  type FilePart,
  type FileSource,
  type InvalidToolCallPart,
  type ModelMessage,
  modelMessage,
  type ProviderOptions,
  type ReasoningPart,
  type TextPart,
  type ToolCallPart,
  type ToolResultPart,
} from "./kernel/model-messages.ts";
export {
  type Claim,
  type ClaimedShare,
  type ClaimRequest,
  type DeadLetter,
  type DeadLetterQuery,
  type EntryRef,
  everyPartition,
  headOf,
  type LetterChange,
  type Message,
  type Outbox,
  type OutboxEntry,
  PARTITIONS,
  type ParkResult,
  type PartitionCursor,
  sequenceOf,
} from "./kernel/outbox.ts";
export { pageOf, paging } from "./kernel/paging.ts";
export { parse } from "./kernel/parse.ts";
export {
  AddressRefused,
  CircuitOpen,
  HostTransactionUnsupported,
  HostTransactionUnusable,
  KeyEncryptionKeyWrong,
  NotWithinTransaction,
  ProjectionNotReady,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
  SecretUnreadable,
  SecretVersionConflict,
} from "./kernel/port-errors.ts";
export type {
  Authorizer,
  Bucket,
  BusSubscription,
  Cache,
  CloudEvent,
  EventBus,
  HeldLease,
  HttpClient,
  HttpRequest,
  HttpResponse,
  Lease,
  LogFields,
  Logger,
  RateLimiter,
  SecretStore,
  StoredSecret,
  TakeRequest,
  TakeResult,
} from "./kernel/ports.ts";
export {
  type Actor,
  type ActorType,
  covers,
  describePrincipal,
  type Party,
  type Principal,
  type PrincipalInput,
  tenantId,
  toPrincipal,
} from "./kernel/principal.ts";
export {
  defineProjection,
  type OnProjected,
  type ProjectionDefinition,
  type ProjectionHandler,
  type ProjectionRow,
  type ProjectionRows,
} from "./kernel/projection.ts";
export type {
  Positions,
  ProjectionBatch,
  ProjectionStore,
  RowChange,
  RowRef,
  StoredProjection,
} from "./kernel/projection-store.ts";
export type { PruneQuery, Retention } from "./kernel/retention.ts";
export {
  type Issue,
  type Json,
  type JsonObject,
  jsonSchema,
  type Parsed,
  type Schema,
  tryParse,
} from "./kernel/schema.ts";
export { Secret } from "./kernel/secret.ts";
export { hasSensitive, sensitive } from "./kernel/sensitive.ts";
export type { SentCommand } from "./kernel/sent-command.ts";
export type {
  AggregateChange,
  AggregateRef,
  AuditQuery,
  AuditRow,
  Commit,
  CommitPart,
  CommitResult,
  Counter,
  CounterQuery,
  EventQuery,
  FindQuery,
  IdempotencyRecord,
  IdempotencyWrite,
  Outcome,
  Page,
  Records,
  RowQuery,
  Scope,
  Store,
  StoredAggregate,
  StoredContext,
  StoredEvent,
  StoredRecord,
  StoredRow,
} from "./kernel/store.ts";
export type {
  HostTransaction,
  StoreAdapter,
  TransactionClient,
  TransactionOutcome,
  TransactionStore,
} from "./kernel/store-adapter.ts";
export type {
  Delay,
  DueTimers,
  Firing,
  Recurrence,
  RecurrenceOptions,
  ScheduledQuery,
  Timer,
  TimerChange,
  Timers,
} from "./kernel/timers.ts";
export type { ResolveHost } from "./runtime/address-guard.ts";
export type {
  Armature,
  ArmatureOptions,
  AuthorizeFunction,
  BuiltInContracts,
  CallbackResult,
  Clients,
  OperationDescription,
  TransactionClients,
} from "./runtime/armature.ts";
export { createArmature } from "./runtime/create-armature.ts";
export { GuardedHttpClient, type GuardedHttpClientOptions } from "./runtime/guarded-http-client.ts";
export type { ProjectionOptions } from "./runtime/projection-runner.ts";
export type { RelayOptions } from "./runtime/relay-settings.ts";
export type { RetentionOptions } from "./runtime/retention-loop.ts";
export type { LifecycleEvents } from "./runtime/runtime-ports.ts";
export { SealedSecretStore, type SealedSecretStoreOptions } from "./runtime/sealed-secret-store.ts";
