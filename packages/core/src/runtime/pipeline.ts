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
import { parse } from "../kernel/parse.ts";
import type { Principal } from "../kernel/principal.ts";
import { type JsonObject, tryParse } from "../kernel/schema.ts";
import type { IdempotencyRecord, StoredEvent } from "../kernel/store.ts";
import { AuditTrail } from "./audit-trail.ts";
import { BackgroundWork } from "./background-work.ts";
import { beginCall, type Target } from "./begin-call.ts";
import {
  type CallInfo,
  type CallRequest,
  checkAlive,
  giveUpReason,
  hashInput,
  type RunnableOperation,
  recordKey,
  targetId,
} from "./call.ts";
import { Commits } from "./commits.ts";
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
import { isStorable, type UnitOfWork } from "./unit-of-work.ts";
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
    this.#commits = new Commits(ports, refusals === undefined);
    for (const operation of contexts.flatMap(runnableOperations)) this.#operations.set(operation.id, operation);
  }

  /** Runs a query, command or action. */
  async call(id: string, input: unknown, request: CallRequest): Promise<unknown> {
    const target = this.#find(id, request, ["query", "command", "action"]);
    const answer = this.#ports.telemetry.call(target, request, async (trace) => {
      const call = beginCall(this.#ports, target, request, trace);
      const seen: { input: unknown } = { input: undefined };
      try {
        return await this.#untilGivenUp(target, call, (running) => this.#run(target, input, running, seen));
      } catch (error) {
        const typed = this.#typed(error, target, call);
        if (target.operation.kind !== "query") await this.#writeRefusal(target, call, seen.input, typed);
        throw typed;
      } finally {
        call.counts.close((counters) => void this.#abandoned.track(this.#audit.writeCounts(target, call, counters)));
      }
    });
    return this.#calls.track(answer);
  }

  /** Resolves when every call has its answer. */
  answered(): Promise<void> {
    return this.#calls.ended();
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
      const args = await this.#admit(target, input, begun);
      // The deadline is for the beginning. From then on a stream lasts as long as somebody reads it.
      return this.#items(target, args, { ...begun, deadline: Number.POSITIVE_INFINITY });
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
        if (call.signal.aborted) return;
      }
    } catch (error) {
      if (call.signal.aborted) return;
      throw this.#typed(error, target, call);
    }
  }

  /** Runs a command as part of another one's commit. */
  async join(id: string, input: unknown, outer: CallInfo, work: UnitOfWork): Promise<unknown> {
    const target = this.#find(id, { principal: outer.principal }, ["command"]);
    const call: CallInfo = { ...outer, from: undefined, expectedVersion: undefined };
    const seen: { input: unknown } = { input: undefined };
    try {
      const args = await this.#admit(target, input, call, (valid) => {
        seen.input = valid;
      });
      const returned = await target.handle(args, this.#contexts.command(target, call, work));
      const output = this.#output(target, returned);
      work.audit(this.#audit.succeeded(target, call, args));
      return output;
    } catch (error) {
      work.fail(error);
      if (error instanceof ArmatureError && !(error instanceof CorruptData))
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
        const result = await this.#untilGivenUp(target, beginCall(this.#ports, target, request, trace), (call) =>
          this.#commits.run(target, call, async (work) => {
            await subscription.handle(event, this.#contexts.command(target, call, work));
            work.inbox(context.contract.name, subscription.consumer, stored.id);
          }),
        );
        return result.status === "handled-before" ? "handled-before" : "handled";
      },
    );
  }

  async #writeRefusal(target: RunnableOperation, call: CallInfo, input: unknown, error: ArmatureError): Promise<void> {
    const written = (this.#refusals ?? this.#audit).writeRefusal(target, call, input, error);
    // Who has given up waits for nothing more. Who has a transaction open must not wait for another connection.
    if (isGivenUp(error) || this.#refusals !== undefined) void this.#abandoned.track(written);
    else await written;
  }

  async #run(target: RunnableOperation, input: unknown, call: CallInfo, seen: { input: unknown }): Promise<unknown> {
    const args = await this.#admit(target, input, call, (valid) => {
      seen.input = valid;
    });
    switch (target.operation.kind) {
      case "query":
        return this.#output(target, await target.handle(args, this.#contexts.query(target, call)));
      case "command":
        return this.#command(target, args, call);
      default:
        return this.#action(target, args, call);
    }
  }

  // Steps 1 to 3: the deadline, the input, the permission.
  async #admit(
    target: RunnableOperation,
    input: unknown,
    call: CallInfo,
    valid?: (input: unknown) => void,
  ): Promise<unknown> {
    const { operation } = target;
    checkAlive(call, target.id, this.#ports.clock.now());
    const parsed = parse(operation.input, input, `The input of ${target.id}`);
    // zod gives every call the same object for what a default holds.
    const args = target.sharedDefaults ? structuredClone(parsed) : parsed;
    if (!isStorable(args))
      throw new InvalidInput({
        subject: `The input of ${target.id}`,
        issues: [{ path: "", message: "holds text with a NUL character or a lone surrogate" }],
      });
    valid?.(args);
    if (operation.permission === "internal") {
      if (call.from !== target.context.contract.name) throw new NotFound({ type: "operation", id: target.id });
    } else if (!(await this.#ports.authorizer.allows(call.principal, operation.permission))) {
      throw new Forbidden({ permission: operation.permission });
    }
    return args;
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

  #untilGivenUp<T>(target: Target, call: CallInfo, run: (running: CallInfo) => Promise<T>): Promise<T> {
    return untilGivenUp(this.#ports.clock, this.#abandoned, target.id, call, run);
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
    if (call.signal.aborted && (error === call.signal.reason || (error as Error | undefined)?.name === "AbortError"))
      return giveUpReason(call.signal, target.id);
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
