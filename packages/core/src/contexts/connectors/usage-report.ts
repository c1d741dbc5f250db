import { z } from "zod";
import { toInstant } from "../../kernel/clock.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import { compareText } from "../../kernel/index-value.ts";
import { tryParse } from "../../kernel/schema.ts";
import type { Counter, CounterQuery, Page } from "../../kernel/store.ts";
import type { UsageView } from "./contract.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MAX_DAYS = 366;
const DEFAULT_DAYS = 30;
const READ = 500;

const usageKey = /^usage\/(\d{4}-\d\d-\d\d)\/([^/]+)\/(\d\d)\/(.*)$/s;
/** Day, connector, hour (empty where days are asked for) and action of the last item. */
const position = z.tuple([z.iso.date(), z.string(), z.string().regex(/^(\d\d)?$/), z.string()]);
type Position = z.infer<typeof position>;

interface Entry {
  readonly at: Position;
  readonly numbers: Record<string, number>;
}

/** What is asked for; times in milliseconds. */
export interface UsageAsked {
  readonly since?: number | undefined;
  readonly until: number;
  readonly connectorId?: string | undefined;
  readonly per: "hour" | "day";
  readonly limit: number;
  readonly after?: string | undefined;
}

/**
 * A page of what was counted, by day, connector, hour and action. Hours that have begun by `until` are in it.
 *
 * @throws {InvalidInput} the span is too long, or the cursor is none of this listing
 */
export async function usagePage(
  read: (query: CounterQuery) => Promise<Page<Counter>>,
  asked: UsageAsked,
): Promise<{ items: UsageView[]; next?: string }> {
  const until = Math.ceil(asked.until / HOUR_MS) * HOUR_MS;
  const since = Math.floor((asked.since ?? asked.until - DEFAULT_DAYS * DAY_MS) / HOUR_MS) * HOUR_MS;
  if (until - since > MAX_DAYS * DAY_MS)
    throw new InvalidInput({
      subject: "The span of time",
      issues: [{ path: "since", message: `must be at most ${MAX_DAYS} days before its end` }],
    });
  const after = asked.after === undefined ? undefined : positionOf(asked.after, asked.per);
  const entries: Entry[] = [];
  for await (const entry of entriesOf(read, { ...asked, since, until }, after)) {
    if (after !== undefined && compare(entry.at, after) <= 0) continue;
    entries.push(entry);
    if (entries.length > asked.limit) break;
  }
  const items = entries.slice(0, asked.limit);
  const last = items.at(-1);
  const page = { items: items.map(toView) };
  return entries.length > asked.limit && last !== undefined ? { ...page, next: cursorOf(last.at) } : page;
}

type Span = Pick<UsageAsked, "connectorId" | "per" | "until"> & { readonly since: number };

async function* entriesOf(
  read: (query: CounterQuery) => Promise<Page<Counter>>,
  span: Span,
  after: Position | undefined,
): AsyncGenerator<Entry> {
  let day: Entry[] = [];
  for await (const entry of hoursOf(read, span, after)) {
    if (span.per === "hour") {
      yield entry;
      continue;
    }
    const [date, connectorId, , action] = entry.at;
    if (day.length > 0 && (day[0]!.at[0] !== date || day[0]!.at[1] !== connectorId)) {
      yield* day.sort((a, b) => compare(a.at, b.at));
      day = [];
    }
    const sum = day.find(({ at }) => at[3] === action);
    if (sum === undefined) day.push({ at: [date, connectorId, "", action], numbers: { ...entry.numbers } });
    else
      for (const [name, number] of Object.entries(entry.numbers)) sum.numbers[name] = (sum.numbers[name] ?? 0) + number;
  }
  yield* day.sort((a, b) => compare(a.at, b.at));
}

// A page begins with the connector's day in which the one before ended.
async function* hoursOf(
  read: (query: CounterQuery) => Promise<Page<Counter>>,
  { connectorId, since, until }: Span,
  after: Position | undefined,
): AsyncGenerator<Entry> {
  const start = after === undefined ? "" : `usage/${after[0]}/${after[1]}/`;
  for (const [gte, lt] of rangesOf(connectorId, since, until)) {
    if (compareText(lt, start) <= 0) continue;
    const from = compareText(gte, start) < 0 ? start : gte;
    let next: string | undefined;
    do {
      const page = await read({ gte: from, lt, limit: READ, after: next });
      for (const { key, numbers } of page.items) {
        const [, date = "", connector = "", hour = "", action = ""] = usageKey.exec(key) ?? [];
        const time = Date.parse(`${date}T${hour}:00:00Z`);
        if (time >= since && time < until) yield { at: [date, connector, hour, action], numbers };
      }
      next = page.next;
    } while (next !== undefined);
  }
}

function rangesOf(
  connectorId: string | undefined,
  since: number,
  until: number,
): readonly (readonly [string, string])[] {
  const dayOf = (time: number) => toInstant(time).slice(0, 10);
  // "0" is what comes after "/".
  if (connectorId === undefined) return since < until ? [[`usage/${dayOf(since)}/`, `usage/${dayOf(until - 1)}0`]] : [];
  const ranges: [string, string][] = [];
  for (let day = Math.floor(since / DAY_MS) * DAY_MS; day < until; day += DAY_MS)
    ranges.push([`usage/${dayOf(day)}/${connectorId}/`, `usage/${dayOf(day)}/${connectorId}0`]);
  return ranges;
}

function compare(a: Position, b: Position): number {
  return compareText(a[0], b[0]) || compareText(a[1], b[1]) || compareText(a[2], b[2]) || compareText(a[3], b[3]);
}

function toView({ at: [date, connectorId, hour, action], numbers }: Entry): UsageView {
  const of = (name: string) => numbers[name] ?? 0;
  return {
    period: `${date}T${hour === "" ? "00" : hour}:00:00.000Z`,
    connectorId: connectorId as UsageView["connectorId"],
    action,
    requests: of("requests"),
    retries: of("retries"),
    cached: of("cached"),
    failures: {
      refused: of("refused"),
      limited: of("limited"),
      outage: of("outage"),
      credential: of("credential"),
    },
    bytesSent: of("bytesSent"),
    bytesReceived: of("bytesReceived"),
    milliseconds: of("milliseconds"),
  };
}

function cursorOf(at: Position): string {
  return Buffer.from(JSON.stringify(at)).toString("base64url");
}

function positionOf(cursor: string, per: UsageAsked["per"]): Position {
  const parsed = tryParse(position, jsonInside(cursor));
  if (parsed.ok && (parsed.value[2] === "") === (per === "day")) return parsed.value;
  throw new InvalidInput({
    subject: "The cursor",
    issues: [{ path: "after", message: "must be the `next` of a page of the same listing" }],
  });
}

function jsonInside(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    return undefined; // the schema refuses it
  }
}
