import { toInstant } from "../kernel/clock.ts";
import type { ArmatureError } from "../kernel/errors.ts";
import { shortened } from "../kernel/shortened.ts";
import type { AuditRow } from "../kernel/store.ts";
import { type CallInfo, type RunnableOperation, targetId } from "./call.ts";
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

  /** Writes a row by itself. */
  async write(row: AuditRow): Promise<void> {
    const { store, telemetry } = this.#ports;
    const part = { context: row.context, aggregates: [], events: [], messages: [], audit: [row] };
    await telemetry.commit(store, row.tenant, { parts: [part] });
  }

  /** Writes the row of a call that was refused or failed. Never throws: the caller's error matters more than ours. */
  async writeRefusal(target: RunnableOperation, call: CallInfo, input: unknown, error: ArmatureError): Promise<void> {
    const outcome = isDefinite(error) && error.kind !== "unknown-outcome" ? "refused" : "failed";
    try {
      await this.write(this.#row(target, call, input, outcome, error));
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
