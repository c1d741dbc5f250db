import type { CloudEvent, LogFields, Logger } from "../../kernel/ports.ts";
import type { Armature } from "../../runtime/armature.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { FaultyPorts } from "./faulty-ports.ts";
import { seededIds } from "./seeded-random.ts";
import { type Life, orDied, SIMULATED_KEY, type SimulatedWorld } from "./simulated-world.ts";

/** A process of the simulation: an application over the shared store and bus, whose ports fail as the plan says. */
export class SimulatedProcess {
  readonly name: string;
  readonly #world: SimulatedWorld;
  #life: Life | undefined;
  #lives = 0;
  #skew = 0;

  constructor(name: string, world: SimulatedWorld) {
    this.name = name;
    this.#world = world;
  }

  get running(): boolean {
    return this.#life?.app !== undefined && !this.#life.dead;
  }

  get pausedUntil(): number {
    return this.#life?.pausedUntil ?? 0;
  }

  /** The application; only while it runs. */
  get app(): Armature {
    return this.#life!.app!;
  }

  async start(): Promise<void> {
    const { time, scenario, random, relay, plan } = this.#world;
    this.#lives += 1;
    const life = this.#begin();
    const ports = new FaultyPorts(this.#world, life);
    const own = random.fork(`${this.name}.${this.#lives}`);
    const clock = time.clock(life, () => this.#skew);
    const faulty = () => !plan.healed;
    const contexts = scenario.contexts({ random: own.fork("world"), faulty });
    const app = await time.working(() =>
      createArmature({
        store: ports.store(),
        lease: ports.lease(),
        bus: ports.bus(),
        clock,
        ids: seededIds(own.fork("ids"), clock),
        contexts: contexts.map((context) => ports.observed(context)),
        authorizer: () => true,
        keyEncryptionKey: SIMULATED_KEY,
        logger: this.#logger(),
        relay,
      }),
    );
    if (life.dead) return;
    life.app = app as unknown as Armature;
    for (const { group, sources, handle } of scenario.consumers ?? [])
      await ports.subscribe({
        group,
        sources,
        handle: (event) => handle(event, (...call) => this.#react(life, group, event, call)),
      });
    this.#note("started");
  }

  /** Resolves when the process that runs now has crashed. */
  get died(): Promise<void> {
    return this.#life!.died;
  }

  /** Ends without having done anything more: what is under way is abandoned where it stands. */
  crash(): void {
    this.#life?.crash();
  }

  /** Stands still, and then goes on as if nothing had been. */
  pause(ms: number): void {
    if (!this.running) return;
    this.#note(`stands still for ${ms} ms`);
    this.#life!.pausedUntil = this.#world.time.now + ms;
  }

  /** Its clock jumps by that much, and stays so. */
  jump(ms: number): void {
    this.#note(`its clock jumps by ${ms} ms`);
    this.#skew += ms;
  }

  /** Resolves with the answer of the call, or with "died" when the process does. */
  call(...[operation, input, options]: Parameters<Armature["call"]>): Promise<unknown> {
    return orDied(this.#life!, this.app.call(operation, input, options));
  }

  #begin(): Life {
    const { promise: died, resolve } = Promise.withResolvers<void>();
    const life: Life = {
      pausedUntil: 0,
      dead: false,
      died,
      members: new Set(),
      app: undefined,
      crash: () => {
        if (life.dead) return;
        life.note("CRASHED");
        life.dead = true;
        resolve();
        this.#world.time.forget(life);
        for (const member of life.members) void member.close();
      },
      note: (what) => this.#note(what),
    };
    this.#life = life;
    return life;
  }

  // One effect for each event, however often it comes: the event's id is the key.
  #react(
    life: Life,
    group: string,
    event: CloudEvent,
    [operation, input]: readonly [string, Parameters<Armature["call"]>[1]],
  ): Promise<unknown> {
    return life.app!.call(operation, input, {
      principal: { tenant: event.tenant, system: group },
      idempotencyKey: event.id,
      correlationId: event.correlationid,
    });
  }

  #logger(): Logger {
    const at =
      (level: string) =>
      (message: string, fields: LogFields = {}) => {
        const { commandId, error } = fields;
        if (typeof commandId === "string" && message === SENT_REFUSED) this.#world.ledger.refused.add(commandId);
        this.#note(`${level}: ${message} ${String(error ?? "").split("\n")[0]}`.trimEnd());
      };
    return { debug() {}, info() {}, warn: at("warn"), error: at("error") };
  }

  #note(what: string): void {
    this.#world.trace.note(`${this.name}.${this.#lives}`, what);
  }
}

/** What the relay logs of a sent command whose refusal is its answer. */
const SENT_REFUSED = "A sent command was refused";
