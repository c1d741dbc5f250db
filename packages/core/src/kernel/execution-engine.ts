import type { Clock } from "./clock.ts";
import type { ExecutionDefinition } from "./execution.ts";
import type { CarriedExecution, ExecutionEnd, ExecutionReads, NewExecution, Signal } from "./executions.ts";
import type { Ids } from "./ids.ts";
import type { Logger } from "./ports.ts";
import type { Json } from "./schema.ts";
import type { Scope } from "./scope.ts";

/** One attempt of an activity. */
export interface ActivityAttempt {
  readonly execution: CarriedExecution;
  /** The activity's, in the execution's definition. */
  readonly name: string;
  readonly args: Json;
  /** Which of the definition's requests it answers, counted from 0. */
  readonly position: number;
  /** 1 the first time. */
  readonly number: number;
  /** What the last heartbeat of an earlier attempt told. */
  readonly progress: Json | undefined;
  /** Aborted when the engine gives the attempt up. */
  readonly signal: AbortSignal;
  heartbeat(progress: Json | undefined): Promise<void>;
}

/** What an engine is given of a context: what it carries, and who does what the definitions ask for. */
export interface ExecutionHost {
  readonly context: string;
  /** Each version of each that an execution may still be under way of. */
  readonly definitions: readonly ExecutionDefinition[];
  readonly clock: Clock;
  readonly ids: Ids;
  readonly logger: Logger;
  /**
   * Has an activity done, under its time limits, as the execution's principal, and under an idempotency key made of
   * execution and position. Whether and when it is tried again is the engine's to decide, by the activity's policy.
   *
   * @throws what the attempt came to: an `ArmatureError` where it is known
   */
  attempt(attempt: ActivityAttempt): Promise<Json | undefined>;
  /** Has the context hear that an execution has ended. To be repeated until it resolves; twice is as once. */
  ended(execution: CarriedExecution, end: ExecutionEnd): Promise<void>;
}

/** What works on the executions of one context in this process. */
export interface ExecutionWork {
  /** There may be something to do. */
  nudge(): void;
  /** Looks now. `nothing`: there was nothing to do; `progress`: something was done; `not-ours`: it could not be looked. */
  look(): Promise<"progress" | "nothing" | "not-ours">;
  /** Grows with everything that is done. */
  readonly progress: number;
  /** Begins nothing more, lets what is under way come to an end for a while, and lets go of the rest. */
  stop(): Promise<void>;
}

/**
 * Carries durable executions: keeps their journals, repeats their definitions, and has their activities done by the
 * applications that serve them. `executionEngineSuite` of `@armature/conformance` says what every engine must do.
 *
 * What commits ask of an engine comes out of the outbox: at least once, and of one execution not always in order.
 */
export interface ExecutionEngine extends ExecutionReads {
  /** Begins one. Without effect when its context and tenant have one with this id. */
  start(context: string, execution: NewExecution): Promise<void>;
  /**
   * Keeps a signal until it is waited for. The first of its name wins; one to an execution that has ended is without
   * effect. `$cancel` asks it to end.
   *
   * @returns false when there is no such execution
   */
  signal(scope: Scope, id: string, signal: Signal): Promise<boolean>;
  /**
   * Has one that failed go on from before what made it fail; without effect otherwise.
   *
   * @param at milliseconds since 1970
   * @returns false when there is no such execution
   */
  retry(scope: Scope, id: string, at: number): Promise<boolean>;
  /** Begins to work on a context's executions in this process. Any number of processes may do so. */
  work(host: ExecutionHost): ExecutionWork;
  /** Makes what it keeps for these contexts ready, where that has to be done. */
  migrate?(contexts: readonly string[]): Promise<void>;
  /** Forgets executions that ended more than `olderThanMs` before `now`. Returns how many. Absent: it forgets by itself. */
  prune?(
    context: string,
    query: { readonly now: number; readonly olderThanMs: number; readonly limit: number },
  ): Promise<number>;
  /** @throws it cannot be reached */
  ping(): Promise<void>;
  close(): Promise<void>;
}
