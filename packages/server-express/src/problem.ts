import { ArmatureError, type ErrorKind, InternalError, InvalidInput, type Logger } from "@armature/core";
import { type Exchange, type HandlerResponse, jsonResponse } from "./http-exchange.ts";

/** What an error's kind is as a status. Why: docs/decisions/0009-http-mapping.md. */
export const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  precondition: 409,
  exhausted: 429,
  unavailable: 503,
  timeout: 504,
  "unknown-outcome": 409,
  internal: 500,
};

// What HTTP has a status of its own for, finer than the kind.
const statusOfCode: Readonly<Record<string, number>> = {
  "http.method_not_allowed": 405,
  "http.body_too_large": 413,
  "http.media_type_unsupported": 415,
  "http.not_acceptable": 406,
  "http.precondition_failed": 412,
  version_mismatch: 412,
  "idempotency.key_reused": 422,
};

export function statusOf(error: { readonly code: string; readonly kind: ErrorKind }): number {
  return statusOfCode[error.code] ?? statusOfKind[error.kind];
}

/** Problem details (RFC 9457) with the error's code and kind, which programs should look at. */
export interface Problem {
  /** `urn:armature:error:connector.not_connected` */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly kind: ErrorKind;
  readonly requestId: string;
  /** What the log and the audit have the request under. */
  readonly traceId: string;
  /** Where the input does not fit. */
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
  readonly details?: unknown;
}

/** The problem that an error is. Errors of kind `internal` show a trace id and nothing else, unless declared. */
export function problemOf(error: ArmatureError, exchange: Exchange, declared: readonly string[] = []): Problem {
  if (error.kind === "internal" && !declared.includes(error.code)) return internalProblem(error, exchange);
  const { code, kind, message, details } = error;
  return {
    type: typeOf(code),
    title: titleOf(code),
    status: statusOf(error),
    detail: message,
    code,
    kind,
    requestId: exchange.requestId,
    traceId: exchange.traceId,
    ...(error instanceof InvalidInput ? inputDetails(error) : { details }),
  };
}

// The issues stand where clients look for them first, and once.
function inputDetails({ details: { issues, ...details } }: InvalidInput) {
  return { errors: issues, details };
}

function internalProblem(error: ArmatureError, { requestId, traceId }: Exchange): Problem {
  const bare = error instanceof InternalError ? error : new InternalError({ traceId });
  return {
    type: typeOf(bare.code),
    title: titleOf(bare.code),
    status: statusOf(bare),
    detail: bare.message,
    code: bare.code,
    kind: bare.kind,
    requestId,
    traceId: bare.details.traceId,
  };
}

/** The answer that refuses a request with this problem. */
export function problemResponse(problem: Problem): HandlerResponse {
  return jsonResponse(problem.status, problem, {
    "content-type": "application/problem+json; charset=utf-8",
    ...headersOf(problem),
  });
}

function headersOf({ status, code, details }: Problem): Readonly<Record<string, string>> {
  const { retryAfterMs, allow } = (details ?? {}) as { readonly retryAfterMs?: unknown; readonly allow?: unknown };
  return {
    ...(status === 401 ? { "www-authenticate": 'Bearer realm="armature"' } : {}),
    ...(code === "http.method_not_allowed" && Array.isArray(allow) ? { allow: allow.join(", ") } : {}),
    ...(typeof retryAfterMs === "number" && Number.isFinite(retryAfterMs)
      ? { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }
      : {}),
  };
}

export function typeOf(code: string): string {
  return `urn:armature:error:${code}`;
}

/** `connector.not_connected` → `Connector not connected` */
export function titleOf(code: string): string {
  const words = code.replaceAll(/[._]/g, " ");
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

/**
 * The error as one that can be answered: what nobody foresaw becomes an internal one. The log gets what the answer
 * does not say.
 */
export function typedError(
  error: unknown,
  { requestId, traceId, operation }: Exchange,
  logger: Logger | undefined,
): ArmatureError {
  // The pipeline has logged what it made an internal error of.
  if (error instanceof InternalError) return error;
  const foreseen = error instanceof ArmatureError;
  if (!foreseen || error.kind === "internal")
    logger?.error("A request failed unexpectedly", {
      requestId,
      traceId,
      ...(operation === undefined ? {} : { operation }),
      error: error instanceof Error ? (error.stack ?? String(error)) : String(error),
    });
  return foreseen ? error : new InternalError({ traceId }, { cause: error });
}
