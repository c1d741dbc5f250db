import type { Emitter } from "mitt";
import type { Clock } from "../kernel/clock.ts";
import type { ExecutionEngine } from "../kernel/execution-engine.ts";
import type { Ids } from "../kernel/ids.ts";
import type { DeadLetter } from "../kernel/outbox.ts";
import type { Authorizer, EventBus, HttpClient, Lease, Logger, RateLimiter, SecretStore } from "../kernel/ports.ts";
import type { Secret } from "../kernel/secret.ts";
import type { StoreAdapter, TransactionStore } from "../kernel/store-adapter.ts";
import type { Telemetry } from "./telemetry.ts";

/** What a host may listen to: for caches, tests and metrics, never for effects (those are subscriptions). */
export type LifecycleEvents = {
  /** A commit is durable. */
  committed: {
    readonly tenant: string;
    readonly contexts: readonly string[];
    /** Ids of the aggregates that it has changed; absent where a host has committed. */
    readonly aggregates?: readonly string[];
    /** When the earliest command is due that it has scheduled, in milliseconds since 1970. */
    readonly dueAt?: number;
    /** Contexts of which it has started or signaled executions. */
    readonly executions?: readonly string[];
  };
  /** A consumer has handled an event. */
  delivered: { readonly consumer: string; readonly eventId: string };
  /** A delivery failed and will be tried again. */
  "delivery-failed": { readonly consumer: string; readonly eventId: string; readonly attempts: number };
  /** An event was given up for one consumer. */
  parked: { readonly letter: DeadLetter };
};

/** Every port, bound. */
export interface RuntimePorts {
  readonly store: StoreAdapter;
  readonly bus: EventBus;
  readonly secrets: SecretStore;
  readonly lease: Lease;
  readonly rateLimiter: RateLimiter;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly authorizer: Authorizer;
  readonly logger: Logger;
  readonly http: HttpClient;
  /** Keys the hashes of inputs in idempotency records. */
  readonly inputKey: Secret<Uint8Array>;
  readonly lifecycle: Emitter<LifecycleEvents>;
  readonly telemetry: Telemetry;
  /** Where executions lie that are not in the store. */
  readonly engine: ExecutionEngine | undefined;
}

/** What calls need of the ports: a transaction of the host's has no more of a store. */
export type CallPorts = Omit<RuntimePorts, "store"> & { readonly store: TransactionStore };
