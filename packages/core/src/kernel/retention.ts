export interface PruneQuery {
  /** By the store's clock. */
  readonly olderThanMs: number;
  /** Rows at most. */
  readonly limit: number;
  /** Whether rows of the inbox go too. A consumer to whom older events are redelivered then handles them again. */
  readonly inbox: boolean;
}

/** What goes when it is old, so that a store does not grow with every call for ever. For the runtime only. */
export interface Retention {
  /**
   * Forgets, over all tenants, outcomes recorded under idempotency keys and, where it is asked to, which messages
   * consumers of this context have handled: what is older than `olderThanMs`, at most `limit` rows.
   *
   * What may still be asked for stays: of a message that waits in any context's outbox or is parked; of a call whose
   * time (`claimedUntil`) was not over by then; and, while a sent command waits or is parked, records of its operation
   * and tenant that were made after it was sent, or up to a day before: clocks differ. While very many messages wait a
   * store may forget nothing.
   *
   * @returns how many rows went
   */
  prune(context: string, query: PruneQuery): Promise<number>;
}
