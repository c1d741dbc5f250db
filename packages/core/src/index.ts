export { type Clock, type Instant, systemClock, toInstant } from "./kernel/clock.ts";
export { type Ids, systemIds } from "./kernel/ids.ts";
export { compareText, encodeIndexValue, type IndexValue } from "./kernel/index-value.ts";
export type {
  Authorizer,
  Bucket,
  BusSubscription,
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
} from "./kernel/ports.ts";
export type { Actor, ActorType, Party, Principal } from "./kernel/principal.ts";
export type { Json, JsonObject } from "./kernel/schema.ts";
export { Secret } from "./kernel/secret.ts";
export type {
  AggregateChange,
  AggregateRef,
  AuditQuery,
  AuditRow,
  Commit,
  CommitPart,
  CommitResult,
  DeadLetter,
  EventQuery,
  FindQuery,
  IdempotencyRecord,
  IdempotencyWrite,
  Outbox,
  OutboxEntry,
  Outcome,
  Page,
  Records,
  Scope,
  SentCommand,
  Store,
  StoreAdapter,
  StoredAggregate,
  StoredContext,
  StoredEvent,
  StoredRecord,
} from "./kernel/store.ts";
