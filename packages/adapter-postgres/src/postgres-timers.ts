import type { DueTimers, Firing, Timer, Timers } from "@armature/core";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";

/** A timer as the database gives it. */
export interface TimerRow extends Omit<Timer, "recurrence"> {
  readonly recurrence: Timer["recurrence"] | null;
}

export function toTimer({ recurrence, ...timer }: TimerRow): Timer {
  return recurrence === null ? timer : { ...timer, recurrence };
}

/** Delayed and recurring commands until they are due. */
export class PostgresTimers implements Timers {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async due(context: string, { now, limit }: { readonly now: number; readonly limit: number }): Promise<DueTimers> {
    const { timers, nextAt } = (await this.#call(context, "timers_due", [now, limit])) as {
      readonly timers: readonly TimerRow[];
      readonly nextAt: number | null;
    };
    return { timers: timers.map(toTimer), nextAt: nextAt ?? undefined };
  }

  async fire(context: string, firings: readonly Firing[]): Promise<number> {
    if (firings.length === 0) return 0;
    const rows = firings.map(({ timer: { key, dueAt, command }, message, nextAt }) => {
      return { tenant: command.tenant, key, dueAt, id: command.id, message, nextAt };
    });
    return (await this.#call(context, "timers_fire", [JSON.stringify(rows)])) as number;
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}
