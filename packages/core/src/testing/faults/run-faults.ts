import { InProcessBus } from "../../in-memory/in-memory-bus.ts";
import { InMemoryLease } from "../../in-memory/in-memory-lease.ts";
import type { ContextDefinition } from "../../kernel/context.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import type { RelayOptions } from "../../runtime/relay-settings.ts";
import type { BrokenRule } from "./broken-rules.ts";
import { FaultLedger } from "./fault-ledger.ts";
import { FaultMachine } from "./fault-machine.ts";
import { FaultPlan } from "./fault-plan.ts";
import type { FaultScenario } from "./fault-scenario.ts";
import { FaultTrace, type FaultViolation } from "./fault-trace.ts";
import { SeededRandom } from "./seeded-random.ts";
import { SimulatedTime } from "./simulated-time.ts";
import type { SimulatedWorld } from "./simulated-world.ts";

export interface FaultOptions<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> {
  /** Decides everything: what users do, what goes wrong and when. */
  readonly seed: number;
  readonly scenario: FaultScenario<X>;
  /** Makes or gives the store, which outlives the processes: `() => inMemory()`. Two runs of one seed need two. */
  readonly store: () => StoreAdapter;
  /** How many processes share the store. 2 when absent. */
  readonly processes?: number;
  /** How many steps users take. 20 when absent. */
  readonly steps?: number;
  /** Breaks a rule on purpose, to see that it is found. */
  readonly breakRule?: BrokenRule;
  readonly relay?: RelayOptions;
}

/** What happened in numbers. */
export interface FaultFigures {
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly events: number;
  /** Handlers that began, and how many of them for an event that the consumer had seen before. */
  readonly deliveries: number;
  readonly repeated: number;
  /** Publications that the bus took, repetitions too. */
  readonly published: number;
  readonly crashes: number;
  /** How often each kind of fault happened. */
  readonly faults: Readonly<Record<string, number>>;
  /** How much time passed in the simulation. */
  readonly simulatedMs: number;
}

export interface FaultRun {
  /** What happened, a line each, oldest first: seconds, who, what. */
  readonly trace: readonly string[];
  readonly violations: readonly FaultViolation[];
  readonly figures: FaultFigures;
}

const START = Date.parse("2026-01-01T00:00:00.000Z");
const RELAY: RelayOptions = { maxAttempts: 5, backoffMs: 100, maxBackoffMs: 5_000, pollMs: 1_000 };
const LONGEST_RUN_MS = 12 * 3_600_000;

/**
 * Runs a scenario in a simulated world in which things go wrong by seed, then lets nothing go wrong any more, waits
 * until everything has settled, and checks what must always hold. The same seed does the same on an in-memory store.
 */
export async function runFaults<const X extends readonly ContextDefinition[]>(
  options: FaultOptions<X>,
): Promise<FaultRun> {
  const { seed } = options;
  const scenario = options.scenario as unknown as FaultScenario;
  const random = new SeededRandom(`${scenario.name}/${seed}`);
  const time = new SimulatedTime(START);
  const trace = new FaultTrace(() => time.now);
  const world: SimulatedWorld = {
    time,
    trace,
    random,
    scenario,
    plan: new FaultPlan(random.fork("faults")),
    ledger: new FaultLedger(trace),
    store: options.store(),
    lease: new InMemoryLease(time.clock(undefined, () => world.storeSkewMs)),
    bus: new InProcessBus(time.clock()),
    relay: options.relay ?? RELAY,
    breaking: options.breakRule,
    storeSkewMs: 0,
    stalled: 0,
    faults: new Map(),
  };
  const machine = new FaultMachine(world, { seed, processes: options.processes ?? 2, steps: options.steps ?? 20 });
  let outcome: { readonly error?: unknown } | undefined;
  machine.run().then(
    () => {
      outcome = {};
    },
    (error: unknown) => {
      outcome = { error };
    },
  );
  if (!(await time.passUntil(() => outcome !== undefined, LONGEST_RUN_MS)))
    trace.violation("everything settles", "after half a day things were still under way");
  if (outcome?.error !== undefined) throw outcome.error;
  return {
    trace: trace.lines,
    violations: trace.violations,
    figures: { ...machine.figures(), simulatedMs: time.now - START },
  };
}
