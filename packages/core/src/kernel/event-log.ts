import type { StoredEvent } from "./stored-event.ts";

/**
 * Follows the events of a context, over all tenants. For the runtime only: what projections are made of.
 *
 * Positions are whole numbers that grow, with holes; 0 is before all of them. Per aggregate their order is the order of
 * versions; between aggregates it says nothing. A reader that goes on from `upTo` never misses an event: while a
 * transaction that has taken a position is still open, nobody is given a later one.
 */
export interface EventLog {
  /** Events behind `after`, in order of position. */
  read(context: string, query: LogQuery): Promise<LogPage>;
  /** The highest position that was taken so far, also by a commit that is under way or was undone. */
  head(context: string): Promise<number>;
  /** How many events are behind `after`; `atMost` when there are more, so that looking stays cheap. */
  count(context: string, query: { readonly after: number; readonly atMost: number }): Promise<number>;
}

export interface LogQuery {
  readonly after: number;
  /** Only these types; without it, all. */
  readonly types?: readonly string[] | undefined;
  readonly limit: number;
}

export interface LoggedEvent {
  readonly position: number;
  readonly event: StoredEvent;
}

export interface LogPage {
  readonly items: readonly LoggedEvent[];
  /** Where to go on from; at least `after`. It moves on over events of other types too. */
  readonly upTo: number;
  /** Whether there is more to be read at once. */
  readonly more: boolean;
}
