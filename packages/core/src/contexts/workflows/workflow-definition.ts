import type { Instant } from "../../kernel/clock.ts";
import type { Contract, Operation } from "../../kernel/contract.ts";
import type { Activity, ActivityContext, RetryPolicy } from "../../kernel/execution.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { Json, JsonObject, Schema } from "../../kernel/schema.ts";

/** How an activity of a workflow is tried. */
export interface ActivityOptions {
  /** Default: 5 attempts, with waits of 1, 2, 4 and 8 seconds in between. */
  readonly retry?: RetryPolicy;
  /** An attempt is given up after this time. Default 30 s. */
  readonly timeoutMs?: number;
  /** An attempt is given up when it has not said for this long that it is at work. Default: never. */
  readonly heartbeatTimeoutMs?: number;
  /**
   * Whether it may be done again after a crash although it was done: it changes nothing and costs little. Where
   * a command follows, or what changes nothing either, its result is written with that, in place of before.
   * Default: false.
   */
  readonly repeatable?: boolean;
}

/** An activity of a workflow, with the types of its arguments and its result. Made by `activity` and `operationActivity`. */
export interface WorkflowActivity<In = unknown, Out = unknown> extends Activity {
  readonly types?: { readonly input: In; readonly output: Out };
}

/**
 * A side effect of a workflow: code of the host's own. It may be run more than once, and has one result: hand
 * `ctx.idempotencyKey` to what is outside.
 */
export function activity<In, Args, Out = void>(
  options: ActivityOptions & {
    readonly input: Schema<Args, In>;
    /** Checked before the result is written down. Without it any JSON is. */
    readonly output?: Schema<Out>;
    readonly run: (args: Args, ctx: ActivityContext) => Out | Promise<Out>;
  },
): WorkflowActivity<In, Out> {
  return Object.freeze({ ...options, run: options.run as never });
}

/** The operation as a workflow's activity: called as who has started the workflow, and once. */
export function operationActivity<C extends Contract, K extends keyof C["operations"] & string>(
  contract: C,
  name: K,
  options: ActivityOptions = {},
): WorkflowActivity<OperationInput<C["operations"][K]>, OperationOutput<C["operations"][K]>> {
  const known = contract.operations[name];
  if (known === undefined || known.kind === "stream" || known.permission === "internal")
    throw new TypeError(
      `"${contract.name}.${name}" cannot be an activity: it is no query, command or action for callers.`,
    );
  return Object.freeze({ ...options, input: known.input, operation: `${contract.name}.${name}` });
}

type OperationInput<O> =
  O extends Operation<infer _K, infer In, infer _A, infer _R, infer _O, infer _E, infer _P> ? In : never;
type OperationOutput<O> =
  O extends Operation<infer _K, infer _I, infer _A, infer _R, infer Out, infer _E, infer _P> ? Out : never;

type Activities = Readonly<Record<string, WorkflowActivity>>;
type Signals = Readonly<Record<string, Schema>>;
type InputOf<A> = A extends WorkflowActivity<infer In, infer _Out> ? In : never;
type OutputOf<A> = A extends WorkflowActivity<infer _In, infer Out> ? Out : never;
type SignalOf<S> = S extends Schema<infer Out, infer _In> ? Out : never;

/** An activity that undoes another one, with its arguments. */
export type Undo<A> = {
  readonly [K in keyof A & string]: { readonly activity: K; readonly args: InputOf<A[K]> };
}[keyof A & string];

/** What a workflow has of the world. All that it does and learns goes through here, and is written down. */
export interface WorkflowContext<A extends Activities = Activities, S extends Signals = Signals> {
  readonly executionId: string;
  readonly tenant: string;
  readonly principal: Principal;
  /**
   * Has an activity done.
   *
   * @param options.compensate what undoes it, should the workflow fail or be canceled later; in reverse order
   * @throws the activity's error, after its last attempt
   */
  activity<K extends keyof A & string>(
    name: K,
    args: InputOf<A[K]>,
    options?: { readonly compensate?: (result: OutputOf<A[K]>) => Undo<A> },
  ): Promise<OutputOf<A[K]>>;
  /** Waits, over restarts too. */
  sleep(duration: { readonly ms: number } | { readonly until: Instant }): Promise<void>;
  /** The signal's payload; undefined when it has not come in time. One that came before it was waited for counts. */
  waitForSignal<K extends keyof S & string>(
    name: K,
    options?: { readonly timeoutMs?: number },
  ): Promise<SignalOf<S[K]> | undefined>;
  /**
   * Has another workflow done, and waits for it. It is canceled when this one fails or is canceled before.
   *
   * @param options.id its id; made from this one's when absent
   * @throws {ChildFailed} it failed or was canceled
   */
  child<In, Out>(workflow: Workflow<In, Out>, input: In, options?: { readonly id?: string }): Promise<Out>;
  /** Asks people to approve a call, with its exact arguments, and waits for their verdict. The call is the workflow's to make. */
  approval(call: CallToApprove): Promise<Verdict>;
  /** When the last thing happened that the workflow knows of: the same in every repetition. */
  now(): Instant;
  /** The same in every repetition, and no other's. */
  uuid(): string;
}

