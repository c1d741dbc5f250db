import { toInstant } from "../kernel/clock.ts";
import type { ContextDefinition, Subscription } from "../kernel/context.ts";
import type { OperationKind, StreamItem } from "../kernel/contract.ts";
import {
  ArmatureError,
  CorruptData,
  DeadlineExceeded,
  Forbidden,
  InternalError,
  InvalidInput,
  LimitExceeded,
  NotFound,
  VersionConflict,
} from "../kernel/errors.ts";
import { readEvent } from "../kernel/event.ts";
import { parse } from "../kernel/parse.ts";
import type { Principal } from "../kernel/principal.ts";
import { type JsonObject, tryParse } from "../kernel/schema.ts";
import { hasSensitive, redactor } from "../kernel/sensitive.ts";
import type { AuditRow, Commit, IdempotencyRecord, StoredEvent } from "../kernel/store.ts";
import {
  type CallInfo,
  type CallRequest,
  checkAlive,
  hashInput,
  type RunnableOperation,
  recordKey,
  stableCallId,
} from "./call.ts";
import { type Calls, HandlerContexts } from "./handler-context.ts";
import { isDefinite, judge, NOTHING_HAPPENED, replay, resultOutcome, unknownOutcome } from "./idempotency.ts";
import type { RuntimePorts } from "./runtime-ports.ts";
import { inSpan } from "./telemetry.ts";
import { isStorable, UnitOfWork } from "./unit-of-work.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
/** How often a command that lost a race is run again before the caller hears of it. */
const MAX_RERUNS = 10;

/**
 * The one way for every call: deadline, validate, authorise, idempotency, handle, commit once, answer.
 * A query skips the commit; an action claims its key, acts and settles; a stream yields what is durable.
 */
export class Pipeline implements Calls {
  readonly #ports: RuntimePorts;
  readonly #operations = new Map<string, RunnableOperation>();
  readonly #contexts: HandlerContexts;

