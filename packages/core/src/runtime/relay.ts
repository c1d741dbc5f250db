import { toInstant } from "../kernel/clock.ts";
import type { ContextDefinition, Subscription } from "../kernel/context.ts";
import { ArmatureError, CorruptData, IdempotencyResultNotKept, NotFound } from "../kernel/errors.ts";
import type { HeldLease } from "../kernel/ports.ts";
import type { OutboxEntry, SentCommand, StoredEvent } from "../kernel/store.ts";
import { toCloudEvent } from "./cloud-event.ts";
import { isDefinite, isPassing } from "./idempotency.ts";
import type { Pipeline } from "./pipeline.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

export interface RelayOptions {
  /** Failed deliveries of one event to one consumer before the event is parked. Default 8. */
  readonly maxAttempts?: number;
  /** Wait after the first failure, doubled each time up to `maxBackoffMs`. Default 200. */
  readonly backoffMs?: number;
  /** Default 60 000. */
  readonly maxBackoffMs?: number;
  /** Longest wait between looks at the outbox when nobody nudges. Default 1 000. */
  readonly pollMs?: number;
}

const PAGE = 200;
const LEASE_MS = 15_000;
const LONGEST_REASON = 1_000;

interface Route {
  readonly subscription: Subscription;
  readonly context: ContextDefinition;
}

/**
 * What came of a look at the outbox: something was done; there was nothing that could be done; or entries wait that
 * another process has the lease for, or that could not be read.
 */
export type Found = "progress" | "nothing" | "not-ours";

/** What one look at an outbox found. */
interface Pass {
  /** The lease that it works under. Once that is lost, what was read may be old. */
  readonly lease: HeldLease | undefined;
  /** `consumer tenant type/id`: earlier events of the aggregate wait for this consumer, so later ones must too. */
  readonly blocked: Set<string>;
  /** When the earliest failed delivery may be tried again. */
  nextAt: number;
  /** The bus did not take an earlier page: what stands behind it must not go first. */
  busDown: boolean;
  progress: boolean;
}

/**
 * Publishes one context's outbox: to the bus, then to each local consumer, in order per aggregate. One relay of a
 * context works at a time (by lease). A delivery that fails is tried again later while other aggregates go on; after
 * `maxAttempts` the event is parked for that consumer, and so is the rest of its aggregate.
 */
export class Relay {
  readonly #context: string;
  readonly #ports: RuntimePorts;
  readonly #pipeline: Pipeline;
  readonly #routes: ReadonlyMap<string, readonly Route[]>;
  readonly #options: Required<RelayOptions>;
  readonly #stop = new AbortController();
  /** Keys of `blocked` known to have nothing parked; only this relay parks while it holds the lease. */
  readonly #unparked = new Set<string>();
  #lease: HeldLease | undefined;
  #leaseUntil = 0;
  #nudged = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #waiters: ((found: Found) => void)[] = [];
  #progress = 0;
  #busFailures = 0;
  #busRetryAt = 0;

