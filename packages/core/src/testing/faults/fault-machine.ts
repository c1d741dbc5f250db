import type { ContextDefinition } from "../../kernel/context.ts";
import { type DeadLetter, headOf, sequenceOf } from "../../kernel/outbox.ts";
import type { StoredContext, StoredEvent } from "../../kernel/store.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { wrappedPort } from "../wrapped-port.ts";
import { FAULT_USER, FaultCalls } from "./fault-calls.ts";
import { checkInvariants } from "./fault-invariants.ts";
import type { FaultScenario, Settled } from "./fault-scenario.ts";
import { projectionBehind } from "./projections-behind.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { SimulatedProcess } from "./simulated-process.ts";
import { SIMULATED_KEY, type SimulatedWorld } from "./simulated-world.ts";

const TENANTS = 2;
const LONGEST_GAP_MS = 2_000;
const UPSET_MS = 500;
const LOOK_MS = 250;
const LONGEST_SETTLING_MS = 20 * 60_000;
const MOST_REPLAYS = 5;

/** One run: the processes, what users do in them, what goes wrong, and what is left of it. */
export class FaultMachine {
  readonly #world: SimulatedWorld;
  readonly #processes: readonly SimulatedProcess[];
  readonly #calls: FaultCalls;
  readonly #tenants: readonly string[];
  readonly #steps: number;
  #names: readonly string[] = [];
  #contexts: readonly ContextDefinition[] = [];
  readonly #log = new Map<string, readonly StoredEvent[]>();
  #crashes = 0;
  #underWay = 0;
  #replayed: readonly DeadLetter[] = [];

  constructor(
    world: SimulatedWorld,
    options: { readonly seed: number; readonly processes: number; readonly steps: number },
  ) {
    this.#world = world;
    this.#steps = options.steps;
    this.#processes = Array.from({ length: options.processes }, (_, at) => new SimulatedProcess(`p${at + 1}`, world));
    this.#calls = new FaultCalls(world, this.#processes);
    this.#tenants = Array.from({ length: TENANTS }, (_, at) => `${world.scenario.name}-${options.seed}-${at + 1}`);
  }

