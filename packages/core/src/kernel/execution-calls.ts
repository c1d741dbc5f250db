import type { ExecutionDefinition } from "./execution.ts";
import type { JournalEntry, StoredExecution } from "./executions.ts";
import type { Page } from "./paging.ts";
import type { Party } from "./principal.ts";
import type { Json } from "./schema.ts";

/** Durable executions of this context, as queries see them. */
export interface ExecutionQueries {
  get(id: string): Promise<StoredExecution | undefined>;
  /** What has happened to one, in its order, a page at a time. */
  history(
    id: string,
    options?: { readonly limit?: number | undefined; readonly after?: string | undefined },
  ): Promise<Page<JournalEntry>>;
}

/** Durable executions of this context: what a command does with them is part of its commit. */
export interface ExecutionCommands {
  /**
   * Begins an execution as the same principal. Without effect when there is one with this id.
   *
   * @param id its name in the tenant and this context: 1 to 200 letters, digits and `.` `_` `:` `~` `-`
   */
  start(
    definition: Pick<ExecutionDefinition, "name" | "version">,
    id: string,
    input: Json,
    /** The agent that acts in it on the caller's behalf, or on that of a party; without one the caller itself. */
    options?: { readonly agent?: string; readonly onBehalfOf?: Party },
  ): void;
  /**
   * Tells an execution something that it waits for, or will. The first signal of a name wins; one to an execution that
   * does not exist or has ended is without effect.
   */
  signal(id: string, name: string, payload?: Json): void;
  /** Asks an execution to end. What it has done is undone as far as it says how. */
  cancel(id: string, reason: string): void;
  /** One that has failed goes on from before what made it fail, unless it was undone. */
  retry(id: string): void;
  /** One as it was committed. */
  get(id: string): Promise<StoredExecution | undefined>;
}
