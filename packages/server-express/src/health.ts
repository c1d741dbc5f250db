import { ArmatureError } from "@armature/core";
import { NotReady } from "./http-errors.ts";
import { type HandlerResponse, type HttpApp, jsonResponse } from "./http-exchange.ts";

/** Longer than a healthy part takes to answer, shorter than a probe waits. */
const READY_TIMEOUT_MS = 5_000;

/** The process is up: no I/O, no authentication. */
export function health(): HandlerResponse {
  return jsonResponse(200, { status: "up" });
}

/**
 * Whether everything that the server needs answers.
 *
 * Anybody may ask, so those who ask at the same time share one look, and the answer names no host and no cause.
 */
export function readiness(app: HttpApp, closing: AbortSignal | undefined): () => Promise<HandlerResponse> {
  let looking: Promise<void> | undefined;
  return async () => {
    if (closing?.aborted === true) throw new NotReady({ reason: "it is shutting down" });
    looking ??= within(READY_TIMEOUT_MS, app.ready()).finally(() => {
      looking = undefined;
    });
    try {
      await looking;
    } catch (cause) {
      const reason = cause instanceof ArmatureError ? ` (${cause.code})` : "";
      throw new NotReady({ reason: `something that it needs does not answer${reason}` }, { cause });
    }
    return jsonResponse(200, { status: "ready" });
  };
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new NotReady({ reason: "no answer in time" })), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
