import type { ExecutionChange } from "../kernel/executions.ts";
import type { Ids } from "../kernel/ids.ts";
import type { Principal } from "../kernel/principal.ts";
import { CallCounts } from "./call-counts.ts";
import type { Patience } from "./patience.ts";
import { continueTrace, type Trace } from "./trace.ts";

/** From a command's output, the change of an execution that joins its commit. */
export type Join = (output: unknown) => { readonly context: string; readonly change: ExecutionChange };

/** What a call is known by. */
interface Identity {
  id: string | undefined;
  trace: Trace | undefined;
  readonly correlationId: string | undefined;
  readonly causationId: string | undefined;
  /** What the caller said of its trace. */
  readonly traceparent: string | undefined;
}

interface Fixed {
  readonly ids: Ids;
  readonly identity: Identity;
  readonly principal: Principal;
  readonly startedAt: number;
  readonly deadline: number;
  readonly timed: boolean;
  readonly patience: Patience;
  readonly idempotencyKey: string | undefined;
  readonly expectedVersion: number | undefined;
  readonly after: string | undefined;
  readonly from: string | undefined;
  readonly join: Join | undefined;
}

/** What is fixed for one call. What a query seldom needs, such as ids, is made when it is asked for. */
export class CallInfo {
  readonly principal: Principal;
  readonly startedAt: number;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  /** Whether the deadline is its own; otherwise it is the outer call's, whose signal tells of it. */
  readonly timed: boolean;
  readonly patience: Patience;
  /** The caller's key. */
  readonly idempotencyKey: string | undefined;
  readonly expectedVersion: number | undefined;
  readonly after: string | undefined;
  /** Context that calls its own operation: it may call internal ones. */
  readonly from: string | undefined;
  /** What joins its commit. */
  readonly join: Join | undefined;
  readonly #ids: Ids;
  readonly #identity: Identity;
  #counts: CallCounts | undefined;

  constructor(fixed: Fixed) {
    this.#ids = fixed.ids;
    this.#identity = fixed.identity;
    this.principal = fixed.principal;
    this.startedAt = fixed.startedAt;
    this.deadline = fixed.deadline;
    this.timed = fixed.timed;
    this.patience = fixed.patience;
    this.idempotencyKey = fixed.idempotencyKey;
    this.expectedVersion = fixed.expectedVersion;
    this.after = fixed.after;
    this.from = fixed.from;
    this.join = fixed.join;
  }

  get id(): string {
    this.#identity.id ??= this.#ids.next("call");
    return this.#identity.id;
  }

  get trace(): Trace {
    this.#identity.trace ??= continueTrace(this.#ids, this.#identity.traceparent);
    return this.#identity.trace;
  }

  get correlationId(): string {
    return this.#identity.correlationId ?? this.id;
  }

  get causationId(): string {
    return this.#identity.causationId ?? this.id;
  }

  /** What an action has counted. */
  get counts(): CallCounts {
    this.#counts ??= new CallCounts();
    return this.#counts;
  }

  get signal(): AbortSignal {
    return this.patience.signal;
  }

  /** The same call under other conditions. */
  with(changes: Partial<Pick<Fixed, "deadline" | "expectedVersion" | "from" | "join">>): CallInfo {
    const { principal, startedAt, deadline, timed, patience, idempotencyKey, expectedVersion, after, from } = this;
    return new CallInfo({
      ...{ ids: this.#ids, identity: this.#identity, principal, startedAt, deadline, timed, patience },
      ...{ idempotencyKey, expectedVersion, after, from, join: this.join },
      ...changes,
    });
  }
}