  async run(): Promise<void> {
    const { plan, scenario, time, trace, random } = this.#world;
    this.#contexts = scenario.contexts({ random: random.fork("none"), faulty: () => false });
    this.#names = await time.working(() => prepared(this.#world.store, scenario, this.#contexts));
    for (const process of this.#processes) void this.#keepRunning(process);
    void this.#upset();
    await this.#useIt(random.fork("steps"));
    plan.heal();
    trace.note("", "HEALED: nothing goes wrong from here on");
    await this.#settle();
    await this.#replayDeadLetters();
    for (const tenant of this.#tenants) this.#log.set(tenant, await time.working(() => this.#eventsOf(tenant)));
    const { ledger } = this.#world;
    const evidence = { contexts: this.#contexts, consumers: scenario.consumers ?? [], calls: this.#calls.all, ledger };
    checkInvariants({ ...evidence, log: this.#log }, trace);
    await this.#checkScenario();
    await Promise.all(this.#processes.map((process) => process.app.close()));
  }

  figures() {
    const count = (outcome: string) => this.#calls.all.filter((call) => call.outcome === outcome).length;
    const { ledger, faults } = this.#world;
    return {
      acknowledged: count("acknowledged"),
      refused: count("refused"),
      unknown: count("unknown"),
      events: [...this.#log.values()].flat().length,
      deliveries: ledger.deliveries.all,
      repeated: ledger.deliveries.repeated,
      published: [...ledger.published.values()].reduce((sum, { times }) => sum + times, 0),
      crashes: this.#crashes,
      faults: Object.fromEntries(faults),
    };
  }

  async #keepRunning(process: SimulatedProcess): Promise<void> {
    const { plan, time } = this.#world;
    for (;;) {
      await process.start();
      await process.died;
      this.#crashes += 1;
      await time.sleep(plan.healed ? 0 : plan.restart());
    }
  }

  async #upset(): Promise<void> {
    const { plan, time, trace } = this.#world;
    while (!plan.healed) {
      await time.sleep(UPSET_MS);
      const upset = plan.upset();
      if (upset === "store-clock-jump") {
        const ms = plan.jump();
        this.#world.storeSkewMs += ms;
        trace.note("store", `its clock jumps by ${ms} ms`);
        continue;
      }
      const process = plan.pick(this.#processes);
      if (upset === "pause") process.pause(plan.stall());
      if (upset === "crash") process.crash();
      if (upset === "clock-jump") process.jump(plan.jump());
    }
  }

  async #useIt(random: SeededRandom): Promise<void> {
    const { scenario, time } = this.#world;
    const bag = scenario.steps.flatMap((step) => Array.from({ length: step.weight ?? 1 }, () => step));
    for (let at = 1; at <= this.#steps; at += 1) {
      await time.sleep(random.int(0, LONGEST_GAP_MS));
      const own = random.fork(String(at));
      const step = random.pick(bag);
      this.#underWay += 1;
      // Nobody waits: steps overlap, and the last ones end when nothing goes wrong any more.
      void step
        .run(this.#calls.stage(own, random.pick(this.#tenants)))
        .catch((error: unknown) => this.#world.trace.violation(`the step "${step.name}" can be taken`, String(error)))
        .finally(() => {
          this.#underWay -= 1;
        });
    }
    await time.sleep(LONGEST_GAP_MS);
  }

  async #settle(): Promise<void> {
    const { time, trace } = this.#world;
    const end = time.now + LONGEST_SETTLING_MS;
    for (let quiet = 0; quiet < 2; ) {
      if (time.now > end)
        return trace.violation("everything settles", `after twenty minutes ${await this.#unsettled()}`);
      await time.sleep(LOOK_MS);
      quiet = (await this.#unsettled()) === undefined ? quiet + 1 : 0;
    }
  }

  // What is still under way, in words.
  async #unsettled(): Promise<string | undefined> {
    const { ledger, scenario, stalled, store, time } = this.#world;
    const waiting = this.#calls.all.filter(({ outcome }) => outcome === "under way");
    if (waiting.length > 0) return `${waiting.map(({ key }) => key).join(", ")} had no answer`;
    if (this.#underWay > 0) return "steps were under way";
    if (stalled > 0) return "calls were stuck";
    if (this.#processes.some((process) => !process.running || process.pausedUntil > time.now))
      return "a process did not run";
    for (const name of this.#names) {
      const size = await time.working(() => store.outbox.size(name));
      if (size > 0) return `${size} messages waited in the outbox of "${name}"`;
    }
    for (const tenant of this.#tenants) {
      const query = { contexts: this.#names, limit: 1 };
      const [timer] = (await time.working(() => store.scheduled(tenant, query))).items;
      if (timer !== undefined && timer.recurrence === undefined)
        return `${timer.command.operation} waited for its time`;
    }
    const letters = this.#replayed.filter((letter) => !ledger.handled.has(keyOf(letter)));
    if (letters.length > 0) {
      // A replay takes effect with the relay's next look; until then the store shows neither letter nor message.
      const parked = new Set((await time.working(() => this.#deadLetters())).map(keyOf));
      if (letters.some((letter) => !parked.has(keyOf(letter)))) return "what was replayed was not handled";
    }
    const projection = await time.working(() => projectionBehind(store, this.#contexts));
    if (projection !== undefined) return projection;
    const behind = (scenario.consumers ?? []).find((consumer) => ledger.awaits(consumer));
    return behind === undefined ? undefined : `${behind.group} had not handled everything that was published`;
  }

  // Whoever looks after the application does so: nothing may stay parked for good.
  async #replayDeadLetters(): Promise<void> {
    const { store, time, trace } = this.#world;
    for (let round = 1; ; round += 1) {
      const letters = await time.working(() => this.#deadLetters());
      if (letters.length === 0) return;
      if (round > MOST_REPLAYS) {
        const left = letters.map(
          ({ consumer, message, reason }) => `${headOf(message).id} for ${consumer} (${reason})`,
        );
        return trace.violation("what was parked can be delivered again", `still parked: ${left.join(", ")}`);
      }
      this.#replayed = letters;
      const sequences = new Map(
        letters.map((letter) => [
          `${headOf(letter.message).tenant} ${letter.consumer} ${JSON.stringify(sequenceOf(letter.message))}`,
          letter,
        ]),
      );
      for (const { context, consumer, message } of sequences.values()) {
        const sequence = sequenceOf(message);
        trace.note("store", `replays ${sequence.type}/${sequence.id} for ${consumer}`);
        const letters = [{ step: "retry", consumer, sequence }] as const;
        const part = { context, aggregates: [], events: [], messages: [], audit: [], letters };
        await time.working(() => store.commit(headOf(message).tenant, { parts: [part] }));
      }
      await this.#settle();
    }
  }

  async #deadLetters(): Promise<readonly DeadLetter[]> {
    const { store } = this.#world;
    const letters: DeadLetter[] = [];
    for (const tenant of this.#tenants)
      for (const context of this.#names)
        letters.push(...(await everything((after) => store.deadLetters({ tenant, context }, { limit: 200, after }))));
    return letters;
  }

  #eventsOf(tenant: string): Promise<readonly StoredEvent[]> {
    const { store } = this.#world;
    return everything((after) =>
      store.events(tenant, { contexts: this.#names, direction: "asc", limit: 200, after }),
    ).then((events) => [...events].sort((a, b) => a.aggregateVersion - b.aggregateVersion));
  }

  async #checkScenario(): Promise<void> {
    const { scenario, trace } = this.#world;
    const { app } = this.#processes[0]!;
    const settled: Settled = {
      tenants: this.#tenants,
      as: (tenant) => app.as({ tenant, user: FAULT_USER }),
      events: (tenant) => this.#log.get(tenant) ?? [],
      acknowledged: (tenant) => this.#calls.acknowledged(tenant),
    };
    for (const [rule, holds] of Object.entries(scenario.invariants ?? {}))
      try {
        await holds(settled);
      } catch (error) {
        trace.violation(rule, error instanceof Error ? error.message : String(error));
      }
  }
}

const keyOf = ({ consumer, message }: DeadLetter) => `${consumer} ${headOf(message).id}`;

// One that serves many runs is prepared once: that takes longer than a run.
const known = new WeakMap<StoreAdapter, Map<FaultScenario, readonly string[]>>();

async function prepared(
  store: StoreAdapter,
  scenario: FaultScenario,
  contexts: readonly ContextDefinition[],
): Promise<readonly string[]> {
  const scenarios = known.get(store) ?? new Map<FaultScenario, readonly string[]>();
  known.set(store, scenarios);
  const names = scenarios.get(scenario) ?? (await migrated(store, contexts));
  scenarios.set(scenario, names);
  return names;
}

/** Prepares the store for all contexts, and says what these are called. */
async function migrated(store: StoreAdapter, contexts: readonly ContextDefinition[]): Promise<readonly string[]> {
  let names: readonly string[] = [];
  const port = wrappedPort(store, (method, call, args) => {
    if (method === "close") return Promise.resolve();
    if (method === "migrate") names = (args[0] as readonly StoredContext[]).map(({ name }) => name);
    return call();
  });
  const embedded = new Proxy(port, { get: (target, key) => (key === "embedded" ? false : Reflect.get(target, key)) });
  const app = await createArmature({
    store: embedded,
    contexts,
    keyEncryptionKey: SIMULATED_KEY,
    authorizer: () => true,
    relay: false,
    projections: false,
  });
  await app.migrate();
  await app.close();
  return names;
}

async function everything<T>(
  read: (after: string | undefined) => Promise<{ readonly items: readonly T[]; readonly next?: string | undefined }>,
): Promise<readonly T[]> {
  const all: T[] = [];
  let after: string | undefined;
  do {
    const page = await read(after);
    all.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return all;
}
