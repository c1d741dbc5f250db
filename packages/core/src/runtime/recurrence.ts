import { Cron } from "croner";
import { z } from "zod";
import { toInstant } from "../kernel/clock.ts";
import { InvalidInput } from "../kernel/errors.ts";
import { parse } from "../kernel/parse.ts";
import type { Delay, Recurrence, RecurrenceOptions } from "../kernel/timers.ts";

const LONGEST_MS = 10 * 366 * 86_400_000;

const CRON = "must be a cron pattern of five fields, or six with seconds in front";

const delay = z.union([
  z.strictObject({ at: z.iso.datetime({ offset: true }) }),
  z.strictObject({ afterMs: z.number().min(0).max(LONGEST_MS) }),
]);

// What is kept says nothing of the default.
const catchUp = z
  .enum(["once", "all", "none"])
  .optional()
  .transform((given) => (given === "once" ? undefined : given));

const recurrence = z.union([
  z.strictObject({
    catchUp,
    cron: z
      .string()
      .max(200)
      .regex(/^\S+( +\S+){4,5}$/, CRON),
    timeZone: z.string().min(1).max(100).default("UTC"),
  }),
  z.strictObject({ catchUp, everyMs: z.int().min(1_000).max(LONGEST_MS) }),
]);

/** When a delayed command is due, in milliseconds since 1970. */
export function dueTime(given: Delay, now: number): number {
  const parsed = parse(delay, given, "The delay");
  return "at" in parsed ? Math.max(0, Date.parse(parsed.at)) : now + Math.ceil(parsed.afterMs);
}

/**
 * The recurrence as it is kept, and the first time after `now`.
 *
 * @throws {InvalidInput} no such pattern or time zone, or one whose time never comes
 */
export function firstOccurrence(
  given: RecurrenceOptions,
  now: number,
): { readonly recurrence: Recurrence; readonly dueAt: number } {
  const { catchUp: missed, ...times } = parse(recurrence, given, "The recurrence");
  const kept: Recurrence = missed === undefined ? times : { ...times, catchUp: missed };
  const dueAt = nextOccurrence(kept, now, now);
  if (dueAt === undefined) throw refused("cron", `has no time after ${toInstant(now)}`);
  return { recurrence: kept, dueAt };
}

/**
 * The next time after `now` and after the last one: what was missed meanwhile does not come again. Milliseconds keep the
 * step of the last time.
 *
 * @returns undefined when there is none
 */
function nextOccurrence(kept: Recurrence, last: number, now: number): number | undefined {
  if ("everyMs" in kept) return last + (Math.floor(Math.max(0, now - last) / kept.everyMs) + 1) * kept.everyMs;
  return cronOf(kept)
    .nextRun(new Date(Math.max(last, now)))
    ?.getTime();
}

/** For how long a time that was missed still comes, in milliseconds. */
const STILL_COMES_MS = { none: 60_000, all: 86_400_000 };

/**
 * What is done about a time that has come.
 *
 * @param dueAt the time, `now` or before
 * @returns whether the command comes, and when the next time is; undefined when there is none
 */
export function occurrence(
  kept: Recurrence,
  dueAt: number,
  now: number,
): { readonly comes: boolean; readonly nextAt: number | undefined } {
  const { catchUp: missed } = kept;
  if (missed === undefined) return { comes: true, nextAt: nextOccurrence(kept, dueAt, now) };
  const since = now - STILL_COMES_MS[missed];
  if (dueAt < since) return { comes: false, nextAt: nextOccurrence(kept, dueAt, since) };
  return { comes: true, nextAt: nextOccurrence(kept, dueAt, missed === "all" ? dueAt : now) };
}

function cronOf({ cron, timeZone }: Extract<Recurrence, { cron: string }>): Cron {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
  } catch {
    throw refused("timeZone", "must be a time zone such as Europe/Berlin");
  }
  try {
    // Without a function to call it only reckons.
    return new Cron(cron, { timezone: timeZone, mode: "5-or-6-parts" });
  } catch {
    throw refused("cron", CRON);
  }
}

function refused(path: string, message: string): InvalidInput {
  return new InvalidInput({ subject: "The recurrence", issues: [{ path, message }] });
}
