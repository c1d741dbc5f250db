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

const recurrence = z.union([
  z.strictObject({
    cron: z
      .string()
      .max(200)
      .regex(/^\S+( +\S+){4,5}$/, CRON),
    timeZone: z.string().min(1).max(100).default("UTC"),
  }),
  z.strictObject({ everyMs: z.int().min(1_000).max(LONGEST_MS) }),
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
  const kept: Recurrence = parse(recurrence, given, "The recurrence");
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
export function nextOccurrence(kept: Recurrence, last: number, now: number): number | undefined {
  if ("everyMs" in kept) return last + (Math.floor(Math.max(0, now - last) / kept.everyMs) + 1) * kept.everyMs;
  return cronOf(kept)
    .nextRun(new Date(Math.max(last, now)))
    ?.getTime();
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
