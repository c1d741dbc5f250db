import type { Instant } from "./clock.ts";
import type { AggregateRef } from "./scope.ts";
import type { SentCommand } from "./sent-command.ts";
import type { StoredEvent } from "./stored-event.ts";

/** What waits in an outbox. */
export type Message =
  | { readonly kind: "event"; readonly event: StoredEvent }
  | { readonly kind: "command"; readonly command: SentCommand };

/**
 * How many partitions an outbox has. All events of an aggregate are in one, which depends on the tenant and the
 * aggregate's id; a sent command's depends on its own id.
 */
export const PARTITIONS = 64;

/** The right to work on one partition of an outbox until somebody else has it: `fence` grows with every new holder. */
export interface Claim {
  readonly partition: number;
  readonly fence: number;
}

/** What a member has, and with how many it shares. */
export interface ClaimedShare {
  readonly claims: readonly Claim[];
  /** Members that are alive, this one too. The share of each is the partitions divided by them, rounded up. */
  readonly members: number;
}

export interface ClaimRequest {
  /** Who asks: one relay of one process, with a name that nobody else ever has. */
  readonly member: string;
  /** Partitions to go on with; what else it has is given up. Absent: all. */
  readonly keep?: readonly number[] | undefined;
  /** How long it counts as alive without another request. */
  readonly ttlMs: number;
  /** The caller's time in milliseconds, for stores that have no clock of their own. */
  readonly now: number;
}

/** Where a reader stands in a partition. */
export interface PartitionCursor {
  readonly partition: number;
  /** Of the reader's claim. When it does not hold any more, no replay takes effect. Absent: whoever has it. */
  readonly fence?: number | undefined;
  /** Position of the last entry that was read. Absent at the start of a pass. */
  readonly after?: string | undefined;
}

/** Cursors at the start of every partition. */
export const everyPartition: readonly PartitionCursor[] = Array.from({ length: PARTITIONS }, (_, partition) => ({
  partition,
}));

/** What a relay reads. */
export interface OutboxQuery {
  readonly cursors: readonly PartitionCursor[];
  /** Entries of each partition, at most. */
  readonly limit: number;
  /**
   * Types of the events that the reader has consumers for. Of other events nobody asks who is done with them: `done`,
   * `parked` and `failures` may then be empty, whatever is kept. Absent: all.
   */
  readonly consumed?: readonly string[] | undefined;
}

/** A row of the outbox. */
export interface OutboxEntry {
  readonly partition: number;
  readonly position: string;
  readonly message: Message;
  /** Whether the bus has acknowledged it. */
  readonly published: boolean;
  /**
   * Consumers that are done with it: they have handled it (an inbox row in whichever context is theirs) or parked it.
   */
  readonly done: readonly string[];
  /** Consumers that have other messages of its sequence parked: for them it is to be parked behind those. */
  readonly parked: readonly string[];
  /** Set when a replay brought the entry back: it is for these consumers only, everybody else counts as done. */
  readonly only?: readonly string[] | undefined;
  /** Failed deliveries by consumer. */
  readonly failures: readonly { readonly consumer: string; readonly attempts: number; readonly nextAt: number }[];
}

/** A message that a consumer could not handle, kept until somebody looks. */
export interface DeadLetter {
  readonly context: string;
  /** The subscription's consumer; of a sent command its operation. */
  readonly consumer: string;
  readonly message: Message;
  /** Why it was parked: its own error, or that an earlier event of the same aggregate is parked. */
  readonly reason: string;
  /** How often it was tried; 0 when it only stands behind another one. */
  readonly attempts: number;
  readonly time: Instant;
}

export interface DeadLetterQuery {
  readonly consumer?: string | undefined;
  readonly messageId?: string | undefined;
  readonly limit: number;
  /** A page's `next`. */
  readonly after?: string | undefined;
}

