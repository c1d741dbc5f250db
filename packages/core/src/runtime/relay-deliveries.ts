import { toInstant } from "../kernel/clock.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import { ArmatureError, CorruptData, IdempotencyResultNotKept, NotFound } from "../kernel/errors.ts";
import type { Message } from "../kernel/outbox.ts";
import type { SentCommand } from "../kernel/sent-command.ts";
import type { StoredEvent } from "../kernel/store.ts";
import { errorText } from "./error-text.ts";
import { deliverRequest, isExecutionRequest } from "./executions/execution-requests.ts";
import { isDefinite, isPassing } from "./idempotency.ts";
import type { Pipeline } from "./pipeline.ts";
import type { RelayClaims } from "./relay-claims.ts";
import { type Route, routesOf } from "./relay-routes.ts";
import type { RelaySettings } from "./relay-settings.ts";
import { RelayWaiting } from "./relay-waiting.ts";
import type { Chain, Item } from "./relay-window.ts";
import type { RuntimePorts } from "./runtime-ports.ts";
import type { Slots } from "./slots.ts";

/** How many of a process's deliveries go on at the same time: handlers use the store, sent commands mostly wait. */
export interface DeliverySlots {
  readonly events: Slots;
  readonly commands: Slots;
}

const BEHIND = "an earlier event of the same aggregate is parked";

/** Gives entries of one context's outbox to their consumers, and remembers which sequences wait for a retry. */
export class RelayDeliveries {
  readonly #context: string;
  readonly #ports: RuntimePorts;
  readonly #pipeline: Pipeline;
  readonly #routes: ReadonlyMap<string, readonly Route[]>;
  readonly #settings: RelaySettings;
  readonly #slots: DeliverySlots;
  readonly #claims: RelayClaims;
  /** Types of the events that anybody here consumes. */
  readonly consumed: readonly string[];
  /** What failed and is to be tried again. */
  readonly waiting = new RelayWaiting();
  /** Consumers that something was parked for since the last read began, by sequence: that read need not have seen it. */
  readonly #parked = new Map<string, Set<string>>();
  #progress = 0;

  constructor(
    context: string,
    ports: RuntimePorts,
    pipeline: Pipeline,
    contexts: readonly ContextDefinition[],
    settings: RelaySettings,
    slots: DeliverySlots,
    claims: RelayClaims,
  ) {
    this.#claims = claims;
    this.#context = context;
    this.#ports = ports;
    this.#pipeline = pipeline;
    this.#settings = settings;
    this.#slots = slots;
    this.#routes = routesOf(contexts);
    this.consumed = [...this.#routes.keys()];
  }

  /** Grows with everything that is done. */
  get progress(): number {
    return this.#progress;
  }

  /** Whether it is one that failed and is to be tried again. */
  retries(item: Item): boolean {
    return this.waiting.size > 0 && this.#consumers(item).some((consumer) => this.waiting.has(item, consumer));
  }

  /** Whether nobody here can do anything with the entry yet. */
  mustWait(item: Item): boolean {
    const now = this.#ports.clock.now();
    return this.#consumers(item).every((consumer) => !this.waiting.isTurn(item, consumer, now));
  }

  /** It could not be tried: what stands behind it waits until it can. */
  putOff(item: Item, wait: number): void {
    const nextAt = this.#ports.clock.now() + wait;
    for (const consumer of this.#consumers(item)) this.waiting.add(item, consumer, nextAt);
  }

  /** A read begins: it sees what was parked before. */
  readBegins(): void {
    this.#parked.clear();
  }

  /** Consumers that something of the sequence was parked for since. */
  parkedSince(key: string): Iterable<string> {
    return this.#parked.get(key) ?? [];
  }

  /** Whether anybody here still has something to do with the entry. */
  concerns(item: Item): boolean {
    if (this.waiting.size > 0) this.#forgetDone(item);
    return this.#consumers(item).length > 0;
  }

  /** Whether all that is to be done for the chain's entry here is done. `mayBegin` is asked when a place is free. */
  async deliver(item: Item, chain: Chain, mayBegin: () => boolean): Promise<boolean> {
    const { message } = item.entry;
    if (message.kind === "command") return this.#run(item, message.command, chain, mayBegin);
    let done = true;
    for (const route of this.#pending(item.entry, message.event))
      done = (await this.#handle(item, message.event, route, chain, mayBegin)) && done;
    return done;
  }

  // What failed as far as we know, and was done all the same.
  #forgetDone(item: Item): void {
    for (const consumer of item.entry.done) if (this.waiting.has(item, consumer)) this.waiting.remove(item, consumer);
  }

  #consumers({ entry }: Item): readonly string[] {
    const { message } = entry;
    return message.kind === "command"
      ? [message.command.operation]
      : this.#pending(entry, message.event).map(({ subscription }) => subscription.consumer);
  }

  #pending({ done, only }: Item["entry"], event: StoredEvent): readonly Route[] {
    const routes = this.#routes.get(event.type);
    if (routes === undefined) return [];
    return routes.filter(
      ({ subscription: { consumer } }) => !done.includes(consumer) && only?.includes(consumer) !== false,
    );
  }

  async #handle(
    item: Item,
    event: StoredEvent,
    { subscription, context }: Route,
    chain: Chain,
    mayBegin: () => boolean,
  ): Promise<boolean> {
    const { clock, lifecycle, telemetry } = this.#ports;
    const { consumer } = subscription;
    if (!this.#begins(item, chain, consumer)) return false;
    if (chain.parked.has(consumer) || item.entry.parked.includes(consumer))
      return this.#park(item, chain, consumer, BEHIND, 0);
    try {
      const outcome = await this.#slots.events.run(async () =>
        mayBegin() ? this.#pipeline.deliver(context, subscription, event) : undefined,
      );
      if (outcome === undefined) return this.#holdUp(item, chain, consumer, clock.now());
      telemetry.delivery(consumer, outcome, event, clock.now());
      lifecycle.emit("delivered", { consumer, eventId: event.id });
      this.#progress += 1;
      return true;
    } catch (error) {
      const attempts = this.#attempts(item, consumer) + 1;
      const final = attempts >= this.#settings.maxAttempts || error instanceof CorruptData;
      return final
        ? this.#park(item, chain, consumer, errorText(error), attempts)
        : this.#retry(item, chain, consumer, attempts, error);
    }
  }