/** What people are asked to approve. */
export interface CallToApprove {
  /** What would be done: an operation's id, or a name. */
  readonly action: string;
  readonly arguments: JsonObject;
  /** What an approver reads first. */
  readonly title?: string;
  /** What edited arguments must fit. Without it an approver may edit them to anything. */
  readonly input?: Schema;
  /** What an approver must hold besides `approvals:decide`. */
  readonly permission?: string;
  /** `write` when absent. */
  readonly risk?: "read" | "write" | "irreversible";
  /** Whether who has started the workflow cannot decide. */
  readonly fourEyes?: boolean;
  /** 7 days when absent; 90 at most. */
  readonly expiresInMs?: number;
}

/** What people have decided. `arguments` are the approved ones: those that were asked for, or edited ones. */
export type Verdict =
  | { readonly status: "approved" | "edited"; readonly arguments: JsonObject }
  | { readonly status: "rejected"; readonly reason: string | undefined }
  | { readonly status: "expired" };

/** A workflow as `createArmature` takes it. Made by `defineWorkflow`. */
export interface Workflow<In = unknown, Out = unknown> {
  readonly name: string;
  readonly version: number;
  readonly summary: string | undefined;
  readonly input: Schema;
  readonly output: Schema | undefined;
  readonly activities: Activities;
  readonly signals: Signals;
  readonly concurrency: number | undefined;
  readonly concurrencyPerTenant: number | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: `defineWorkflow` has checked its types
  readonly run: (ctx: any, input: any) => Promise<unknown>;
  readonly types?: { readonly input: In; readonly output: Out };
}

const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const PART = /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/;

/**
 * A durable execution that waits for people, and survives crashes. `run` is repeated from its beginning after every
 * wait, with what has happened answered from the journal: it must do the same each time, and touch the world through
 * `ctx` alone. One that is under way stays with its version: keep the old definition beside the new one until none is.
 *
 * @throws {TypeError} a name or a number cannot be
 */
export function defineWorkflow<
  In,
  Args,
  const A extends Activities = Record<never, never>,
  const S extends Signals = Record<never, never>,
  Out = void,
>(options: {
  /** `onboarding`: lower-case letters, digits and hyphens. */
  readonly name: string;
  /** 1 or more. The highest is what `start` takes. */
  readonly version: number;
  /** One sentence, for who looks at the list. */
  readonly summary?: string;
  readonly input: Schema<Args, In>;
  readonly output?: Schema<Out>;
  readonly activities?: A;
  /** What it can be told from outside, and the shapes of that. */
  readonly signals?: S;
  /** How many executions are worked on at a time, over all processes; those that wait do not count. */
  readonly concurrency?: number;
  readonly concurrencyPerTenant?: number;
  readonly run: (ctx: WorkflowContext<A, S>, input: Args) => Promise<Out>;
}): Workflow<In, Out> {
  const { name, version, activities = {}, signals = {}, concurrency, concurrencyPerTenant } = options;
  if (!NAME.test(name))
    throw new TypeError(`The workflow name "${name}" must be lower-case letters, digits and hyphens.`);
  for (const [what, number] of Object.entries({ version, concurrency, concurrencyPerTenant }))
    if (number !== undefined && (!Number.isSafeInteger(number) || number < 1))
      throw new TypeError(`The workflow "${name}" has ${number} as its ${what}: it must be 1 or more.`);
  for (const part of [...Object.keys(activities), ...Object.keys(signals)])
    if (!PART.test(part)) throw new TypeError(`"${part}" of the workflow "${name}" cannot be a name.`);
  return Object.freeze({
    name,
    version,
    summary: options.summary,
    input: options.input,
    output: options.output,
    activities,
    signals,
    concurrency,
    concurrencyPerTenant,
    run: options.run,
  });
}

/** How a child came to its end, as its parent is told. */
export interface ChildEnd {
  readonly status: "completed" | "failed" | "canceled";
  readonly result?: Json;
  readonly error?: { readonly code: string; readonly message: string };
}