  constructor(ports: RuntimePorts, contexts: readonly ContextDefinition[]) {
    this.#ports = ports;
    this.#contexts = new HandlerContexts(ports, this);
    for (const context of contexts) {
      for (const [name, operation] of Object.entries(context.contract.operations)) {
        const id = `${context.contract.name}.${name}`;
        this.#operations.set(id, {
          id,
          name,
          context,
          operation,
          handle: context.handlers[name]!,
          redactInput: redactor(operation.input),
          sensitiveOutput: operation.output !== undefined && hasSensitive(operation.output),
        });
      }
    }
  }

  /** Runs a query, command or action. */
  async call(id: string, input: unknown, request: CallRequest): Promise<unknown> {
    const target = this.#find(id, request, ["query", "command", "action"]);
    return inSpan(this.#ports.ids, target, request, async (trace) => {
      const call = this.#begin(target, request, trace);
      const seen: { input: unknown } = { input: undefined };
      try {
        return await this.#run(target, input, call, seen);
      } catch (error) {
        const typed = this.#typed(error, target, call);
        if (target.operation.kind !== "query") await this.#auditRefusal(target, call, seen.input, typed);
        throw typed;
      }
    });
  }

  /** Runs a stream. Nothing happens before the first item is asked for. */
  async *stream(id: string, input: unknown, request: CallRequest): AsyncIterable<StreamItem<unknown>> {
    const target = this.#find(id, request, ["stream"]);
    const call = await inSpan(this.#ports.ids, target, request, async (trace) => this.#begin(target, request, trace));
    try {
      const args = await this.#admit(target, input, call);
      for await (const { cursor, item } of target.handle(args, this.#contexts.stream(target, call)) as AsyncIterable<
        StreamItem<unknown>
      >) {
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
    const call: CallInfo = { ...outer, from: undefined };
    try {
      const args = await this.#admit(target, input, call);
      const returned = await target.handle(args, this.#contexts.command(target, call, work));
      const output = this.#output(target, returned);
      work.audit(this.#auditRow(target, call, args, "succeeded"));
      return output;
    } catch (error) {
      work.fail(error);
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
    return inSpan(
      this.#ports.ids,
      { id: subscription.consumer, operation: { kind: "subscription" } },
      request,
      async (trace) => {
        const call = this.#begin(target, request, trace);
        const { result } = await this.#commitWith(target, call, async (work) => {
          await subscription.handle(event, this.#contexts.command(target, call, work));
          work.inbox(context.contract.name, subscription.consumer, stored.id);
        });
        return result.status === "handled-before" ? "handled-before" : "handled";
      },
    );
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
    const args = parse(operation.input, input, `The input of ${target.id}`);
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
    const { result } = await this.#commitWith(target, call, async (work) => {
      output = this.#output(target, await target.handle(args, this.#contexts.command(target, call, work)));
      work.audit(this.#auditRow(target, call, args, "succeeded"));
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

  // Handles and commits; a lost race begins again with fresh aggregates.
  async #commitWith(
    target: Pick<RunnableOperation, "id">,
    call: CallInfo,
    handle: (work: UnitOfWork) => Promise<void>,
  ) {
    const { store, ids, clock, lifecycle } = this.#ports;
    for (let run = 1; ; run += 1) {
      const work = new UnitOfWork(store, ids, call);
      try {
        await handle(work);
        checkAlive(call, target.id, clock.now());
        const commit = work.toCommit();
        const result = await store.commit(call.principal.tenant, commit);
        if (result.status === "committed")
          lifecycle.emit("committed", {
            tenant: call.principal.tenant,
            contexts: commit.parts.map((part) => part.context),
          });
        return { result };
      } catch (error) {
        if (!(error instanceof VersionConflict) || run >= MAX_RERUNS) throw error;
        const jitter = ids.random(1)[0]! / 256;
        await clock.sleep(Math.min(200, 2 ** run) * jitter, call.signal);
      }
    }
  }

  async #action(target: RunnableOperation, args: unknown, call: CallInfo): Promise<unknown> {
    const key = call.idempotencyKey;
    if (key === undefined) {
      const output = await this.#act(target, args, call, 1);
      await this.#commitAudit(this.#auditRow(target, call, args, "succeeded"));
      return output;
    }
    const record = { key: recordKey(target.id, call.principal, key), inputHash: hashInput(this.#ports.inputKey, args) };
    const claimed = await this.#claim(target, call, key, record);
    if (claimed.type === "replay") return replay(claimed.outcome, target);
    const write = { ...record, attempt: claimed.attempt };
    try {
      const output = await this.#act(target, args, call, claimed.clean ? 1 : claimed.attempt);
      const settled = await this.#writeRecord(
        target,
        call,
        { ...write, claimedUntil: 0, step: "settle", outcome: resultOutcome(target, output) },
        this.#auditRow(target, call, args, "succeeded"),
      );
      // Too late: the claim had lapsed and another attempt took over. What it came to is what counts.
      if (settled !== undefined) return this.#replayAction(settled, target, key, record.inputHash);
      return output;
    } catch (error) {
      const typed = this.#typed(error, target, call);
      if (isDefinite(typed))
        await this.#writeRecord(target, call, {
          ...write,
          claimedUntil: 0,
          step: "settle",
          outcome: { type: "error", error: typed.toJSON() },
        });
      // After the deadline the handler may still be at work, so the claim is left to lapse.
      else if (!(typed instanceof DeadlineExceeded))
        await this.#writeRecord(target, call, {
          ...write,
          claimedUntil: lastClaim(typed, claimed.clean),
          step: "release",
        });
      throw typed;
    }
  }

  // Takes the key for this attempt, or finds what an earlier one came to.
  async #claim(
    target: RunnableOperation,
    call: CallInfo,
    key: string,
    record: { readonly key: string; readonly inputHash: string },
  ) {
    const { store, clock } = this.#ports;
    const scope = { tenant: call.principal.tenant, context: target.context.contract.name };
    let known = await store.idempotency(scope, record.key);
    for (;;) {
      checkAlive(call, target.id, clock.now());
      const verdict =
        known === undefined
          ? ({ type: "run", attempt: 1, clean: true } as const)
          : judge(known, target, key, record.inputHash, clock.now());
      if (verdict.type === "replay") return verdict;
      const write = { ...record, claimedUntil: call.deadline };
      if (verdict.type === "unknown") {
        const error = unknownOutcome(target);
        const settled = await this.#writeRecord(target, call, {
          ...write,
          attempt: known!.attempt,
          step: "settle",
          outcome: { type: "error", error: error.toJSON() },
        });
        if (settled === undefined) throw error;
        known = settled;
        continue;
      }
      known = await this.#writeRecord(target, call, { ...write, attempt: verdict.attempt, step: "claim" });
      if (known === undefined) return verdict;
    }
  }

  #replayAction(known: IdempotencyRecord, target: RunnableOperation, key: string, inputHash: string): unknown {
    const verdict = judge(known, target, key, inputHash, this.#ports.clock.now());
    if (verdict.type !== "replay") throw unknownOutcome(target);
    return replay(verdict.outcome, target);
  }

  // The record that stands in the way, or undefined when it was written.
  async #writeRecord(
    target: RunnableOperation,
    call: CallInfo,
    idempotency: NonNullable<Commit["parts"][number]["idempotency"]>,
    audit?: AuditRow,
  ): Promise<IdempotencyRecord | undefined> {
    const context = target.context.contract.name;
    const part = {
      context,
      aggregates: [],
      events: [],
      messages: [],
      audit: audit === undefined ? [] : [audit],
      idempotency,
    };
    const result = await this.#ports.store.commit(call.principal.tenant, { parts: [part] });
    return result.status === "key-taken" ? result.record : undefined;
  }

  // Runs the handler of an action, and gives up at the deadline even when the handler does not.
  async #act(target: RunnableOperation, args: unknown, call: CallInfo, attempt: number): Promise<unknown> {
    const { clock } = this.#ports;
    const over = new AbortController();
    const done = new AbortController();
    // A signal that lives as long as the process must not collect a dependent for every call.
    const signal = call.signal === NEVER ? over.signal : AbortSignal.any([call.signal, over.signal]);
    const acting: CallInfo = { ...call, signal };
    const giveUp = new Promise<never>((_resolve, reject) => {
      signal.addEventListener(
        "abort",
        () => {
          try {
            checkAlive(acting, target.id, clock.now());
          } catch (error) {
            reject(error);
          }
        },
        { once: true },
      );
    });
    clock.sleep(call.deadline - clock.now(), done.signal).then(
      () => over.abort(new DeadlineExceeded({ operation: target.id })),
      () => undefined,
    );
    try {
      const returned = await Promise.race([
        giveUp,
        target.handle(args, this.#contexts.action(target, acting, attempt)),
      ]);
      return this.#output(target, returned);
    } finally {
      done.abort();
    }
  }

  #find(id: string, request: CallRequest, kinds: readonly OperationKind[]): RunnableOperation {
    const target = this.#operations.get(id);
    if (target === undefined || !kinds.includes(target.operation.kind)) throw new NotFound({ type: "operation", id });
    if (target.operation.permission === "internal" && request.from !== target.context.contract.name)
      throw new NotFound({ type: "operation", id });
    return target;
  }

  #begin(target: Pick<RunnableOperation, "id">, request: CallRequest, trace: CallInfo["trace"]): CallInfo {
    const { clock, ids } = this.#ports;
    const { principal, idempotencyKey } = request;
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const startedAt = clock.now();
    if (!Number.isFinite(timeoutMs) || timeoutMs < 0)
      throw new InvalidInput({
        subject: `The call of ${target.id}`,
        issues: [{ path: "timeoutMs", message: "must be a number of milliseconds" }],
      });
    if (idempotencyKey !== undefined && !/^[\x21-\x7e]{1,255}$/.test(idempotencyKey))
      throw new InvalidInput({
        subject: `The call of ${target.id}`,
        issues: [{ path: "idempotencyKey", message: "must be 1 to 255 printable ASCII characters without blanks" }],
      });
    const id =
      idempotencyKey === undefined
        ? ids.next("call")
        : stableCallId(principal.tenant, recordKey(target.id, principal, idempotencyKey));
    return {
      id,
      principal,
      startedAt,
      deadline: Math.min(startedAt + timeoutMs, request.deadline ?? Number.POSITIVE_INFINITY),
      signal: request.signal ?? NEVER,
      trace,
      correlationId: request.correlationId ?? id,
      causationId: request.causationId ?? id,
      idempotencyKey,
      after: request.after,
      from: request.from,
    };
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

  #auditRow(
    target: RunnableOperation,
    call: CallInfo,
    input: unknown,
    outcome: AuditRow["outcome"],
    error?: ArmatureError,
  ): AuditRow {
    const field = target.operation.target;
    const about = field === undefined ? undefined : (input as Record<string, unknown> | undefined)?.[field];
    return {
      id: this.#ports.ids.next("aud"),
      tenant: call.principal.tenant,
      context: target.context.contract.name,
      time: toInstant(this.#ports.clock.now()),
      actor: call.principal.actor,
      onBehalfOf: call.principal.onBehalfOf,
      operation: target.id,
      target: about === undefined ? undefined : String(about).slice(0, 200),
      outcome,
      errorCode: error?.code,
      input: input === undefined ? {} : (target.redactInput(input) as JsonObject),
      correlationId: call.correlationId,
      traceId: call.trace.traceId,
    };
  }

  async #auditRefusal(target: RunnableOperation, call: CallInfo, input: unknown, error: ArmatureError): Promise<void> {
    const outcome = isDefinite(error) && error.kind !== "unknown-outcome" ? "refused" : "failed";
    try {
      await this.#commitAudit(this.#auditRow(target, call, input, outcome, error));
    } catch (cause) {
      // The caller's error matters more than ours; the log keeps what the audit could not.
      this.#ports.logger.error(`The audit row of a refused ${target.id} could not be written`, {
        tenant: call.principal.tenant,
        traceId: call.trace.traceId,
        errorCode: error.code,
        error: String(cause),
      });
    }
  }

  async #commitAudit(row: AuditRow): Promise<void> {
    const part = { context: row.context, aggregates: [], events: [], messages: [], audit: [row] };
    await this.#ports.store.commit(row.tenant, { parts: [part] });
  }
}

// Our own limiter speaks before anything has left, unless an earlier attempt got further.
function lastClaim(error: ArmatureError, clean: boolean): number {
  return clean && error instanceof LimitExceeded ? NOTHING_HAPPENED : 0;
}

const NEVER = new AbortController().signal;