  // A sent command runs once: its id is the idempotency key. A refusal is an answer; anything else is tried again.
  async #run(item: Item, command: SentCommand, chain: Chain, mayBegin: () => boolean): Promise<boolean> {
    const { operation } = command;
    if (!this.#begins(item, chain, operation)) return false;
    if (chain.parked.has(operation)) return true;
    try {
      const begun = await this.#slots.commands.run(async () => {
        if (!mayBegin()) return false;
        const { engine, clock } = this.#ports;
        if (engine !== undefined && isExecutionRequest(command)) {
          await deliverRequest(engine, command, clock.now());
          return true;
        }
        await this.#pipeline.call(operation, command.input, {
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
      });
      if (!begun) return this.#holdUp(item, chain, operation, this.#ports.clock.now());
    } catch (error) {
      if (isRefusal(error, command))
        this.#ports.logger.warn("A sent command was refused", {
          operation,
          commandId: command.id,
          error: errorText(error),
        });
      else if (!(error instanceof IdempotencyResultNotKept)) {
        const attempts = this.#attempts(item, operation) + 1;
        return attempts >= this.#settings.maxCommandAttempts
          ? this.#park(item, chain, operation, errorText(error), attempts)
          : this.#retry(item, chain, operation, attempts, error);
      }
    }
    this.#progress += 1;
    return true;
  }

  // Whether the chain may try it now: from here on it does not wait any more.
  #begins(item: Item, chain: Chain, consumer: string): boolean {
    if (chain.blocked.has(consumer)) return false;
    if (this.waiting.isTurn(item, consumer, this.#ports.clock.now())) {
      this.waiting.remove(item, consumer);
      return true;
    }
    chain.blocked.add(consumer);
    return false;
  }

  #holdUp(item: Item, chain: Chain, consumer: string, nextAt: number): false {
    chain.blocked.add(consumer);
    this.waiting.add(item, consumer, nextAt);
    return false;
  }

  #attempts({ entry }: Item, consumer: string): number {
    return entry.failures.find((each) => each.consumer === consumer)?.attempts ?? 0;
  }

  async #retry(item: Item, chain: Chain, consumer: string, attempts: number, error: unknown): Promise<false> {
    const { clock, store, lifecycle, logger, telemetry } = this.#ports;
    const { message } = item.entry;
    const { position } = item;
    const nextAt = clock.now() + this.#settings.backoff(attempts);
    this.#holdUp(item, chain, consumer, nextAt);
    // Another process is at it by now: what it comes to is what counts.
    if (!(await store.outbox.failed(this.#context, item.claim, { position, consumer, attempts, nextAt }))) {
      this.#claims.lost([item.partition]);
      return false;
    }
    if (message.kind === "event") {
      const eventId = message.event.id;
      telemetry.delivery(consumer, "failed", message.event, clock.now());
      lifecycle.emit("delivery-failed", { consumer, eventId, attempts });
      logger.warn("An event could not be handled and is tried again", {
        consumer,
        eventId,
        attempts,
        error: errorText(error),
      });
    } else
      logger.warn("A sent command failed and is tried again", {
        operation: consumer,
        commandId: message.command.id,
        attempts,
        error: errorText(error),
      });
    return false;
  }

  async #park(item: Item, chain: Chain, consumer: string, reason: string, attempts: number): Promise<boolean> {
    const { clock, store, lifecycle, logger, telemetry } = this.#ports;
    const { message } = item.entry;
    const letter = { context: this.#context, consumer, message, reason, attempts, time: toInstant(clock.now()) };
    this.#holdUp(item, chain, consumer, clock.now());
    const result = await store.outbox.park(this.#context, item.claim, item.position, letter);
    if (result !== "parked") {
      // What it would have stood behind is being replayed: the next pass has all of it, in order.
      if (result === "nothing-ahead") this.#progress += 1;
      else this.#claims.lost([item.partition]);
      return false;
    }
    this.waiting.remove(item, consumer);
    chain.blocked.delete(consumer);
    chain.parked.add(consumer);
    this.#parked.set(chain.key, new Set([...(this.#parked.get(chain.key) ?? []), consumer]));
    this.#progress += 1;
    lifecycle.emit("parked", { letter });
    if (message.kind === "event") telemetry.delivery(consumer, "parked", message.event, clock.now());
    logger.error(
      message.kind === "event"
        ? "An event is parked until somebody looks at it"
        : "A sent command is parked until somebody looks at it",
      { consumer, ...idOf(message), attempts, error: reason },
    );
    return true;
  }
}

function idOf(message: Message): { readonly eventId: string } | { readonly commandId: string } {
  return message.kind === "event" ? { eventId: message.event.id } : { commandId: message.command.id };
}

// An operation that is not known here may be known to a newer process, which will have the partition one day.
function isRefusal(error: unknown, command: SentCommand): boolean {
  if (isExecutionRequest(command)) return false;
  if (error instanceof NotFound && error.details.type === "operation" && error.details.id === command.operation)
    return false;
  return error instanceof ArmatureError && isDefinite(error) && !isPassing(error);
}