  constructor(
    context: string,
    ports: RuntimePorts,
    pipeline: Pipeline,
    contexts: readonly ContextDefinition[],
    options: RelayOptions,
  ) {
    this.#context = context;
    this.#ports = ports;
    this.#pipeline = pipeline;
    this.#options = { maxAttempts: 8, backoffMs: 200, maxBackoffMs: 60_000, pollMs: 1_000, ...options };
    const routes = new Map<string, Route[]>();
    for (const each of contexts)
      for (const subscription of each.subscriptions) {
        const { type } = subscription.event;
        routes.set(type, [...(routes.get(type) ?? []), { subscription, context: each }]);
      }
    this.#routes = routes;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Waits for the delivery under way, gives the lease back and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
    for (const resolve of this.#waiters.splice(0)) resolve("nothing");
    // One that cannot be given back lapses.
    await this.#lease?.release().catch(() => undefined);
    this.#lease = undefined;
  }

  /** Something was committed: look now. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Grows with everything that is done. */
  get progress(): number {
    return this.#progress;
  }

  /** Looks at the outbox now, and says what came of it. */
  look(): Promise<Found> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve("nothing");
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.nudge();
    });
  }

  async #loop(): Promise<void> {
    let wait = 10;
    while (!this.#stop.signal.aborted) {
      this.#nudged = false;
      const waiters = this.#waiters.splice(0);
      let found: Found = "nothing";
      try {
        const pass = await this.#look();
        if (pass?.progress === true) found = "progress";
        else if (pass === undefined && waiters.length > 0) found = await this.#foundWithoutLease();
        const now = this.#ports.clock.now();
        wait = pass?.progress === true ? 0 : Math.min(this.#options.pollMs, Math.max(wait * 2, 10));
        if (pass !== undefined) wait = Math.max(0, Math.min(wait, pass.nextAt - now));
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#ports.logger.warn("The relay could not work and tries again", {
          context: this.#context,
          error: describe(error),
        });
        found = "not-ours";
        wait = this.#options.pollMs;
      } finally {
        for (const resolve of waiters) resolve(found);
      }
      if (!this.#nudged && wait > 0 && !this.#stop.signal.aborted) await this.#sleep(wait);
      if (this.#nudged) wait = 10;
    }
  }

  async #foundWithoutLease(): Promise<Found> {
    return (await this.#ports.store.outbox.size(this.#context)) > 0 ? "not-ours" : "nothing";
  }

  async #sleep(ms: number): Promise<void> {
    const awake = new AbortController();
    this.#wake = () => awake.abort();
    await this.#ports.clock.sleep(ms, awake.signal).catch(() => undefined);
    this.#wake = undefined;
  }

  async #look(): Promise<Pass | undefined> {
    if (!(await this.#holdLease())) return undefined;
    const pass: Pass = {
      lease: this.#lease,
      blocked: new Set(),
      nextAt: Number.POSITIVE_INFINITY,
      busDown: false,
      progress: false,
    };
    let after: string | undefined;
    for (;;) {
      const entries = await this.#ports.store.outbox.read(this.#context, { after, limit: PAGE });
      if (entries.length === 0) return pass;
      await this.#work(entries, pass);
      if (entries.length < PAGE || this.#stop.signal.aborted) return pass;
      after = entries.at(-1)!.position;
      if (!(await this.#stillHolds(pass))) return undefined;
    }
  }

  async #stillHolds(pass: Pass): Promise<boolean> {
    return (await this.#holdLease()) && this.#lease === pass.lease;
  }

  async #holdLease(): Promise<boolean> {
    const { clock, lease } = this.#ports;
    const now = clock.now();
    if (this.#lease !== undefined && now < this.#leaseUntil - LEASE_MS / 2) return true;
    const held = this.#lease !== undefined && (await this.#lease.renew(LEASE_MS));
    if (!held) {
      this.#unparked.clear();
      this.#lease = await lease.acquire(`relay:${this.#context}`, LEASE_MS);
    }
    this.#leaseUntil = now + LEASE_MS;
    return this.#lease !== undefined;
  }

  async #work(entries: readonly OutboxEntry[], pass: Pass): Promise<void> {
    const published = await this.#publish(entries, pass);
    const finished: string[] = [];
    try {
      for (const entry of entries) {
        if (this.#stop.signal.aborted) break;
        if (!(await this.#stillHolds(pass))) break;
        const delivered =
          entry.message.kind === "command"
            ? await this.#run(entry, entry.message.command, pass)
            : await this.#deliverAll(entry, entry.message.event, pass);
        if (delivered && (entry.message.kind === "command" || entry.published || published))
          finished.push(entry.position);
      }
    } finally {
      if (finished.length > 0) {
        await this.#ports.store.outbox.remove(this.#context, finished);
        this.#advanced(pass);
      }
    }
  }

  // Whether everything in these entries is with the bus now. When the bus is down, local consumers go on.
  async #publish(entries: readonly OutboxEntry[], pass: Pass): Promise<boolean> {
    const waiting = entries.flatMap((entry) =>
      entry.message.kind === "event" && !entry.published ? [{ entry, event: entry.message.event }] : [],
    );
    if (waiting.length === 0) return true;
    const { bus, clock, logger, store, telemetry } = this.#ports;
    if (pass.busDown || clock.now() < this.#busRetryAt) {
      pass.busDown = true;
      pass.nextAt = Math.min(pass.nextAt, this.#busRetryAt);
      return false;
    }
    try {
      const events = waiting.map(({ event }) => event);
      await telemetry.publish(this.#context, events, () => bus.publish(events.map(toCloudEvent)));
      await store.outbox.published(
        this.#context,
        waiting.map(({ entry }) => entry.position),
      );
      this.#busFailures = 0;
      return true;
    } catch (error) {
      pass.busDown = true;
      this.#busFailures += 1;
      this.#busRetryAt = clock.now() + this.#backoff(this.#busFailures);
      pass.nextAt = Math.min(pass.nextAt, this.#busRetryAt);
      logger.warn("The bus did not take the events; they wait", { context: this.#context, error: describe(error) });
      return false;
    }
  }

  // Whether every consumer is done with the event.
  async #deliverAll(entry: OutboxEntry, event: StoredEvent, pass: Pass): Promise<boolean> {
    let done = true;
    for (const route of this.#routes.get(event.type) ?? []) {
      const { consumer } = route.subscription;
      if (entry.done.includes(consumer)) continue;
      if (entry.only?.includes(consumer) === false) continue;
      done = (await this.#deliver(entry, event, route, pass)) && done;
    }
    return done;
  }

  async #deliver(entry: OutboxEntry, event: StoredEvent, route: Route, pass: Pass): Promise<boolean> {
    const { clock, store, lifecycle, logger, telemetry } = this.#ports;
    const { consumer } = route.subscription;
    const key = `${consumer} ${event.tenant} ${event.aggregateType}/${event.aggregateId}`;
    const failure = entry.failures.find((each) => each.consumer === consumer);
    if (pass.blocked.has(key)) return false;
    if (failure !== undefined && failure.nextAt > clock.now()) {
      pass.blocked.add(key);
      pass.nextAt = Math.min(pass.nextAt, failure.nextAt);
      return false;
    }
    if (!this.#unparked.has(key)) {
      if (
        await store.outbox.parked(this.#context, event.tenant, consumer, {
          type: event.aggregateType,
          id: event.aggregateId,
        })
      ) {
        await this.#park(entry, event, consumer, "an earlier event of the same aggregate is parked", 0);
        return true;
      }
      this.#remember(key);
    }
    try {
      const outcome = await this.#pipeline.deliver(route.context, route.subscription, event);
      telemetry.delivery(consumer, outcome, event, clock.now());
      lifecycle.emit("delivered", { consumer, eventId: event.id });
      this.#advanced(pass);
      return true;
    } catch (error) {
      // Another process is at it by now: what it comes to is what counts.
      if (!(await this.#stillHolds(pass))) return false;
      const attempts = (failure?.attempts ?? 0) + 1;
      const reason = describe(error);
      if (attempts >= this.#options.maxAttempts || error instanceof CorruptData) {
        this.#unparked.delete(key);
        await this.#park(entry, event, consumer, reason, attempts);
        return true;
      }
      const nextAt = clock.now() + this.#backoff(attempts);
      await store.outbox.failed(this.#context, { position: entry.position, consumer, attempts, nextAt });
      pass.blocked.add(key);
      pass.nextAt = Math.min(pass.nextAt, nextAt);
      telemetry.delivery(consumer, "failed", event, clock.now());
      lifecycle.emit("delivery-failed", { consumer, eventId: event.id, attempts });
      logger.warn("An event could not be handled and is tried again", {
        consumer,
        eventId: event.id,
        attempts,
        error: reason,
      });
      return false;
    }
  }

  async #park(
    entry: OutboxEntry,
    event: StoredEvent,
    consumer: string,
    reason: string,
    attempts: number,
  ): Promise<void> {
    const { clock, store, lifecycle, logger, telemetry } = this.#ports;
    const letter = { context: this.#context, consumer, event, reason, attempts, time: toInstant(clock.now()) };
    await store.outbox.park(this.#context, entry.position, letter);
    telemetry.delivery(consumer, "parked", event, clock.now());
    lifecycle.emit("parked", { letter });
    logger.error("An event is parked until somebody looks at it", {
      consumer,
      eventId: event.id,
      attempts,
      error: reason,
    });
  }

  // A sent command runs once: its id is the idempotency key. A refusal is an answer; anything else is tried again.
  async #run(entry: OutboxEntry, command: SentCommand, pass: Pass): Promise<boolean> {
    const { clock, store, logger } = this.#ports;
    const failure = entry.failures[0];
    if (failure !== undefined && failure.nextAt > clock.now()) {
      pass.nextAt = Math.min(pass.nextAt, failure.nextAt);
      return false;
    }
    try {
      await this.#pipeline.call(command.operation, command.input, {
        principal: {
          tenant: command.tenant,
          actor: command.actor,
          onBehalfOf: command.onBehalfOf,
          limitedTo: command.limitedTo,
          credential: command.credential,
        },
        idempotencyKey: command.id,
        traceparent: command.traceparent,
        correlationId: command.correlationId,
        causationId: command.causationId,
        from: command.context,
      });
      return true;
    } catch (error) {
      const reason = describe(error);
      if (error instanceof IdempotencyResultNotKept) return true;
      if (isRefusal(error, command)) {
        logger.warn("A sent command was refused", {
          operation: command.operation,
          commandId: command.id,
          error: reason,
        });
        return true;
      }
      const attempts = (failure?.attempts ?? 0) + 1;
      const nextAt = clock.now() + this.#backoff(attempts);
      await store.outbox.failed(this.#context, {
        position: entry.position,
        consumer: command.operation,
        attempts,
        nextAt,
      });
      pass.nextAt = Math.min(pass.nextAt, nextAt);
      logger.warn("A sent command failed and is tried again", {
        operation: command.operation,
        commandId: command.id,
        attempts,
        error: reason,
      });
      return false;
    }
  }

  #advanced(pass: Pass): void {
    pass.progress = true;
    this.#progress += 1;
  }

  #backoff(attempts: number): number {
    return Math.ceil(Math.min(this.#options.maxBackoffMs, this.#options.backoffMs * 2 ** (attempts - 1)));
  }

  // Bounded: forgetting only costs one more look.
  #remember(key: string): void {
    if (this.#unparked.size >= 10_000) this.#unparked.clear();
    this.#unparked.add(key);
  }
}

// An operation that is not known here may be known to a newer process, which will have the lease one day.
function isRefusal(error: unknown, { operation }: SentCommand): boolean {
  if (error instanceof NotFound && error.details.type === "operation" && error.details.id === operation) return false;
  return error instanceof ArmatureError && isDefinite(error) && !isPassing(error);
}

// It is stored, and a text that the store cannot hold would stop everything behind it.
function describe(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, LONGEST_REASON).replaceAll("\u0000", "").toWellFormed();
}
