import type { CloudEvent } from "@armature/core";
import type { RedisCommands } from "./redis-client.ts";
import { readEvent } from "./stream-event.ts";

/** An event that a group has given up, or that stands behind one of its subject. */
export interface StreamDeadLetter {
  readonly tenant: string | undefined;
  readonly subject: string | undefined;
  /** Absent when what was published is no event. */
  readonly event: CloudEvent | undefined;
  readonly reason: string;
  /** How often its handler was called; 0 when it only stands behind another. */
  readonly attempts: number;
  /** When it was parked. */
  readonly time: string;
}

export interface DeadLetterEntry {
  readonly id: string;
  readonly lane: string;
  readonly json: string;
  readonly reason: string;
  readonly attempts: number;
  readonly time: string;
}

const PAGE = 100;

/** A page of a stream of dead letters, oldest first. */
export async function lettersOf(
  redis: RedisCommands,
  stream: string,
  after: string | undefined,
): Promise<{ readonly entries: readonly DeadLetterEntry[]; readonly next: string | undefined }> {
  const from = after === undefined ? "-" : `(${after}`;
  const rows = (await redis.send("XRANGE", stream, from, "+", "COUNT", String(PAGE))) as readonly (readonly [
    string,
    readonly string[],
  ])[];
  const entries = rows.map(([id, list]): DeadLetterEntry => {
    const fields = Object.fromEntries(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1]]] : [])));
    const { l = "", e = "", r = "", a = "0", t = "" } = fields as Record<string, string>;
    return { id, lane: l, json: e, reason: r, attempts: Number(a), time: t };
  });
  return { entries, next: rows.length < PAGE ? undefined : rows.at(-1)![0] };
}

export function toDeadLetter({ json, reason, attempts, time }: DeadLetterEntry): StreamDeadLetter {
  const read = readEvent(json);
  const event = "event" in read ? read.event : undefined;
  return { tenant: event?.tenant, subject: event?.subject, event, reason, attempts, time };
}
