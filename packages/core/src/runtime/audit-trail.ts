import { toInstant } from "../kernel/clock.ts";
import type { ArmatureError } from "../kernel/errors.ts";
import { shortened } from "../kernel/shortened.ts";
import type { AuditRow, Counter } from "../kernel/store.ts";
import { type RunnableOperation, targetId } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import { isDefinite } from "./idempotency.ts";
import type { CallPorts } from "./runtime-ports.ts";

/** Writes down who did what and what came of it. */
export class AuditTrail {
  readonly #ports: Pick<CallPorts, "store" | "ids" | "clock" | "logger" | "telemetry">;

  constructor(ports: Pick<CallPorts, "store" | "ids" | "clock" | "logger" | "telemetry">) {
    this.#ports = ports;
  }

  /** The row of a call that succeeded. It belongs into the commit of what the call changed, where there is one. */
  succeeded(target: RunnableOperation, call: CallInfo, input: unknown): AuditRow {
    return this.#row(target, call, input, "succeeded");
  }

  /** Writes a row by itself, and what its call has counted. */
  async write(row: AuditRow, counters: readonly Counter[]): Promise<void> {
    await this.#commit(row.tenant, row.context, [row], counters);
  }

  /** Writes what a call has counted after its row was written. Never throws: nobody waits for it. */
  async writeCounts(target: RunnableOperation, call: CallInfo, counters: readonly Counter[]): Promise<void> {
    const { tenant } = call.principal;
    try {
      await this.#commit(tenant, target.context.contract.name, [], counters);
    } catch (error) {
      this.#ports.logger.error(`What ${target.id} has counted could not be written`, {
        tenant,
        traceId: call.trace.traceId,
        error: String(error),
      });
    }
  }

  /** Writes the row of a call that was refused or failed. Never throws: the caller's error matters more than ours. */
  async writeRefusal(target: RunnableOperation, call: CallInfo, input: unknown, error: ArmatureError): Promise<void> {
    const outcome = isDefinite(error) && error.kind !== "unknown-outcome" ? "refused" : "failed";
    try {
      await this.write(this.#row(target, call, input, outcome, error), call.counts.take());
    } catch (cause) {
      // The log keeps what the audit could not.
      this.#ports.logger.error(`The audit row of a refused ${target.id} could not be written`, {
        tenant: call.principal.tenant,
        traceId: call.trace.traceId,
        errorCode: error.code,
        error: String(cause),
      });
    }
  }

  async #commit(
    tenant: string,
    context: string,
    audit: readonly AuditRow[],
    counters: readonly Counter[],
  ): Promise<void> {
    const { store, telemetry } = this.#ports;
    const part = { context, aggregates: [], events: [], messages: [], audit, counters };
    await telemetry.commit(store, tenant, { parts: [part] });
  }

  #row(
    target: RunnableOperation,
    call: CallInfo,
    input: unknown,
    outcome: AuditRow["outcome"],
    error?: ArmatureError,
  ): AuditRow {
    const redacted = input === undefined ? {} : target.redactInput(input);
    const about = targetId(target, call.principal.tenant, redacted);
    return {
      id: this.#ports.ids.next("aud"),
      tenant: call.principal.tenant,
      context: target.context.contract.name,
      time: toInstant(this.#ports.clock.now()),
      actor: call.principal.actor,
      onBehalfOf: call.principal.onBehalfOf,
      credential: call.principal.credential,
      operation: target.id,
      target: about === undefined ? undefined : shortened(about, 200),
      outcome,
      errorCode: error?.code,
      input: redacted,
      correlationId: call.correlationId,
      traceId: call.trace.traceId,
    };
  }
}
