export {
  type AgentDefinition,
  type AgentLimits,
  defineAgent,
  type RemoteEndpoint,
} from "./contexts/agents/agent-definition.ts";
export { agentTool } from "./contexts/agents/agent-tool.ts";
export {
  AgentActivated,
  AgentBeyondOffer,
  AgentCreated,
  AgentDelegationEnded,
  AgentExecuted,
  AgentLimitReached,
  AgentNotActive,
  AgentPaused,
  AgentRetired,
  AgentRunCanceled,
  AgentRunDelegated,
  AgentRunFailed,
  AgentRunNotUnderWay,
  AgentRunRequestedOtherwise,
  AgentRunResumed,
  AgentRunStarted,
  AgentRunSuspended,
  type AgentRunView,
  AgentStepTaken,
  type Agents,
  AgentsNotOffered,
  AgentToolsRun,
  AgentUpdated,
  AgentVersionWritten,
  agents,
  BudgetExhausted,
  BudgetReserved,
  BudgetSet,
  BudgetSettled,
  ConnectionUnclear,
  ConversationHandedOver,
  ConversationStarted,
  ConversationSummarized,
  DelegationTooDeep,
  HandoffFailed,
  MessageAdded,
  type MessageView,
  NoAgentFits,
  NobodyToActFor,
  type RunInput,
  type RunUsage,
  TooManyAgents,
} from "./contexts/agents/contract.ts";
export { type Guardrail, onlyAfterUntrusted, pseudonymized, type Sensitive } from "./contexts/agents/guardrail.ts";
export {
  type Cost,
  costOf,
  type ModelPrice,
  type ModelPrices,
  maxCost,
  modelPrices,
  type PricedModel,
} from "./contexts/agents/model-prices.ts";
export type { TenantAgents } from "./contexts/agents/own-agent.ts";
export { defineRemoteAgent, type RemoteAgentLimits } from "./contexts/agents/remote-agent.ts";
export {
  RemoteAgentFailed,
  RemoteAgentProtocolBroken,
  RemoteAgentRefused,
  RemoteAgentTimedOut,
  RemoteAgentUnreachable,
} from "./contexts/agents/remote-errors.ts";
export { connectorTools, operationTool, type Tool, type ToolProvider, type ToolRisk } from "./contexts/agents/tool.ts";
export {
  ApprovalAlreadyDecided,
  ApprovalApproved,
  type ApprovalDetails,
  ApprovalEdited,
  ApprovalExpired,
  ApprovalHasExpired,
  ApprovalRejected,
  ApprovalRequested,
  ApprovalRequestedOtherwise,
  ApprovalStale,
  type Approvals,
  type ApprovalView,
  ApproverNotAllowed,
  approvals,
} from "./contexts/approvals/contract.ts";
export { visibleJson, visibleText } from "./contexts/approvals/visible-text.ts";
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
  ChildFailed,
  WorkflowAlreadyStarted,
  WorkflowCanceled,
  WorkflowCompleted,
  type WorkflowExecutionView,
  WorkflowFailed,
  WorkflowNotFailed,
  WorkflowNotRunning,
  WorkflowRetried,
  WorkflowStarted,
  type Workflows,
  workflows,
} from "./contexts/workflows/contract.ts";
export {
  type ActivityOptions,
  activity,
  type CallToApprove,
  defineWorkflow,
  operationActivity,
  type Undo,
  type Verdict,
  type Workflow,
  type WorkflowActivity,
  type WorkflowContext,
} from "./contexts/workflows/workflow-definition.ts";
export {
  type AggregateClass,
  type AggregateDefinition,
  AggregateRoot,
  defineAggregate,
  type PendingEvent,
  type Withholding,
} from "./kernel/aggregate.ts";
export { callHash } from "./kernel/call-hash.ts";
export type { CircuitOptions } from "./kernel/circuit.ts";
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
export {
  type Activity,
  type ActivityContext,
  ActivityTimedOut,
  type Compensation,
  CompensationFailed,
  ExecutionCanceled,
  type ExecutionContext,
  type ExecutionDefinition,
  ExecutionDiverged,
  ExecutionKeepsCrashing,
  ExecutionLost,
  ExecutionStuck,
  type RetryPolicy,
} from "./kernel/execution.ts";
export type { ExecutionCommands, ExecutionQueries } from "./kernel/execution-calls.ts";
export type { ActivityAttempt, ExecutionEngine, ExecutionHost, ExecutionWork } from "./kernel/execution-engine.ts";
export type {
  ActivityAttempts,
  CarriedExecution,
  ExecutionChange,
  ExecutionEnd,
  ExecutionReads,
  ExecutionStatus,
  Executions,
  ExecutionWrite,
  JournalEntry,
  JournalKind,
  JournalOutcome,
  NewExecution,
  ServedDefinition,
  Signal,
  SignalCount,
  StoredExecution,
  TakenExecution,
  TakenExecutions,
  TakeRequest as ExecutionTakeRequest,
} from "./kernel/executions.ts";
export { type Ids, systemIds } from "./kernel/ids.ts";
export { compareText, encodeIndexValue, type IndexValue } from "./kernel/index-value.ts";
export { json } from "./kernel/json.ts";
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
export type { FinishReason, ModelTurn, ModelUsage, ModelWarning } from "./kernel/model-turn.ts";
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
  type OutboxQuery,
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
  HttpStream,
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
export type { PublicKeys } from "./kernel/principal-token.ts";
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
export type { FindOptions } from "./kernel/reads.ts";
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
  CatchUp,
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
export { embeddedEngine } from "./runtime/executions/embedded-engine.ts";
export type { ExecutionOptions, ExecutionsElsewhere } from "./runtime/executions/worker-settings.ts";
export { GuardedHttpClient, type GuardedHttpClientOptions } from "./runtime/guarded-http-client.ts";
export type { ProjectionOptions } from "./runtime/projection-runner.ts";
export type { RelayOptions } from "./runtime/relay-settings.ts";
export type { RetentionOptions } from "./runtime/retention-loop.ts";
export type { LifecycleEvents } from "./runtime/runtime-ports.ts";
export { SealedSecretStore, type SealedSecretStoreOptions } from "./runtime/sealed-secret-store.ts";
