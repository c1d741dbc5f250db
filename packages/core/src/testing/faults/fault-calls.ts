import { ArmatureError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/schema.ts";
import { isDefinite, isPassing } from "../../runtime/idempotency.ts";
import type { FaultStage } from "./fault-scenario.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import { DIED, type SimulatedWorld } from "./simulated-world.ts";

/** One call of a user: one key, however often it is tried. */
export interface FaultCall {
  /** The idempotency key, and the correlation id of everything that it sets off. */
  readonly key: string;
  readonly tenant: string;
  readonly operation: string;
  readonly input: JsonObject;
  /** `unknown`: its caller gave up, and it may have happened. */
  outcome: "under way" | "acknowledged" | "refused" | "unknown";
  output: unknown;
}

const NO_PROCESS_MS = 100;
const LONGEST_WAIT_MS = 5_000;
const GIVES_UP = 0.05;

/** The user who calls. */
export const FAULT_USER = "ann";

/** The calls of a run's users. */
export class FaultCalls {
  readonly all: FaultCall[] = [];
  readonly #world: SimulatedWorld;
  readonly #processes: readonly SimulatedProcess[];

  constructor(world: SimulatedWorld, processes: readonly SimulatedProcess[]) {
    this.#world = world;
    this.#processes = processes;
  }

  stage(random: SeededRandom, tenant: string): FaultStage {
    return {
      random,
      tenant,
      call: (operation, input) => this.#call(random, tenant, operation, input),
      acknowledged: (operation) => this.acknowledged(tenant).filter((call) => call.operation === operation),
    };
  }

  acknowledged(tenant: string): readonly FaultCall[] {
    return this.all.filter((call) => call.outcome === "acknowledged" && call.tenant === tenant);
  }

  async #call(random: SeededRandom, tenant: string, operation: string, input: JsonObject): Promise<unknown> {
    const { time, plan, trace } = this.#world;
    const key = `call-${this.all.length + 1}`;
    const call: FaultCall = { key, tenant, operation, input, outcome: "under way", output: undefined };
    this.all.push(call);
    trace.note("user", `${key} ${operation} ${JSON.stringify(input)}`);
    let uncertain = false;
    for (let attempt = 1; ; attempt += 1) {
      const running = this.#processes.filter((process) => process.running);
      if (running.length === 0) {
        await time.sleep(NO_PROCESS_MS);
        continue;
      }
      const process = random.pick(running);
      const answer = await process
        .call(operation, input, {
          principal: { tenant, user: FAULT_USER },
          idempotencyKey: key,
          correlationId: key,
        })
        .then(
          (output) => ({ output }),
          (error: unknown) => ({ error }),
        );
      if ("output" in answer && answer.output !== DIED) {
        call.outcome = "acknowledged";
        call.output = answer.output;
        trace.note("user", `${key} is acknowledged by ${process.name}`);
        return answer.output;
      }
      const error = "error" in answer ? answer.error : undefined;
      if (
        error instanceof ArmatureError &&
        isDefinite(error) &&
        !isPassing(error) &&
        error.kind !== "unknown-outcome"
      ) {
        call.outcome = uncertain ? "unknown" : "refused";
        trace.note("user", `${key} is refused: ${error.code}`);
        return undefined;
      }
      uncertain = true;
      trace.note("user", `${key} has no answer: ${error === undefined ? "the process died" : String(error)}`);
      if (!plan.healed && random.chance(GIVES_UP)) {
        call.outcome = "unknown";
        return undefined;
      }
      await time.sleep(Math.min(LONGEST_WAIT_MS, 50 * 2 ** Math.min(attempt, 10)));
    }
  }
}
