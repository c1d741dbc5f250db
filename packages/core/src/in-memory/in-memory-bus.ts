import { type Clock, systemClock } from "../kernel/clock.ts";
import { jsonCopy } from "../kernel/json-copy.ts";
import type { BusSubscription, CloudEvent, EventBus } from "../kernel/ports.ts";
import { keyOf, upsert } from "./tables.ts";

const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 5_000;

/** Events of one (source, subject) that wait for a group, oldest first. */
interface Lane {
  readonly waiting: CloudEvent[];
  /** A member handles the first one, or waits to try it again. */
  busy: boolean;
  failures: number;
}

interface Group {
  readonly sources: Set<string>;
  readonly lanes: Map<string, Lane>;
  /** Wakes the members that have nothing to do. */
  readonly idle: Set<() => void>;
}

/**
 * Carries events between subscribers of one process. A group that has subscribed once keeps its events while it has
 * no member, until the process ends.
 */
export class InProcessBus implements EventBus {
  readonly #clock: Clock;
  readonly #groups = new Map<string, Group>();
  readonly #members = new Set<{ close(): Promise<void> }>();
  readonly #closed = new AbortController();

  constructor(clock: Clock = systemClock()) {
    this.#clock = clock;
  }

  async publish(events: readonly CloudEvent[]): Promise<void> {
    this.#mustBeOpen();
    for (const event of events)
      for (const group of this.#groups.values()) {
        if (!group.sources.has(event.source)) continue;
        const key = keyOf(event.source, event.tenant, event.subject);
        upsert(group.lanes, key, (): Lane => ({ waiting: [], busy: false, failures: 0 })).waiting.push(jsonCopy(event));
        wake(group);
      }
  }

  async subscribe(subscription: BusSubscription): Promise<{ close(): Promise<void> }> {
    this.#mustBeOpen();
    const group = upsert(
      this.#groups,
      subscription.group,
      (): Group => ({ sources: new Set(), lanes: new Map(), idle: new Set() }),
    );
    for (const source of subscription.sources) group.sources.add(source);

    const stop = new AbortController();
    const running = this.#work(group, subscription, stop.signal);
    const member = {
      close: async () => {
        stop.abort();
        wake(group);
        await running;
        this.#members.delete(member);
      },
    };
    this.#members.add(member);
    return member;
  }

  async ping(): Promise<void> {
    this.#mustBeOpen();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([...this.#members].map((member) => member.close()));
  }

  /** One member: handles one event after the other, whichever lane has one that nobody works on. */
  async #work(group: Group, subscription: BusSubscription, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const next = freeLane(group);
      if (next === undefined) {
        await new Promise<void>((resolve) => group.idle.add(resolve));
        continue;
      }
      const [key, lane] = next;
      lane.busy = true;
      try {
        await subscription.handle(jsonCopy(lane.waiting[0]!));
      } catch {
        lane.failures += 1;
        this.#retryLater(group, lane);
        continue;
      }
      lane.waiting.shift();
      lane.failures = 0;
      lane.busy = false;
      // The lane goes to the end, so that a busy subject does not starve the others.
      group.lanes.delete(key);
      if (lane.waiting.length > 0) group.lanes.set(key, lane);
    }
  }

  /** The lane stays busy until its time has come, so that nothing of the subject can overtake the failed event. */
  #retryLater(group: Group, lane: Lane): void {
    const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (lane.failures - 1));
    void this.#clock.sleep(delay, this.#closed.signal).then(
      () => {
        lane.busy = false;
        wake(group);
      },
      () => undefined,
    );
  }

  #mustBeOpen(): void {
    if (this.#closed.signal.aborted) throw new Error("The bus is closed.");
  }
}

function freeLane(group: Group): readonly [string, Lane] | undefined {
  for (const entry of group.lanes) if (!entry[1].busy) return entry;
  return undefined;
}

function wake(group: Group): void {
  for (const resume of group.idle) resume();
  group.idle.clear();
}