/**
 * What is decided about parked messages, and about those that a consumer is to have again. A decision about something
 * that is not parked, or is being replayed already, is a `VersionConflict`, and nothing of the commit is written.
 *
 * - `retry` puts the consumer's parked messages of one sequence back to be delivered again: at their old positions, so
 *   before later events of the aggregate that still wait. An entry that had gone comes back as published and for this
 *   consumer `only`. It takes effect when the partition is next read from its start; until then the sequence stays
 *   parked, so that a relay in the middle of a pass cannot deliver a later event first. `sequence` is the aggregate; of a
 *   sent command `sequenceOf` it.
 * - `skip` lets the consumer be done with one message, as if it had handled it. What is parked behind it stays.
 * - `redeliver` lets the consumer have these events of the log before all others. Those that it has handled already it
 *   is done with at once.
 */
export type LetterChange =
  | { readonly step: "retry"; readonly consumer: string; readonly sequence: AggregateRef }
  | { readonly step: "skip"; readonly consumer: string; readonly messageId: string }
  | { readonly step: "redeliver"; readonly consumer: string; readonly events: readonly string[] };

/** Where entries are: in a partition, by their positions. */
export interface EntryRef {
  readonly partition: number;
  readonly position: string;
}

/** What the relay does with waiting messages. Positions of one aggregate's events are in the order of its versions. */
export interface Outbox {
  /**
   * Takes part in relaying a context: what is kept lasts for another `ttlMs`, the rest is given up, and free partitions
   * are taken until the member has its share. A partition is free when it was given up or when its holder has been
   * silent for too long.
   */
  claim(context: string, request: ClaimRequest): Promise<ClaimedShare>;
  /** Gives everything up. */
  leave(context: string, member: string): Promise<void>;
  /**
   * Entries behind the cursors in order of position. Replays that were asked for take effect when their partition is
   * read from its start.
   */
  read(context: string, query: OutboxQuery): Promise<readonly OutboxEntry[]>;
  /**
   * The bus has acknowledged the one, everything is done for the other, which go. Entries of partitions without a claim
   * that still holds are left as they are.
   *
   * @returns partitions of claims that do not hold any more
   */
  settle(
    context: string,
    claims: readonly Claim[],
    entries: { readonly published: readonly EntryRef[]; readonly finished: readonly EntryRef[] },
  ): Promise<readonly number[]>;
  /**
   * A delivery failed and is to be tried again at `nextAt` (milliseconds).
   *
   * @returns whether the claim still holds; nothing was written if not
   */
  failed(
    context: string,
    claim: Claim,
    failure: {
      readonly position: string;
      readonly consumer: string;
      readonly attempts: number;
      readonly nextAt: number;
    },
  ): Promise<boolean>;
  /**
   * Parks a message for one consumer: from now on the consumer is done with it, and its failures are forgotten. Without
   * effect when it is parked already. One with 0 attempts stands behind others of its sequence: when none of those is
   * parked any more it is not parked either, and the answer is `nothing-ahead`.
   */
  park(context: string, claim: Claim, position: string, letter: DeadLetter): Promise<ParkResult>;
  /** How many entries wait, in all partitions or in these. Counting may end at `most`. */
  size(context: string, partitions?: readonly number[], most?: number): Promise<number>;
  /** Tells every process that watches that something was written into these outboxes. It may get lost. */
  announce(contexts: readonly string[]): Promise<void>;
  /** Hears announcements of all processes, until it is closed. They may get lost: who waits for one looks now and then too. */
  watch(hear: (contexts: readonly string[]) => void): { close(): Promise<void> };
}

/** `lost`: the claim does not hold any more, and nothing was written. */
export type ParkResult = "parked" | "nothing-ahead" | "lost";

/** What is delivered in order: the events of one aggregate; a sent command by itself. */
export function sequenceOf(message: Message): AggregateRef {
  return message.kind === "event"
    ? { type: message.event.aggregateType, id: message.event.aggregateId }
    : { type: "", id: message.command.id };
}

/** What every message has: whose it is, and its id. */
export function headOf(message: Message): { readonly tenant: string; readonly id: string } {
  return message.kind === "event" ? message.event : message.command;
}
