import { z } from "zod";
import type { Instant } from "./clock.ts";
import type { Client, Contract } from "./contract.ts";
import { defineError } from "./errors.ts";
import type { Logger } from "./ports.ts";
import type { Principal } from "./principal.ts";
import type { Json, Schema } from "./schema.ts";

/** How often an activity is tried, and how long is waited in between. */
export interface RetryPolicy {
  /** Attempts in all, the first one too. Default 5. */
  readonly attempts?: number | undefined;
  /** Wait after the first attempt, in milliseconds. Default 1,000. */
  readonly firstWaitMs?: number | undefined;
  /** What the wait grows by with each attempt. Default 2. */
  readonly factor?: number | undefined;
  /** Default 60,000. */
  readonly longestWaitMs?: number | undefined;
  /**
   * Codes of errors that another attempt would meet too. Errors of the kinds invalid, unauthenticated, forbidden,
   * not-found, conflict, precondition and unknown-outcome are never met with another attempt.
   */
  readonly neverOn?: readonly string[] | undefined;
}

/** What an activity gets beside its arguments. */
export interface ActivityContext {
  readonly principal: Principal;
  readonly tenant: string;
  readonly executionId: string;
  /** The same whenever this activity is repeated, and no other's: hand it to the outside system. */
  readonly idempotencyKey: string;
  /** 1 the first time. */
  readonly attempt: number;
  /** Aborted when the attempt is given up: it took too long, the execution is canceled, or another process has it now. */
  readonly signal: AbortSignal;
  readonly now: Instant;
  readonly log: Logger;
  /** What the last heartbeat of an earlier attempt told. */
  readonly progress: Json | undefined;
  /** Says that it is still at work, and how far it is: the next attempt gets to know. */
  heartbeat(progress?: Json): Promise<void>;
  /**
   * Operations as the execution's principal calls them. Commands and actions get an idempotency key that a repeated
   * attempt uses again: so call them in an order that does not change.
   */
  use<C extends Contract>(contract: C): Client<C>;
}

interface ActivityLimits {
  readonly retry?: RetryPolicy | undefined;
  /** An attempt is given up after this time. Default 30 s. */
  readonly timeoutMs?: number | undefined;
  /** An attempt is given up when it has not said for this long that it is at work. Default: never. */
  readonly heartbeatTimeoutMs?: number | undefined;
}

/** A named side effect of an execution: done at least once, with one outcome. */
export interface Activity<Args = never, Out = unknown> extends ActivityLimits {
  readonly input?: Schema | undefined;
  readonly output?: Schema | undefined;
  /** The operation that it is, `billing.charge`; then it has no `run`. */
  readonly operation?: string | undefined;
  /** Called as Armature itself, on behalf of whom the execution is for: for a context's own bookkeeping. */
  readonly system?: boolean | undefined;
  /**
   * Whether it may be done again after a crash although it was done: it changes nothing and costs little. Where
   * a command follows, or what changes nothing either, its result is written with that, in place of before.
   */
  readonly repeatable?: boolean | undefined;
  /**
   * Whether it changes nothing, though it may cost something. Results that it is asked for on account of, of repeatable
   * activities, may then be written with its own. What is repeatable changes nothing.
   */
  readonly changesNothing?: boolean | undefined;
  readonly run?: ((args: Args, ctx: ActivityContext) => Out | Promise<Out>) | undefined;
}

/** How a definition asks for an activity to be undone. */
export interface Compensation {
  readonly activity: string;
  readonly args: Json;
}

/** What a definition has of the world: all that it does and learns goes through here and is written down. */
export interface ExecutionContext {
  readonly executionId: string;
  readonly tenant: string;
  readonly principal: Principal;
  /**
   * Has an activity done.
   *
   * @throws the activity's error, after its last attempt
   */
  activity(
    name: string,
    args: Json,
    options?: { readonly compensate?: (result: never) => Compensation },
  ): Promise<Json | undefined>;
  /** Waits, over restarts too. Milliseconds. */
  sleep(ms: number): Promise<void>;
  /** The signal's payload; undefined when it has not come in time. One that came before it was waited for counts. */
  waitForSignal(name: string, options?: { readonly timeoutMs?: number }): Promise<Json | undefined>;
  /** Milliseconds since 1970: when the last thing happened that the execution knows of. The same in every repetition. */
  now(): number;
  /** The same in every repetition. */
  uuid(): string;
}

/** A durable execution as an engine runs it: a function whose every effect is a named activity. */
export interface ExecutionDefinition {
  readonly name: string;
  /** Executions stay with the version that they were started with. */
  readonly version: number;
  readonly activities: Readonly<Record<string, Activity>>;
  /** Has to do the same whenever it is given the same: no clock, no randomness, no waiting for anything but `ctx`. */
  run(ctx: ExecutionContext, input: Json): Promise<Json | undefined>;
  /** Internal command of its context that hears how each execution ended: `{ executionId, status, result?, error?, retryable? }`. */
  readonly ended?: string | undefined;
  /** How many are worked on at a time, over all processes. Those that wait do not count. Default: no bound. */
  readonly concurrency?: number | undefined;
  readonly concurrencyPerTenant?: number | undefined;
}

/** The execution was asked to end. Whatever a definition does with it, nothing but compensations follows. */
export class ExecutionCanceled extends defineError("execution.canceled", {
  kind: "conflict",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The execution was canceled: ${reason}`,
}) {}

/** What a definition asks for is not what its journal has: the code has changed under an execution that is under way. */
export class ExecutionDiverged extends defineError("execution.diverged", {
  kind: "internal",
  details: z.object({ position: z.number(), recorded: z.string(), asked: z.string() }),
  message: ({ position, recorded, asked }) =>
    `The journal has ${recorded} at position ${position}, where the definition asks for ${asked}. A definition must not change under executions that are under way: give the new one a new version.`,
}) {}

/** A definition waits for something that is not of its context. */
export class ExecutionStuck extends defineError("execution.stuck", {
  kind: "internal",
  details: z.object({}),
  message: () =>
    "The definition waits for something that did not come from its context: after a restart it could not be found again. Do it in an activity.",
}) {}

/** An execution has brought down, or was taken from, too many workers in a row. */
export class ExecutionKeepsCrashing extends defineError("execution.keeps_crashing", {
  kind: "internal",
  details: z.object({ takes: z.number() }),
  message: ({ takes }) => `The execution was begun again ${takes} times, and nothing came of it.`,
}) {}

/** What was to be written of an execution comes from a worker that does not hold it any more. */
export class ExecutionLost extends defineError("execution.lost", {
  kind: "conflict",
  details: z.object({}),
  message: () => "Another worker holds the execution by now: nothing was changed.",
}) {}

/** An attempt of an activity took too long, or did not say that it was at work. */
export class ActivityTimedOut extends defineError("execution.activity_timed_out", {
  kind: "timeout",
  details: z.object({ activity: z.string(), ms: z.number() }),
  message: ({ activity, ms }) => `The activity "${activity}" did not come to an end, or tell of itself, in ${ms} ms.`,
}) {}

/** An execution failed, and so did what was to undo what it had done. */
export class CompensationFailed extends defineError("execution.compensation_failed", {
  kind: "internal",
  details: z.object({ activities: z.array(z.string()), cause: z.string() }),
  message: ({ activities, cause }) =>
    `The execution ended with "${cause}", and was not undone: ${activities.join(", ")} failed.`,
}) {}

/** The name of the signal that asks an execution to end. No host's signal begins like it. */
export const CANCEL_SIGNAL = "$cancel";
