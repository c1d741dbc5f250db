import { z } from "zod";
import type { ContextDefinition, Subscription } from "../../kernel/context.ts";
import { defineError } from "../../kernel/errors.ts";
import type { ClaimRequest } from "../../kernel/outbox.ts";
import type { BusSubscription, CloudEvent, EventBus, Lease } from "../../kernel/ports.ts";
import type { Commit, CommitResult, StoredEvent } from "../../kernel/store.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { wrappedPort } from "../wrapped-port.ts";
import { broken } from "./broken-rules.ts";
import { DIED, type Life, orDied, type SimulatedWorld } from "./simulated-world.ts";

type Hear = (contexts: readonly string[]) => void;

/** What a port throws when the plan says so. Whether it was done, nobody can tell from it. */
export class FaultInjected extends defineError("fault.injected", {
  kind: "unavailable",
  details: z.object({ point: z.string() }),
  message: ({ point }) => `The simulation lets ${point} fail.`,
}) {}

/** The ports as one life of a process has them: they fail as the plan says, and are of no more use to it when it is dead. */
export class FaultyPorts {
  readonly #world: SimulatedWorld;
  readonly #life: Life;

  constructor(world: SimulatedWorld, life: Life) {
    this.#world = world;
    this.#life = life;
  }

  store(): StoreAdapter {
    const { store, breaking, time } = this.#world;
    const rules = breaking === undefined ? store : broken(store, breaking, time.clock(this.#life));
    const port = wrappedPort(rules, (method, call, args) => {
      if (method === "close") return Promise.resolve();
      if (method === "commit") return this.#commit(call, args);
      if (method === "outbox.watch") return this.#watch(args[0] as Hear);
      if (method === "outbox.claim") {
        const [context, request] = args as readonly [string, ClaimRequest];
        // By the store's clock, as a server has one.
        const now = time.clock(undefined, () => this.#world.storeSkewMs).now();
        return this.#around(method, () => rules.outbox.claim(context, { ...request, now }));
      }
      return this.#around(method, call);
    });
    // The machine migrates once, before anything can go wrong.
    return new Proxy(port, { get: (target, key) => (key === "embedded" ? false : Reflect.get(target, key)) });
  }

  #watch(hear: Hear): { close(): Promise<void> } {
    const watch = this.#world.store.outbox.watch((contexts) => {
      if (!this.#life.dead) hear(contexts);
    });
    this.#life.members.add(watch);
    return watch;
  }

  #commit(call: () => unknown, args: readonly unknown[]): Promise<unknown> {
    const { ledger } = this.#world;
    const [tenant, commit] = args as readonly [string, Commit];
    return this.#around("commit", async () => {
      const result = (await call()) as CommitResult;
      if (result.status === "committed") {
        const events = commit.parts.flatMap((part) => part.events);
        if (events.length > 0)
          this.#life.note(
            `commits ${events.map(({ type, aggregateId, aggregateVersion }) => `${type} ${aggregateId}@${aggregateVersion}`).join(", ")}`,
          );
        ledger.wrote(tenant, commit);
      }
      return result;
    });
  }

  lease(): Lease {
    return wrappedPort(this.#world.lease, (method, call) =>
      this.#around(`lease.${method}`, async () => {
        const held = await call();
        return held === undefined || held === null || typeof held !== "object"
          ? held
          : wrappedPort(held, (inner, renew) => this.#around(`lease.${inner}`, renew));
      }),
    );
  }

  bus(): EventBus {
    const { ledger } = this.#world;
    return wrappedPort(this.#world.bus, (method, call, args) => {
      if (method === "close") return Promise.resolve();
      if (method === "subscribe") return this.subscribe(args[0] as BusSubscription);
      if (method !== "publish") return this.#around(`bus.${method}`, call);
      const events = args[0] as readonly CloudEvent[];
      return this.#around("bus.publish", async () => {
        this.#life.note(
          `publishes ${events.map((event) => `${event.type} ${event.subject}@${event.sequence}`).join(", ")}`,
        );
        ledger.publishedTo(events);
        return call();
      });
    });
  }

  async subscribe(subscription: BusSubscription): Promise<{ close(): Promise<void> }> {
    const { bus, ledger } = this.#world;
    const { group } = subscription;
    const member = await bus.subscribe({
      ...subscription,
      // When the process dies or its acknowledgement is lost, the bus gives the event to another member.
      handle: (event) =>
        orDied(
          this.#life,
          this.#around(`consumer ${group}`, async () => {
            this.#life.note(`${group} gets ${event.subject}@${event.sequence}`);
            ledger.delivered(group, event);
            await subscription.handle(event);
            ledger.consumedBy(group, event);
          }),
        ).then((outcome) => {
          if (outcome === DIED) throw new FaultInjected({ point: `consumer ${group}` });
        }),
    });
    this.#life.members.add(member);
    return member;
  }

  /** The context, with every delivery seen, and handlers that may fail too. */
  observed(context: ContextDefinition): ContextDefinition {
    const subscriptions = context.subscriptions.map((subscription): Subscription => {
      const { consumer, handle } = subscription;
      return {
        ...subscription,
        handle: (event, ctx) =>
          this.#around(`handler ${consumer}`, async () => {
            this.#life.note(`${consumer} gets ${event.aggregateId}@${event.aggregateVersion} (${event.id})`);
            this.#world.ledger.delivered(consumer, event as StoredEvent);
            await handle(event, ctx);
          }) as Promise<void>,
      };
    });
    return { ...context, subscriptions };
  }

  async #around(point: string, call: () => unknown): Promise<unknown> {
    const { plan, time } = this.#world;
    if (this.#life.dead) return never();
    await time.sleep(plan.latency(), this.#life);
    const fault = plan.at(point);
    if (fault !== undefined) this.#faulted(point, fault);
    if (fault === "crash-before") return this.#crashAt();
    if (fault === "error-before") throw new FaultInjected({ point });
    if (fault === "stall-before") await this.#stall();
    // A handler waits for others' calls, so time must go on meanwhile; a port's call takes none.
    const run = /^(handler|consumer) /.test(point) ? async () => call() : () => time.working(call);
    const result = await run();
    if (fault === "twice") await run();
    if (fault === "crash-after") return this.#crashAt();
    if (this.#life.dead) return never();
    await time.sleep(plan.latency(), this.#life);
    if (fault === "error-after") throw new FaultInjected({ point });
    if (fault === "stall-after") await this.#stall();
    return result;
  }

  #crashAt(): Promise<never> {
    this.#life.crash();
    return never();
  }

  async #stall(): Promise<void> {
    const { plan, time } = this.#world;
    this.#world.stalled += 1;
    await Promise.race([time.sleep(plan.stall(), this.#life), this.#life.died]).finally(() => {
      this.#world.stalled -= 1;
    });
    if (this.#life.dead) await never();
  }

  #faulted(point: string, fault: string): void {
    const { faults } = this.#world;
    faults.set(fault, (faults.get(fault) ?? 0) + 1);
    this.#life.note(`${fault} at ${point}`);
  }
}

/** What a dead process gets for an answer: none. */
const never = () => new Promise<never>(() => undefined);
