import type { CloudEvent } from "../../kernel/ports.ts";
import type { Commit, StoredEvent } from "../../kernel/store.ts";
import type { FaultTrace } from "./fault-trace.ts";

/** A commit that the store has written, whoever has heard of it. */
export interface WrittenCommit {
  readonly tenant: string;
  readonly commit: Commit;
}

interface Sequence {
  readonly seen: Set<number>;
  last: number;
}

/** A consumer's or the bus' view of one event. */
interface Seen {
  readonly tenant: string;
  readonly subject: string;
  readonly version: number;
}

function seen(event: StoredEvent | CloudEvent): Seen {
  return "specversion" in event
    ? { tenant: event.tenant, subject: event.subject, version: event.sequence }
    : {
        tenant: event.tenant,
        subject: `${event.aggregateType}/${event.aggregateId}`,
        version: event.aggregateVersion,
      };
}

/** Everything that was seen at the ports, from outside of the processes: what the invariants compare with the log. */
export class FaultLedger {
  readonly commits: WrittenCommit[] = [];
  /** Events that the bus has taken, by id: from where, and how often. */
  readonly published = new Map<string, { readonly source: string; times: number }>();
  /** Events that a group of the bus has handled to the end, `group id`. */
  readonly consumed = new Set<string>();
  /** Consumers that have handled an event, `consumer id`. */
  readonly handled = new Set<string>();
  /** Ids of sent commands that were refused. Their audit rows may be lost, as every refusal's: the log tells then. */
  readonly refused = new Set<string>();
  readonly #events = new Map<string, StoredEvent>();
  readonly #sequences = new Map<string, Sequence>();
  readonly #trace: FaultTrace;
  /** Deliveries that began, to consumers in the store and on the bus, and how many of them were repetitions. */
  readonly deliveries = { all: 0, repeated: 0 };

  constructor(trace: FaultTrace) {
    this.#trace = trace;
  }

  wrote(tenant: string, commit: Commit): void {
    this.commits.push({ tenant, commit });
    for (const { events } of commit.parts) for (const event of events) this.#events.set(event.id, event);
    for (const { inbox, events } of commit.parts) {
      if (inbox === undefined) continue;
      this.handled.add(`${inbox.consumer} ${inbox.messageId}`);
      const handled = this.#events.get(inbox.messageId);
      if (handled !== undefined) this.#inOrder(`the effect of ${inbox.consumer}`, seen(handled));
      const effects = events.map(({ type, aggregateId }) => `${type} ${aggregateId}`).join(", ");
      this.#trace.note("", `  ${inbox.consumer} has handled ${inbox.messageId}${effects === "" ? "" : `: ${effects}`}`);
    }
  }

  publishedTo(events: readonly CloudEvent[]): void {
    for (const event of events) {
      const known = this.published.get(event.id);
      if (known === undefined) this.published.set(event.id, { source: event.source, times: 1 });
      else known.times += 1;
      this.#inOrder("the bus", seen(event));
    }
  }

  /** A consumer's handler begins. */
  delivered(consumer: string, event: StoredEvent | CloudEvent): void {
    this.deliveries.all += 1;
    if (!this.#inOrder(consumer, seen(event))) this.deliveries.repeated += 1;
  }

  consumedBy(group: string, event: CloudEvent): void {
    this.consumed.add(`${group} ${event.id}`);
  }

  /** Whether the bus has taken something for this consumer that it has not handled. */
  awaits({ group, sources }: { readonly group: string; readonly sources: readonly string[] }): boolean {
    return [...this.published].some(
      ([id, { source }]) => sources.includes(source) && !this.consumed.has(`${group} ${id}`),
    );
  }

  // Whether it is the first time. A repetition may come late; a first time must not come after a later version.
  #inOrder(who: string, { tenant, subject, version }: Seen): boolean {
    const key = `${who} ${tenant} ${subject}`;
    let sequence = this.#sequences.get(key);
    if (sequence === undefined) {
      sequence = { seen: new Set(), last: 0 };
      this.#sequences.set(key, sequence);
    }
    if (sequence.seen.has(version)) return false;
    sequence.seen.add(version);
    if (version < sequence.last)
      this.#trace.violation(
        "order per aggregate",
        `${who} got version ${version} of ${subject} of ${tenant} for the first time after version ${sequence.last}`,
      );
    sequence.last = Math.max(sequence.last, version);
    return true;
  }
}
