import type { Instant } from "./clock.ts";
import type { SentCommand } from "./sent-command.ts";

/** When a command that is sent is to run: at a time, or so many milliseconds after the call began. */
export type Delay = { readonly at: Instant } | { readonly afterMs: number };

/**
 * What becomes of times that pass while nobody is there to see them. `once`: the command comes once for all of them, as
 * soon as it can. `all`: once for each of the last 24 hours, the oldest first. `none`: not at all, from one minute late on.
 */
export type CatchUp = "once" | "all" | "none";

/**
 * A cron pattern of five fields, or six with seconds in front, in a time zone (`Europe/Berlin`; UTC without one); or every
 * so many milliseconds, 1,000 at least. What is missed is caught up with once, unless `catchUp` says otherwise.
 */
export type RecurrenceOptions = (
  | { readonly cron: string; readonly timeZone?: string | undefined }
  | { readonly everyMs: number }
) & { readonly catchUp?: CatchUp | undefined };

/** A recurrence as it is kept: at the times of a cron pattern in a time zone, or after so many milliseconds. */
export type Recurrence = ({ readonly cron: string; readonly timeZone: string } | { readonly everyMs: number }) & {
  readonly catchUp?: Exclude<CatchUp, "once"> | undefined;
};

/** A command that is sent when its time has come. */
export interface Timer {
  /** Its name in the tenant and context: the key of a recurring command, the id of a delayed one. */
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly dueAt: number;
  /** Absent when it is sent once. */
  readonly recurrence?: Recurrence | undefined;
  /** Its id is another one whenever the timer is set. */
  readonly command: SentCommand;
}

/**
 * What a commit does with a timer. One that is set over another with the same recurrence keeps the time at which that
 * one is due. `required` says that there must be one to remove: if not, that is a `VersionConflict`.
 */
export type TimerChange =
  | { readonly step: "set"; readonly timer: Timer }
  | { readonly step: "remove"; readonly key: string; readonly required: boolean };

export interface DueTimers {
  /** In the order of their times. */
  readonly timers: readonly Timer[];
  /** When the earliest one after `now` is due. */
  readonly nextAt: number | undefined;
}

/** A timer as `due` gave it, and what becomes of it. */
export interface Firing {
  readonly timer: Timer;
  /** What goes to the outbox; absent when this time is left out. */
  readonly message?: SentCommand | undefined;
  /** When it is due again; without it, it is gone. */
  readonly nextAt?: number | undefined;
}

export interface ScheduledQuery {
  readonly contexts: readonly string[];
  readonly key?: string | undefined;
  readonly limit: number;
  /** A page's `next`. */
  readonly after?: string | undefined;
}

/** Timers of all tenants. For the runtime only; commits set and remove them. */
export interface Timers {
  /** Timers of one context that are due at `now`, over all tenants. */
  due(context: string, query: { readonly now: number; readonly limit: number }): Promise<DueTimers>;
  /**
   * Moves timers to the context's outbox, in this order and in one transaction. One that has been fired, set or removed
   * since it was read is left alone: however many processes fire, each time comes once.
   *
   * @returns how many were moved
   */
  fire(context: string, firings: readonly Firing[]): Promise<number>;
}
