import type { BusSubscription, Clock, Logger } from "@armature/core";
import type { RedisCommands } from "./redis-client.ts";

/** What a member needs to know beside its subscription. */
export interface MemberSettings {
  readonly partitions: number;
  readonly leaseMs: number;
  readonly concurrency: number;
  readonly prefetch: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  readonly retainMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What deliveries need of their member. */
export interface DeliveringMember {
  readonly redis: RedisCommands;
  readonly base: string;
  readonly source: string;
  readonly group: string;
  readonly handle: BusSubscription["handle"];
  readonly settings: MemberSettings;
  readonly stop: AbortSignal;
  /** Whether the partitions are surely nobody else's. */
  isAlive(): boolean;
  /** Redis does not know of an ownership: nothing is begun until it has said what is whose. */
  doubt(): void;
  /** Something has ended: there may be something to tell Redis. */
  nudge(): void;
}
