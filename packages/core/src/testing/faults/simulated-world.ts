import type { EventBus, Lease } from "../../kernel/ports.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import type { Armature } from "../../runtime/armature.ts";
import type { RelayOptions } from "../../runtime/relay-settings.ts";
import type { BrokenRule } from "./broken-rules.ts";
import type { FaultLedger } from "./fault-ledger.ts";
import type { FaultPlan } from "./fault-plan.ts";
import type { FaultScenario } from "./fault-scenario.ts";
import type { FaultTrace } from "./fault-trace.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { SimulatedTime, Sleeper } from "./simulated-time.ts";

/** What all processes of one run share. */
export interface SimulatedWorld {
  readonly time: SimulatedTime;
  readonly plan: FaultPlan;
  readonly ledger: FaultLedger;
  readonly trace: FaultTrace;
  readonly random: SeededRandom;
  readonly scenario: FaultScenario;
  readonly store: StoreAdapter;
  readonly lease: Lease;
  readonly bus: EventBus;
  readonly relay: RelayOptions;
  readonly breaking: BrokenRule | undefined;
  /** How wrong the store's own clock is: leases last by it. Milliseconds. */
  storeSkewMs: number;
  /** How many calls are stuck at the moment. */
  stalled: number;
  /** How often each kind of fault has happened. */
  readonly faults: Map<string, number>;
}

/** One life of a process: it ends with a crash, after which nothing of it can change anything. */
export interface Life extends Sleeper {
  pausedUntil: number;
  dead: boolean;
  readonly died: Promise<void>;
  /** Its members of groups of the bus. */
  readonly members: Set<{ close(): Promise<void> }>;
  /** Absent until it has started. */
  app: Armature | undefined;
  /** Ends it. */
  crash(): void;
  /** Writes a line into the trace. */
  note(what: string): void;
}

/** How the call of a process ends that has died. */
export const DIED = Symbol("died");

/** The answer, or `DIED` when the process ends before it. */
export function orDied(life: Life, answer: Promise<unknown>): Promise<unknown> {
  answer.catch(() => undefined);
  return Promise.race([answer, life.died.then(() => DIED)]);
}

/** One key for all: what one process seals the next one opens. */
export const SIMULATED_KEY = Buffer.alloc(32, 7).toString("base64");
