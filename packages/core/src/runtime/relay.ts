import { AWAKE } from "../kernel/clock.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import { type Claim, type OutboxEntry, PARTITIONS } from "../kernel/outbox.ts";
import { errorText } from "./error-text.ts";
import type { Pipeline } from "./pipeline.ts";
import { RelayClaims } from "./relay-claims.ts";
import { type DeliverySlots, RelayDeliveries } from "./relay-deliveries.ts";
import { RelayPublisher } from "./relay-publisher.ts";
import { type Cursor, ReadAhead } from "./relay-read-ahead.ts";
import type { RelaySettings } from "./relay-settings.ts";
import { type Chain, type Item, RelayWindow, sequenceKey } from "./relay-window.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** Entries that one read may bring. */
const PAGE = 500;
/** Entries that are worked on at the same time: what a relay holds in memory, however much waits. */
const WINDOW = 1_000;
const SHORTEST_WAIT_MS = 10;

/**
 * What came of a look at the outbox: something was done; there was nothing that could be done; or entries wait that
 * another process has the partitions of, or that could not be read.
 */
export type Found = "progress" | "nothing" | "not-ours";

interface Asked {
  readonly resolve: (found: Found) => void;
  readonly before: number;
}

/**
 * Publishes one context's outbox: to the bus, then to each local consumer, in order per aggregate. The processes share
 * the partitions of the outbox. A delivery that fails is tried again later while other aggregates go on; after its last
 * attempt the message is parked for that consumer, and so is the rest of its aggregate.
 */
export class Relay {
  readonly #context: string;
  readonly #ports: RuntimePorts;
  readonly #settings: RelaySettings;
  readonly #claims: RelayClaims;
  readonly #deliveries: RelayDeliveries;
  readonly #publisher: RelayPublisher;
  readonly #window = new RelayWindow();
  readonly #ahead = new ReadAhead();
  readonly #stop = new AbortController();
  #nudged = false;
  #signalled = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #waiters: ((found: Found) => void)[] = [];
  #looked: Asked[] = [];
  #published = 0;
  readonly #chains = new Set<Promise<void>>();
  /** The cursors that stand at the beginnings of these. */
  #begun: { readonly of: readonly Claim[]; readonly cursors: readonly Cursor[] } = { of: [], cursors: [] };

