import type { ContextDefinition, Subscription } from "../kernel/context.ts";
import type { OperationKind, StreamItem } from "../kernel/contract.ts";
import {
  ArmatureError,
  Canceled,
  CorruptData,
  DeadlineExceeded,
  Forbidden,
  InternalError,
  InvalidInput,
  NotFound,
} from "../kernel/errors.ts";
import { readEvent } from "../kernel/event.ts";
import { ExecutionLost } from "../kernel/execution.ts";
import { parse } from "../kernel/parse.ts";
import type { Principal } from "../kernel/principal.ts";
import { type JsonObject, tryParse } from "../kernel/schema.ts";
import type { IdempotencyRecord, StoredEvent } from "../kernel/store.ts";
import { AuditTrail } from "./audit-trail.ts";
import { BackgroundWork } from "./background-work.ts";
import { beginCall, type Target } from "./begin-call.ts";
import { type CallRequest, checkAlive, hashInput, type RunnableOperation, recordKey, targetId } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import { Commits } from "./commits.ts";
import { Deadlines } from "./deadlines.ts";
import { type Calls, type Effects, HandlerContexts } from "./handler-context.ts";
import {
  type Claim,
  Claims,
  isDefinite,
  isPassing,
  judge,
  replay,
  resultOutcome,
  saysNothingHappened,
  unknownOutcome,
} from "./idempotency.ts";
import { runnableOperations } from "./runnable-operations.ts";
import type { CallPorts } from "./runtime-ports.ts";
import { isStorable } from "./storable.ts";
import type { Trace } from "./trace.ts";
import type { UnitOfWork } from "./unit-of-work.ts";
import { untilGivenUp } from "./until-given-up.ts";

/** How long a stream goes on before it is asked again whether its caller is allowed to read it. */
const ASK_AGAIN_MS = 2_000;

/**
 * The one way for every call: deadline, validate, authorise, idempotency, handle, commit once, answer.
 * A query skips the commit; an action claims its key, acts and settles; a stream yields what is durable.
 */
export class Pipeline implements Calls {
  readonly #ports: CallPorts;
  readonly #operations = new Map<string, RunnableOperation>();
  readonly #contexts: HandlerContexts;
  readonly #claims: Claims;
  readonly #commits: Commits;
  readonly #audit: AuditTrail;
  readonly #refusals: AuditTrail | undefined;
  readonly #calls = new BackgroundWork();
  readonly #abandoned = new BackgroundWork();
  readonly #deadlines: Deadlines;

  /**
   * @param refusals given where the calls are inside of a transaction of the host's: what is refused there is written
   * down outside of it, nobody waits for that, and what loses a race is not run again
   */
  constructor(ports: CallPorts, contexts: readonly ContextDefinition[], refusals?: AuditTrail) {
    this.#ports = ports;
    this.#refusals = refusals;
    this.#contexts = new HandlerContexts(ports, this);
    this.#claims = new Claims(ports);
    this.#audit = new AuditTrail(ports);
    this.#deadlines = new Deadlines(ports.clock);
    this.#commits = new Commits(ports, refusals === undefined);
    for (const operation of contexts.flatMap(runnableOperations)) this.#operations.set(operation.id, operation);
  }

