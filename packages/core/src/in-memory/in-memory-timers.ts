import { compareText } from "../kernel/index-value.ts";
import { frozenCopy } from "../kernel/json-copy.ts";
import type { Page } from "../kernel/store.ts";
import type { DueTimers, Firing, ScheduledQuery, Timer, TimerChange, Timers } from "../kernel/timers.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { enqueue, keyOf, type Tables } from "./tables.ts";

const LISTING = "scheduled";

/** Delayed and recurring commands until they are due. */
export class InMemoryTimers implements Timers {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async due(context: string, { now, limit }: { readonly now: number; readonly limit: number }): Promise<DueTimers> {
    const all = [...this.#tables.context(context).timers.values()];
    const later = all.filter(({ dueAt }) => dueAt > now).map(({ dueAt }) => dueAt);
    const timers = all
      .filter(({ dueAt }) => dueAt <= now)
      .sort((a, b) => a.dueAt - b.dueAt || compareText(a.command.tenant, b.command.tenant) || byKey(a, b))
      .slice(0, limit);
    return { timers, nextAt: later.length === 0 ? undefined : Math.min(...later) };
  }

  async fire(context: string, firings: readonly Firing[]): Promise<number> {
    const tables = this.#tables.context(context);
    let fired = 0;
    for (const { timer, message, nextAt } of firings) {
      const place = keyOf(timer.command.tenant, timer.key);
      const present = tables.timers.get(place);
      if (present === undefined || present.dueAt !== timer.dueAt || present.command.id !== timer.command.id) continue;
      if (nextAt === undefined) tables.timers.delete(place);
      else tables.timers.set(place, Object.freeze({ ...present, dueAt: nextAt }));
      if (message !== undefined) enqueue(this.#tables, tables, { kind: "command", command: frozenCopy(message) });
      fired += 1;
    }
    return fired;
  }

  /** Whether the change can be made. */
  has(context: string, tenant: string, change: TimerChange): boolean {
    if (change.step === "set" || !change.required) return true;
    return this.#tables.context(context).timers.has(keyOf(tenant, change.key));
  }

  change(context: string, tenant: string, change: TimerChange): void {
    const { timers } = this.#tables.context(context);
    if (change.step === "remove") {
      timers.delete(keyOf(tenant, change.key));
      return;
    }
    const timer = frozenCopy(change.timer);
    const place = keyOf(tenant, timer.key);
    const present = timers.get(place);
    const same = present?.recurrence !== undefined && isSame(present.recurrence, timer.recurrence);
    timers.set(place, same ? Object.freeze({ ...timer, dueAt: present.dueAt }) : timer);
  }

  list(tenant: string, { contexts, key, limit, after }: ScheduledQuery): Page<Timer> {
    const behind = after === undefined ? undefined : decodeCursor(LISTING, 3, after, /^\d{16}$/);
    const sortKey = ({ timer, context }: { readonly timer: Timer; readonly context: string }) =>
      [String(timer.dueAt).padStart(16, "0"), timer.key, context] as const;
    const compare = (a: readonly string[], b: readonly string[]) =>
      compareText(a[0]!, b[0]!) || compareText(a[1]!, b[1]!) || compareText(a[2]!, b[2]!);
    const rows = contexts
      .flatMap((context) => [...this.#tables.context(context).timers.values()].map((timer) => ({ timer, context })))
      .filter((row) => row.timer.command.tenant === tenant && (key === undefined || row.timer.key === key))
      .filter((row) => behind === undefined || compare(sortKey(row), behind) > 0)
      .sort((a, b) => compare(sortKey(a), sortKey(b)));
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    return {
      items: items.map(({ timer }) => timer),
      next: rows.length > limit && last !== undefined ? encodeCursor(LISTING, sortKey(last)) : undefined,
    };
  }
}

function byKey(a: Timer, b: Timer): number {
  return compareText(a.key, b.key);
}

function isSame(a: Timer["recurrence"], b: Timer["recurrence"]): boolean {
  const text = (value: Timer["recurrence"]) => JSON.stringify(Object.entries(value ?? {}).sort());
  return text(a) === text(b);
}