  constructor(
    context: string,
    ports: RuntimePorts,
    pipeline: Pipeline,
    contexts: readonly ContextDefinition[],
    settings: RelaySettings,
    slots: DeliverySlots,
  ) {
    this.#context = context;
    this.#ports = ports;
    this.#settings = settings;
    this.#claims = new RelayClaims(context, ports.ids.next("relay"), ports.store.outbox, ports.clock);
    this.#publisher = new RelayPublisher(context, ports, settings);
    this.#deliveries = new RelayDeliveries(context, ports, pipeline, contexts, settings, slots, this.#claims);
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Waits for the deliveries under way, gives the partitions back and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#signal();
    await this.#running;
    await Promise.all(this.#chains);
    await this.#settle().catch(() => undefined); // it is done again by whoever comes next
    for (const resolve of this.#waiters.splice(0)) resolve("nothing");
    for (const { resolve } of this.#looked.splice(0)) resolve("nothing");
    if (this.#running !== undefined) await this.#claims.leave();
  }

  /** Something was committed: look now. */
  nudge(): void {
    this.#nudged = true;
    this.#signal();
  }

  /** Whether nobody else has to know of what is committed here. */
  get alone(): boolean {
    return this.#claims.complete;
  }

  /** Grows with everything that is done. */
  get progress(): number {
    return this.#deliveries.progress + this.#published;
  }

  /** Looks at the outbox now, and says what came of it when that is done. */
  look(): Promise<Found> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve("nothing");
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.nudge();
    });
  }

  async #loop(): Promise<void> {
    let wait = SHORTEST_WAIT_MS;
    while (!this.#stop.signal.aborted) {
      if (this.#nudged) wait = SHORTEST_WAIT_MS;
      this.#nudged = false;
      const before = this.progress;
      const asked = this.#waiters.splice(0).map((resolve) => ({ resolve, before }));
      try {
        const found = await this.#pass();
        if (found) for (const { resolve } of asked) resolve("progress");
        else this.#looked.push(...asked);
        wait = found ? SHORTEST_WAIT_MS : Math.min(this.#settings.pollMs, Math.max(wait * 2, SHORTEST_WAIT_MS));
      } catch (error) {
        for (const { resolve } of asked) resolve("not-ours");
        if (this.#stop.signal.aborted) return;
        this.#ports.logger.warn("The relay could not work and tries again", {
          context: this.#context,
          error: errorText(error),
        });
        wait = this.#settings.pollMs;
      }
      if (wait > 0) await this.#idle(wait);
    }
  }

  // Until there is something to look for, settling what is done in the meantime.
  async #idle(wait: number): Promise<void> {
    const { clock } = this.#ports;
    const now = clock.now();
    // What is due already, this pass could not do: it comes again by itself.
    // Who has nothing to do may let its partitions lapse: whoever has something to do gets them then.
    const renewAt = this.#window.size > 0 || this.#claims.balancing ? this.#claims.renewAt : Number.POSITIVE_INFINITY;
    const due = [renewAt, this.#deliveries.waiting.nextAt, this.#publisher.retryAt].filter((at) => at > now);
    const until = Math.min(now + wait, ...due);
    while (!this.#nudged && !this.#stop.signal.aborted) {
      try {
        if (this.#window.unsettled > 0 && (this.#window.size === 0 || this.#window.unsettled >= PAGE))
          await this.#settle();
        if (this.#window.size === 0 && this.#looked.length > 0) await this.#answer();
      } catch {
        return this.#sleep(Math.max(1, until - clock.now())); // the next pass tells of it
      }
      if (this.#nudged || clock.now() >= until) return;
      await this.#sleep(until - clock.now());
    }
  }

  async #answer(): Promise<void> {
    const looked = this.#looked.splice(0);
    let elsewhere: Promise<boolean> | undefined;
    for (const { resolve, before } of looked) {
      if (this.progress !== before) resolve("progress");
      else {
        elsewhere ??= this.#waitsElsewhere().catch(() => true);
        resolve((await elsewhere) ? "not-ours" : "nothing");
      }
    }
  }

  async #waitsElsewhere(): Promise<boolean> {
    if (this.#claims.complete) return false;
    const ours = new Set(this.#claims.working.map(({ partition }) => partition));
    const others = Array.from({ length: PARTITIONS }, (_, partition) => partition).filter((each) => !ours.has(each));
    return (await this.#ports.store.outbox.size(this.#context, others, 1)) > 0;
  }

  #signal(): void {
    this.#signalled = true;
    this.#wake?.();
  }

  // Until then, or until something has happened since the last sleep.
  async #sleep(ms: number): Promise<void> {
    if (!this.#signalled) {
      const awake = new AbortController();
      this.#wake = () => awake.abort(AWAKE);
      await this.#ports.clock.sleep(ms, awake.signal).catch(() => undefined);
      this.#wake = undefined;
    }
    this.#signalled = false;
  }

  // Reads everything once, from the start of each of our partitions; whether there was something new. While the bus is
  // down, what was read already is not read again: there is nothing to do with it until the bus is tried.
  async #pass(): Promise<boolean> {
    await this.#renew();
    await this.#settle();
    let found = false;
    let busDown = this.#ports.clock.now() < this.#publisher.retryAt;
    let cursors = this.#beginnings();
    if (busDown) cursors = this.#pastRead(cursors);
    while (cursors.length > 0 && !this.#stop.signal.aborted) {
      const limit = Math.ceil(PAGE / cursors.length);
      // What is settled while the first page is read could come again with it.
      const first = cursors[0]!.after === undefined;
      const [entries] = await Promise.all([this.#read(cursors, limit), first ? undefined : this.#settle()]);
      // A partition that is not ours any more, or may not be, is begun anew in another pass.
      cursors = this.#claims.held(cursors);
      if (entries.length === 0) break;
      const items = this.#itemsOf(entries, cursors);
      // When the bus is down, local consumers go on; what stands behind in the outbox must not go to it first.
      const unpublished = items.filter((item) => this.#waitsForBus(item));
      busDown ||= !(await this.#publisher.publish(unpublished));
      if (!busDown && unpublished.length > 0) this.#ahead.forget();
      if (!busDown) for (const item of unpublished) item.published = true;
      let retried = false;
      for (const item of items) {
        retried ||= this.#deliveries.retries(item);
        found = this.#accept(item) || found;
      }
      // What nobody here consumes is done by now, and leaves without having been marked.
      if (!busDown) for (const item of unpublished) this.#window.mark(item);
      if (this.#deliveries.waiting.full && !retried) break;
      await this.#room();
      await this.#renew();
      cursors = this.#readOn(entries, cursors, limit);
    }
    return found;
  }

  #beginnings(): readonly Cursor[] {
    const { working } = this.#claims;
    if (this.#begun.of !== working)
      this.#begun = { of: working, cursors: working.map((claim): Cursor => ({ claim, after: undefined })) };
    return this.#begun.cursors;
  }

  // Where the page ends in each partition that it was full of.
  #readOn(entries: readonly OutboxEntry[], cursors: readonly Cursor[], limit: number): Cursor[] {
    const read = new Map<number, { count: number; last: string }>();
    for (const { partition, position } of entries)
      read.set(partition, { count: (read.get(partition)?.count ?? 0) + 1, last: position });
    return cursors.flatMap(({ claim }) => {
      const page = read.get(claim.partition);
      if (page === undefined) return [];
      const next = { claim, after: page.last };
      this.#ahead.reached(next);
      return page.count === limit && this.#claims.holds(claim) ? [next] : [];
    });
  }

  // What failed and waits may stand anywhere.
  #pastRead(cursors: readonly Cursor[]): readonly Cursor[] {
    return cursors.map((cursor) => (this.#deliveries.waiting.size > 0 ? cursor : this.#ahead.past(cursor)));
  }

  async #renew(): Promise<void> {
    if (await this.#claims.renew(() => this.#window.busy))
      this.#deliveries.waiting.forget((claim) => this.#claims.holds(claim));
  }

  #read(cursors: readonly Cursor[], limit: number): Promise<readonly OutboxEntry[]> {
    this.#deliveries.readBegins();
    const asked = cursors.map(({ claim: { partition, fence }, after }) => ({ partition, fence, after }));
    const { consumed } = this.#deliveries;
    return this.#ports.store.outbox.read(this.#context, { cursors: asked, limit, consumed });
  }

  // What is worked on already stands for itself.
  #itemsOf(entries: readonly OutboxEntry[], cursors: readonly Cursor[]): readonly Item[] {
    const claims = new Map(cursors.map(({ claim }) => [claim.partition, claim]));
    return entries.flatMap((entry) => {
      const { partition, position, published } = entry;
      const claim = claims.get(partition);
      return claim === undefined
        ? []
        : [this.#window.known(position) ?? { entry, partition, position, published, claim }];
    });
  }

  #waitsForBus({ entry, published }: Item): boolean {
    return entry.message.kind === "event" && !published;
  }

  // Whether it is new: worked on from now on, or done already.
  #accept(item: Item): boolean {
    if (this.#window.known(item.position) !== undefined) return false;
    if (!this.#deliveries.concerns(item)) {
      if (!item.published) return false;
      this.#window.finish(item);
      this.#published += 1;
      return true;
    }
    if (this.#deliveries.mustWait(item)) return false;
    const key = sequenceKey(item);
    const chain = this.#window.add(item, key, this.#deliveries.parkedSince(key));
    if (chain === undefined) return true;
    const run = this.#work(chain);
    this.#chains.add(run);
    void run.finally(() => this.#chains.delete(run));
    return true;
  }

  #mayWork({ claim }: Item): boolean {
    return !this.#stop.signal.aborted && this.#claims.holds(claim);
  }

  async #work(chain: Chain): Promise<void> {
    for (let item = chain.queue[0]; item !== undefined; item = chain.queue[0]) {
      if (!this.#mayWork(item)) {
        this.#giveUp(chain, item);
        break;
      }
      try {
        const delivered = await this.#deliveries.deliver(item, chain, () => this.#mayWork(item));
        const done = delivered && (item.published || item.entry.message.kind === "command");
        // A replay may have brought it back in the meantime: the next read tells whether somebody still needs it.
        const again = chain.parked.size > 0 || item.entry.parked.length > 0;
        this.#window.next(chain, done && !again);
        if (done && again) this.#nudged = true;
        if (this.#window.size === WINDOW - 1) this.#signal();
      } catch (error) {
        this.#ports.logger.warn("The relay could not work and tries again", {
          context: this.#context,
          error: errorText(error),
        });
        this.#giveUp(chain, item, this.#settings.pollMs);
        break;
      }
    }
    // A consumer that was to be tried again meanwhile had to wait for the others.
    if (chain.blocked.size > 0 && this.#deliveries.waiting.nextAt <= this.#ports.clock.now()) this.#nudged = true;
    this.#signal();
  }

  // Until this one is tried again nothing of its sequence is.
  #giveUp(chain: Chain, item: Item, wait = 0): void {
    this.#deliveries.putOff(item, wait);
    this.#window.drop(chain);
  }

  // Back-pressure: no more is read while much is worked on.
  async #room(): Promise<void> {
    while (this.#window.size >= WINDOW && !this.#stop.signal.aborted) {
      await this.#renew();
      await this.#settle();
      if (this.#window.size >= WINDOW) await this.#sleep(Math.max(1, this.#claims.renewAt - this.#ports.clock.now()));
    }
  }

  async #settle(): Promise<void> {
    if (this.#window.unsettled === 0) return;
    const { finished, published } = this.#window.takeUnsettled();
    const ours = ({ claim }: Item) => this.#claims.holds(claim);
    const done = { finished: finished.filter(ours), published: published.filter(ours) };
    const claims = new Map([...done.finished, ...done.published].map(({ claim }) => [claim.partition, claim]));
    if (claims.size > 0) {
      const lost = await this.#ports.store.outbox.settle(this.#context, [...claims.values()], {
        published: done.published.map(refOf),
        finished: done.finished.map(refOf),
      });
      this.#claims.lost(lost);
    }
    this.#window.settled(finished);
  }
}

function refOf({ partition, position }: Item): Pick<Item, "partition" | "position"> {
  return { partition, position };
}
