import { z } from "zod";
import { Counted, Received, receipt } from "./tally.ts";
import type { Order } from "./workload.ts";

/** An event of the log, as the audit trail shows it. */
export interface LoggedEvent {
  readonly id: string;
  readonly tenant: string;
  readonly type: string;
  readonly aggregateId: string;
  readonly aggregateVersion: number;
  readonly data: unknown;
}

export interface Verdict {
  /** Effects of consumers that the log has. */
  readonly delivered: number;
  readonly outOfOrder: number;
  readonly lost: number;
  readonly twice: number;
  /** Events that Redis had to forget before it could hand them on. */
  readonly forgotten: number;
  /** The first few of what does not hold, a sentence each. */
  readonly violations: readonly string[];
}

const CONSUMERS = ["store", "bus"] as const;
const MOST_SENTENCES = 10;
const counted = z.object({ key: z.string() });

/** Compares what was acknowledged with what the log says, by tenant, aggregate and version. */
export function judge(log: readonly LoggedEvent[], orders: readonly Order[]): Verdict {
  const violations: string[] = [];
  const figures = { delivered: 0, outOfOrder: 0, lost: 0, twice: 0, forgotten: 0 };
  const say = (figure: "outOfOrder" | "lost" | "twice", sentence: string) => {
    figures[figure] += 1;
    if (violations.length < MOST_SENTENCES) violations.push(sentence);
  };

  const writes = Map.groupBy(
    log.filter(({ type }) => type === Counted.type),
    ({ data }) => counted.parse(data).key,
  );
  for (const [key, events] of writes)
    for (const again of events.slice(1)) say("twice", `${key} was written again as ${nameOf(again)}`);
  const receipts = takenIn(log, say);
  figures.delivered = receipts.size;
  for (const { key, event, forgotten } of orders) {
    if (event === undefined) continue;
    const written = writes.get(key)?.find((each) => nameOf(each) === event);
    if (written === undefined) say("lost", `${key} was acknowledged as ${event}, which is not in the log`);
    else
      for (const consumer of CONSUMERS) {
        if (receipts.has(`${consumer} ${written.id}`)) continue;
        if (consumer === "bus" && forgotten === true) figures.forgotten += 1;
        else say("lost", `${event} never reached the consumer of the ${consumer}`);
      }
  }
  return { ...figures, violations };
}

/** What each consumer has taken in, `consumer id`, with a word on everything that came late or twice. */
function takenIn(
  log: readonly LoggedEvent[],
  say: (figure: "outOfOrder" | "twice", sentence: string) => void,
): ReadonlySet<string> {
  const taken = new Set<string>();
  const inOrder = log
    .filter(({ type }) => type === Received.type)
    .toSorted((a, b) => a.aggregateVersion - b.aggregateVersion);
  const last = new Map<string, number>();
  for (const event of inOrder) {
    const { consumer, tally, version, eventId } = receipt.parse(event.data);
    const what = `${event.tenant}/${tally}@${version}`;
    const sequence = `${event.tenant} ${consumer} ${tally}`;
    if (taken.has(`${consumer} ${eventId}`)) {
      say("twice", `the consumer of the ${consumer} took in ${what} again`);
      continue;
    }
    taken.add(`${consumer} ${eventId}`);
    const before = last.get(sequence) ?? 0;
    if (version < before) say("outOfOrder", `the consumer of the ${consumer} took in ${what} after version ${before}`);
    last.set(sequence, Math.max(before, version));
  }
  return taken;
}

function nameOf({ tenant, aggregateId, aggregateVersion }: LoggedEvent): string {
  return `${tenant}/${aggregateId}@${aggregateVersion}`;
}
