import type { EventLog, LogPage, LogQuery } from "../kernel/event-log.ts";
import type { Tables } from "./tables.ts";

/** The log in order of position. A commit is over before anything else runs, so there is nothing to wait for. */
export class InMemoryLog implements EventLog {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async read(context: string, { after, types, limit }: LogQuery): Promise<LogPage> {
    const { log } = this.#tables.context(context);
    const items: LogPage["items"][number][] = [];
    let upTo = after;
    for (; upTo < log.length && items.length < limit; upTo += 1) {
      const event = log[upTo]!;
      if (types === undefined || types.includes(event.type)) items.push({ position: upTo + 1, event });
    }
    return { items, upTo, more: upTo < log.length };
  }

  async head(context: string): Promise<number> {
    return this.#tables.context(context).log.length;
  }

  async count(context: string, { after, atMost }: { readonly after: number; readonly atMost: number }) {
    return Math.max(0, Math.min(atMost, this.#tables.context(context).log.length - after));
  }
}
