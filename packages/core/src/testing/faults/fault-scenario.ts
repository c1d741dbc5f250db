import type { ContextDefinition } from "../../kernel/context.ts";
import type { CloudEvent } from "../../kernel/ports.ts";
import type { JsonObject } from "../../kernel/schema.ts";
import type { StoredEvent } from "../../kernel/store.ts";
import type { Clients } from "../../runtime/armature.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** A call that was answered. */
export interface AcknowledgedCall {
  readonly tenant: string;
  /** `orders.place` */
  readonly operation: string;
  readonly input: JsonObject;
  readonly output: unknown;
}

/** What a step can do. */
export interface FaultStage {
  /** Choices of this step, the same for the same seed. */
  readonly random: SeededRandom;
  /** The tenant of this step: one of two, chosen by seed. */
  readonly tenant: string;
  /**
   * Calls an operation as a user of the tenant, in one of the processes, with an idempotency key. While it is unknown
   * what came of it, it is called again with the same key, in whichever process runs then.
   *
   * @returns the answer; undefined when it was refused, or its caller gave up without knowing
   */
  call(operation: string, input: JsonObject): Promise<unknown>;
  /** Calls of the operation that were acknowledged to this tenant so far, oldest first. */
  acknowledged(operation: string): readonly AcknowledgedCall[];
}

/** One thing that users do. */
export interface FaultStep {
  readonly name: string;
  /** How often it is chosen, beside the others. 1 when absent. */
  readonly weight?: number;
  run(stage: FaultStage): Promise<void>;
}

/** What reads events from the bus in every process. Its members share the work, as the members of a group do. */
export interface FaultConsumer {
  readonly group: string;
  /** `/contexts/orders` */
  readonly sources: readonly string[];
  /** `call` calls an operation of the process that got the event, as the system, with the event's id as key. */
  handle(event: CloudEvent, call: (operation: string, input: JsonObject) => Promise<unknown>): Promise<void>;
}

/** What a scenario may look at once nothing goes wrong any more and everything has settled. */
export interface Settled<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> {
  /** The tenants of this run. */
  readonly tenants: readonly string[];
  /** Clients of one of the processes, for a user of the tenant. */
  as(tenant: string): Clients<X>;
  /** All events of the tenant, each aggregate's in the order of its versions. */
  events(tenant: string): readonly StoredEvent[];
  /** The calls that were acknowledged to the tenant. */
  acknowledged(tenant: string): readonly AcknowledgedCall[];
}

/** Contexts, what users do with them, and what must hold whatever goes wrong. */
export interface FaultScenario<X extends readonly ContextDefinition[] = readonly ContextDefinition[]> {
  readonly name: string;
  /** The host's contexts for one process. Made anew for each process and each start: what they remember dies with it. */
  contexts(world: FaultWorld): X;
  readonly steps: readonly FaultStep[];
  readonly consumers?: readonly FaultConsumer[];
  /** What must hold at the end, beside what always must. Each is a sentence, and throws when it does not hold. */
  readonly invariants?: Readonly<Record<string, (settled: Settled<X>) => void | Promise<void>>>;
}

/** What handlers of a scenario may know of the world around them. */
export interface FaultWorld {
  /** Choices of this start of this process, the same for the same seed. */
  readonly random: SeededRandom;
  /** Whether things may still go wrong. A handler that fails by chance must not when this is false. */
  readonly faulty: () => boolean;
}

/** Declares a scenario, so that its invariants know the types of its contexts' clients. */
export function defineFaultScenario<const X extends readonly ContextDefinition[]>(
  scenario: FaultScenario<X>,
): FaultScenario<X> {
  if (scenario.steps.length === 0) throw new TypeError(`The scenario "${scenario.name}" has no steps.`);
  return Object.freeze(scenario);
}