  /** Runs a query, command or action. */
  call(id: string, input: unknown, request: CallRequest): Promise<unknown> {
    let target: RunnableOperation;
    try {
      target = this.#find(id, request, ["query", "command", "action"]);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#ports.telemetry.call(target, request, (trace) => this.#answer(target, input, request, trace));
  }

  async #answer(target: RunnableOperation, input: unknown, request: CallRequest, trace?: Trace): Promise<unknown> {
    this.#calls.begin();
    let call: CallInfo | undefined;
    const seen: { input: unknown } = { input: undefined };
    try {
      const begun = beginCall(this.#ports, target, request, trace);
      call = begun;
      return await this.#untilGivenUp(target, begun, () => this.#run(target, input, begun, seen));
    } catch (error) {
      if (call === undefined) throw error;
      const typed = this.#typed(error, target, call);
      if (target.operation.kind !== "query") await this.#writeRefusal(target, call, seen.input, typed);
      throw typed;
    } finally {
      if (call !== undefined && target.operation.kind === "action") this.#writeLateCounts(target, call);
      this.#calls.end();
    }
  }

  /** Resolves when every call has its answer. */
  async answered(): Promise<void> {
    await this.#calls.ended();
    this.#deadlines.rest();
  }

  /** Resolves when every handler whose caller has given up has ended too. */
  ended(): Promise<void> {
    return this.#abandoned.ended();
  }

  /** Runs a stream. Nothing happens before the first item is asked for. */
  async *stream(id: string, input: unknown, request: CallRequest): AsyncIterable<StreamItem<unknown>> {
    yield* await this.openStream(id, input, request);
  }

  /** Admits a stream's call. What the pipeline refuses is thrown here, and not with the first item. */
  async openStream(id: string, input: unknown, request: CallRequest): Promise<AsyncIterable<StreamItem<unknown>>> {
    const target = this.#find(id, request, ["stream"]);
    const begun = await this.#ports.telemetry.call(target, request, async (trace) =>
      beginCall(this.#ports, target, request, trace),
    );
    try {
      const args = this.#validated(target, input, begun);
      if (!(await this.#allowed(target, begun))) throw new Forbidden({ permission: target.operation.permission });
      // The deadline is for the beginning. From then on a stream lasts as long as somebody reads it.
      return this.#items(target, args, begun.with({ deadline: Number.POSITIVE_INFINITY }));
    } catch (error) {
      throw this.#typed(error, target, begun);
    }
  }

  async *#items(target: RunnableOperation, args: unknown, call: CallInfo): AsyncIterable<StreamItem<unknown>> {
    const { authorizer, clock } = this.#ports;
    const { permission } = target.operation;
    let askedAt = clock.now();
    try {
      for await (const { cursor, item } of target.handle(args, this.#contexts.stream(target, call)) as AsyncIterable<
        StreamItem<unknown>
      >) {
        // It may go on for days, and its caller be allowed for the first of them only.
        if (permission !== "internal" && clock.now() >= askedAt + ASK_AGAIN_MS) {
          if (!(await authorizer.allows(call.principal, permission))) throw new Forbidden({ permission });
          askedAt = clock.now();
        }
        yield { cursor, item: this.#output(target, item) };
        if (call.patience.over) return;
      }
    } catch (error) {
      if (call.patience.over) return;
      throw this.#typed(error, target, call);
    }
  }

  /** Runs a command as part of another one's commit. */
  async join(id: string, input: unknown, outer: CallInfo, work: UnitOfWork): Promise<unknown> {
    const target = this.#find(id, { principal: outer.principal }, ["command"]);
    const call = outer.with({ from: undefined, expectedVersion: undefined, join: undefined });
    const seen: { input: unknown } = { input: undefined };
    try {
      const args = this.#validated(target, input, call);
      seen.input = args;
      if (!(await this.#allowed(target, call))) throw new Forbidden({ permission: target.operation.permission });
      const returned = await target.handle(args, this.#contexts.command(target, call, work));
      const output = this.#output(target, returned);
      work.audit(this.#audit.succeeded(target, call, args));
      return output;
    } catch (error) {
      work.fail(error);
      // What is refused on what is only remembered is asked again.
      const isFinal = !work.recalled || call.patience.over;
      if (isFinal && error instanceof ArmatureError && !(error instanceof CorruptData))
        await this.#writeRefusal(target, call, seen.input, error);
      throw error;
    }
  }

  /**
   * Has a subscription handle an event; its effect and the mark in the inbox are one commit.
   *
   * @throws what the handler throws; `CorruptData` when the event cannot be read
   */
  async deliver(
    context: ContextDefinition,
    subscription: Subscription,
    stored: StoredEvent,
  ): Promise<"handled" | "handled-before"> {
    const event = readEvent(subscription.event, stored);
    const principal: Principal = {
      tenant: stored.tenant,
      actor: { type: "system", id: subscription.consumer },
      onBehalfOf:
        stored.onBehalfOf ??
        (stored.actor.type === "user" || stored.actor.type === "service"
          ? { type: stored.actor.type, id: stored.actor.id }
          : undefined),
    };
    const target = { id: subscription.consumer, context };
    const request: CallRequest = {
      principal,
      traceparent: stored.traceparent,
      correlationId: stored.correlationId,
      causationId: stored.id,
    };
    return this.#ports.telemetry.call(
      { id: subscription.consumer, operation: { kind: "subscription" } },
      request,
      async (trace) => {
        const call = beginCall(this.#ports, target, request, trace);
        const result = await this.#untilGivenUp(target, call, () =>
          this.#commits.run(target, call, async (work) => {
            await subscription.handle(event, this.#contexts.command(target, call, work));
            work.inbox(context.contract.name, subscription.consumer, stored.id);
          }),
        );
        return result.status === "handled-before" ? "handled-before" : "handled";
      },
    );
  }

  // What is counted from now on, by a handler that was given up, is written by itself.
  #writeLateCounts(target: RunnableOperation, call: CallInfo): void {
    call.counts.close((counters) => void this.#abandoned.track(this.#audit.writeCounts(target, call, counters)));
  }

  async #writeRefusal(target: RunnableOperation, call: CallInfo, input: unknown, error: ArmatureError): Promise<void> {
    const written = (this.#refusals ?? this.#audit).writeRefusal(target, call, input, error);
    // Who has given up waits for nothing more. Who has a transaction open must not wait for another connection.
    if (isGivenUp(error) || this.#refusals !== undefined) void this.#abandoned.track(written);
    else await written;
  }

  async #run(target: RunnableOperation, input: unknown, call: CallInfo, seen: { input: unknown }): Promise<unknown> {
    const args = this.#validated(target, input, call);
    seen.input = args;
    const allowed = this.#allowed(target, call);
    // Who decides without asking anybody costs no turn.
    if (allowed !== true && !(await allowed)) throw new Forbidden({ permission: target.operation.permission });
    switch (target.operation.kind) {
      case "query":
        return this.#output(target, await target.handle(args, this.#contexts.query(target, call)));
      case "command":
        return this.#command(target, args, call);
      default:
        return this.#action(target, args, call);
    }
  }

  // Steps 1 and 2: the deadline, the input.
  #validated({ id, operation, sharedDefaults }: RunnableOperation, input: unknown, call: CallInfo): unknown {
    checkAlive(call, id, this.#ports.clock.now());
    const parsed = parse(operation.input, input, `The input of ${id}`);
    // zod gives every call the same object for what a default holds.
    const args = sharedDefaults ? structuredClone(parsed) : parsed;
    if (!isStorable(args))
      throw new InvalidInput({
        subject: `The input of ${id}`,
        issues: [{ path: "", message: "holds text with a NUL character or a lone surrogate" }],
      });
    return args;
  }

  // Step 3: the permission.
  #allowed({ id, operation, context }: RunnableOperation, call: CallInfo): boolean | Promise<boolean> {
    if (operation.permission !== "internal") return this.#ports.authorizer.allows(call.principal, operation.permission);
    if (call.from !== context.contract.name) throw new NotFound({ type: "operation", id });
    return true;
  }

  async #command(target: RunnableOperation, args: unknown, call: CallInfo): Promise<unknown> {
    const context = target.context.contract.name;
    const key = call.idempotencyKey;
    const record =
      key === undefined
        ? undefined
        : { key: recordKey(target.id, call.principal, key), inputHash: hashInput(this.#ports.inputKey, args) };
    if (record !== undefined) {
      const known = await this.#ports.store.idempotency({ tenant: call.principal.tenant, context }, record.key);
      if (known !== undefined) return this.#replayCommand(known, target, key!, record.inputHash);
    }
    let output: unknown;
    const result = await this.#commits.run(target, call, async (work) => {
      if (call.expectedVersion !== undefined)
        work.expect(context, targetId(target, call.principal.tenant, args as JsonObject), call.expectedVersion);
      output = this.#output(target, await target.handle(args, this.#contexts.command(target, call, work)));
      work.audit(this.#audit.succeeded(target, call, args));
      if (call.join !== undefined) work.join(call.join(output));
      if (record !== undefined)
        work.idempotency(context, {
          ...record,
          attempt: 1,
          claimedUntil: call.deadline,
          step: "settle",
          outcome: resultOutcome(target, output),
        });
    });
    if (result.status === "key-taken") return this.#replayCommand(result.record, target, key!, record!.inputHash);
    if (result.status === "execution-lost") throw new ExecutionLost({});
    return output;
  }

  #replayCommand(known: IdempotencyRecord, target: RunnableOperation, key: string, inputHash: string): unknown {
    const verdict = judge(known, target, key, inputHash, this.#ports.clock.now());
    if (verdict.type !== "replay") throw unknownOutcome(target);
    return replay(verdict.outcome, target);
  }

  async #action(target: RunnableOperation, args: unknown, call: CallInfo): Promise<unknown> {
    const key = call.idempotencyKey;
    if (key === undefined) {
      const output = await this.#act(target, args, call, 1, { happened: false });
      await this.#audit.write(this.#audit.succeeded(target, call, args), call.counts.take());
      return output;
    }
    const inputHash = hashInput(this.#ports.inputKey, args);
    const claimed = await this.#claims.claim(target, call, key, inputHash);
    if (claimed.type === "replay") return replay(claimed.outcome, target);
    return this.#attempt(target, args, call, claimed.claim);
  }

  async #act(target: RunnableOperation, args: unknown, call: CallInfo, attempt: number, effects: Effects) {
    return this.#output(target, await target.handle(args, this.#contexts.action(target, call, attempt, effects)));
  }

  // One attempt under a claimed key. What it comes to is recorded also when its caller has given up by then.
  async #attempt(target: RunnableOperation, args: unknown, call: CallInfo, claim: Claim): Promise<unknown> {
    const effects: Effects = { happened: false };
    let begun = false;
    let output: unknown;
    try {
      checkAlive(call, target.id, this.#ports.clock.now());
      begun = true;
      output = await this.#act(target, args, call, claim.clean ? 1 : claim.attempt, effects);
    } catch (error) {
      const typed = this.#typed(error, target, call);
      // Our own limiter and circuit breaker speak before anything has left, unless the handler got further.
      const untouched = !begun || (saysNothingHappened(typed) && !effects.happened);
      if (begun && isDefinite(typed) && !isPassing(typed)) await this.#claims.refuse(target, call, claim, typed);
      else await this.#claims.release(target, call, claim, untouched);
      throw typed;
    }
    const audit = this.#audit.succeeded(target, call, args);
    const overtaken = await this.#claims.settle(target, call, claim, resultOutcome(target, output), audit);
    return overtaken === undefined ? output : replay(overtaken, target);
  }

  #untilGivenUp<T>(target: Target, call: CallInfo, run: () => Promise<T>): Promise<T> {
    return untilGivenUp(this.#deadlines, this.#abandoned, target.id, call, run);
  }

  #find(id: string, request: CallRequest, kinds: readonly OperationKind[]): RunnableOperation {
    const target = this.#operations.get(id);
    if (target === undefined || !kinds.includes(target.operation.kind)) throw new NotFound({ type: "operation", id });
    if (target.operation.permission === "internal" && request.from !== target.context.contract.name)
      throw new NotFound({ type: "operation", id });
    return target;
  }

  #output(target: RunnableOperation, returned: unknown): unknown {
    const { output } = target.operation;
    if (output === undefined) return undefined;
    const parsed = tryParse(output, returned);
    if (parsed.ok) return parsed.value;
    throw new CorruptData({ subject: `The output of ${target.id}`, issues: [...parsed.issues] });
  }

  // What nobody declared becomes a bare internal error; the log has the rest under the trace id.
  #typed(error: unknown, target: RunnableOperation, call: CallInfo): ArmatureError {
    if (error instanceof ArmatureError && !(error instanceof CorruptData)) return error;
    // What a caller gives as its reason is not an error of ours.
    if (call.patience.over && (error === call.signal.reason || (error as Error | undefined)?.name === "AbortError"))
      return call.patience.reason(target.id);
    const { traceId } = call.trace;
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    this.#ports.logger.error(`${target.id} failed unexpectedly`, {
      tenant: call.principal.tenant,
      operation: target.id,
      traceId,
      error: text,
    });
    return new InternalError({ traceId }, { cause: error });
  }
}

function isGivenUp(error: ArmatureError): boolean {
  return error instanceof DeadlineExceeded || error instanceof Canceled;
}
