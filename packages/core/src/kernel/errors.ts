import { z } from "zod";
import { type Schema, tryParse } from "./schema.ts";

/** What sort of answer an error is. Closed: callers may switch over it, HTTP maps it to a status. */
export type ErrorKind =
  | "invalid"
  | "unauthenticated"
  | "forbidden"
  | "not-found"
  | "conflict"
  | "precondition"
  | "exhausted"
  | "unavailable"
  | "timeout"
  | "unknown-outcome"
  | "internal";

/** An error as it travels over a wire or is stored in an idempotency record. */
export interface ErrorRecord {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly message: string;
  readonly details: unknown;
}

/** Base of every error that Armature or a context refuses with. `details` never holds a secret. */
export abstract class ArmatureError<Code extends string = string, Details = unknown> extends Error {
  abstract readonly code: Code;
  abstract readonly kind: ErrorKind;
  readonly details: Details;

  constructor(message: string, details: Details, options?: ErrorOptions) {
    super(message, options);
    this.details = details;
    this.name = new.target.name;
  }

  toJSON(): ErrorRecord {
    return { code: this.code, kind: this.kind, message: this.message, details: this.details };
  }
}

/** A class made by `defineError`, as contracts list it. */
export interface ErrorClass {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly details: Schema;
  // biome-ignore lint/suspicious/noExplicitAny: the constraint must accept every details type
  new (details: any, options?: ErrorOptions): ArmatureError;
}

/**
 * Declares an error: `class NotConnected extends defineError("connector.not_connected", { … }) {}`.
 * Its constructor takes only `details`, so that an error revived from a wire is `new Class(details)`.
 */
export function defineError<const Code extends string, Details>(
  code: Code,
  definition: {
    readonly kind: ErrorKind;
    readonly details: Schema<Details>;
    readonly message: (details: Details) => string;
  },
) {
  return class extends ArmatureError<Code, Details> {
    static readonly code = code;
    static readonly kind = definition.kind;
    static readonly details = definition.details;
    readonly code: Code = code;
    readonly kind: ErrorKind = definition.kind;

    constructor(details: Details, options?: ErrorOptions) {
      super(definition.message(details), details, options);
    }
  };
}

/** Builds the typed error of a record again. A code that nobody knows is kept as `UnrecognizedError`. */
export function reviveError(record: ErrorRecord, known: readonly ErrorClass[]): ArmatureError {
  const found = [...known, ...kernelErrors].find((candidate) => candidate.code === record.code);
  if (found !== undefined) {
    const details = tryParse(found.details, record.details);
    if (details.ok) return new found(details.value);
  }
  return new UnrecognizedError(record);
}

/** An error whose class this process does not know: code, kind and sentence are kept as they came. */
export class UnrecognizedError extends ArmatureError<string, unknown> {
  readonly code: string;
  readonly kind: ErrorKind;

  constructor(record: ErrorRecord) {
    super(record.message, record.details);
    this.code = record.code;
    this.kind = record.kind;
  }
}

const issue = z.object({ path: z.string(), message: z.string() });
const none = z.object({});

// A message is what follows a name. Where the value itself is meant, there is none; a host's own may be a whole clause.
function clause({ path, message }: z.infer<typeof issue>): string {
  if (path !== "") return `${path} ${message}`;
  return /^(?:is|has|was|must|holds|fits|needs|nests|does|belongs|cannot|contains)\b/.test(message)
    ? `it ${message}`
    : message;
}

/** Input that does not fit its schema; `issues` says where. */
export class InvalidInput extends defineError("invalid_input", {
  kind: "invalid",
  details: z.object({ subject: z.string(), issues: z.array(issue) }),
  message: ({ subject, issues }) => {
    const more = issues.length > 5 ? `; and ${issues.length - 5} more` : "";
    return `${subject} is not valid: ${issues.slice(0, 5).map(clause).join("; ")}${more}.`;
  },
}) {}

/** A stored or received value that does not fit its schema: data of another version, or a defect. */
export class CorruptData extends defineError("corrupt_data", {
  kind: "internal",
  details: z.object({ subject: z.string(), issues: z.array(issue) }),
  message: ({ subject, issues }) =>
    `${subject} does not fit its schema: ${issues
      .slice(0, 3)
      .map((each) => `${each.path} ${each.message}`)
      .join("; ")}`,
}) {}

/** No principal could be established from what the caller presented. */
export class Unauthenticated extends defineError("unauthenticated", {
  kind: "unauthenticated",
  details: none,
  message: () => "The caller is not authenticated: the credential is missing, unknown or revoked.",
}) {}

/** The principal lacks the operation's permission. */
export class Forbidden extends defineError("forbidden", {
  kind: "forbidden",
  details: z.object({ permission: z.string() }),
  message: ({ permission }) => `The caller lacks the permission "${permission}".`,
}) {}

/** Nothing with this id exists in the caller's tenant. */
export class NotFound extends defineError("not_found", {
  kind: "not-found",
  details: z.object({ type: z.string(), id: z.string() }),
  message: ({ type, id }) => `There is no ${type} "${id}".`,
}) {}

/** Something with this id exists already. */
export class AlreadyExists extends defineError("already_exists", {
  kind: "conflict",
  details: z.object({ type: z.string(), id: z.string() }),
  message: ({ type, id }) => `The ${type} "${id}" exists already.`,
}) {}

/** Another writer changed what this call had loaded. The pipeline reruns a command a few times before it gives up. */
export class VersionConflict extends defineError("version_conflict", {
  kind: "conflict",
  details: z.object({ type: z.string(), id: z.string() }),
  message: ({ type, id }) => `The ${type} "${id}" was changed by somebody else at the same time.`,
}) {}

/** What the call is about is not at the version that its caller has seen. */
export class VersionMismatch extends defineError("version_mismatch", {
  kind: "precondition",
  details: z.object({ type: z.string(), id: z.string(), expected: z.number(), actual: z.number() }),
  message: ({ type, id, expected, actual }) =>
    `The ${type} "${id}" is at version ${actual}, not ${expected}: it was changed since you read it.`,
}) {}

/** The idempotency key was used before with another input. */
export class IdempotencyKeyReused extends defineError("idempotency.key_reused", {
  kind: "invalid",
  details: z.object({ key: z.string() }),
  message: ({ key }) => `The idempotency key "${key}" was used before with another input.`,
}) {}

/** The first call with this idempotency key is still under way. */
export class IdempotencyInProgress extends defineError("idempotency.in_progress", {
  kind: "conflict",
  details: z.object({ key: z.string(), retryAfterMs: z.number() }),
  message: ({ key, retryAfterMs }) =>
    `The first call with the idempotency key "${key}" is still under way; ask again in ${Math.ceil(retryAfterMs / 1000)} s at the latest.`,
}) {}

/** The call with this key was done before, and its result held a secret that is not kept. */
export class IdempotencyResultNotKept extends defineError("idempotency.result_not_kept", {
  kind: "conflict",
  details: z.object({ key: z.string() }),
  message: ({ key }) =>
    `The call with the idempotency key "${key}" was done before; its result held a secret, shown once and not kept.`,
}) {}

/** The call's deadline passed before it was done. */
export class DeadlineExceeded extends defineError("deadline_exceeded", {
  kind: "timeout",
  details: z.object({ operation: z.string() }),
  message: ({ operation }) => `${operation} was not done by its deadline.`,
}) {}

/** The caller gave up before the work was done. */
export class Canceled extends defineError("canceled", {
  kind: "timeout",
  details: z.object({ operation: z.string() }),
  message: ({ operation }) => `${operation} was canceled by its caller.`,
}) {}

/** An earlier attempt may or may not have had its effect, and it cannot be repeated safely. */
export class UnknownOutcome extends defineError("unknown_outcome", {
  kind: "unknown-outcome",
  details: z.object({ operation: z.string() }),
  message: ({ operation }) =>
    `An earlier attempt of ${operation} was cut off; it may or may not have happened, and repeating it is not safe.`,
}) {}

/** What went wrong is not the caller's to know; the log has it under the trace id. */
export class InternalError extends defineError("internal", {
  kind: "internal",
  details: z.object({ traceId: z.string() }),
  message: ({ traceId }) => `Something went wrong on our side (trace ${traceId}).`,
}) {}

/** A limit is reached; ask again after `retryAfterMs`. */
export class LimitExceeded extends defineError("limit_exceeded", {
  kind: "exhausted",
  details: z.object({ limit: z.string(), retryAfterMs: z.number() }),
  message: ({ limit, retryAfterMs }) =>
    `The limit "${limit}" is reached; ask again in ${Math.ceil(retryAfterMs / 1000)} s.`,
}) {}

/** The application is closing. Another process may take the call. */
export class ShuttingDown extends defineError("shutting_down", {
  kind: "unavailable",
  details: none,
  message: () => "The application is closing and takes no more calls.",
}) {}

export const kernelErrors: readonly ErrorClass[] = [
  InvalidInput,
  CorruptData,
  Unauthenticated,
  Forbidden,
  NotFound,
  AlreadyExists,
  VersionConflict,
  VersionMismatch,
  IdempotencyKeyReused,
  IdempotencyInProgress,
  IdempotencyResultNotKept,
  DeadlineExceeded,
  Canceled,
  UnknownOutcome,
  InternalError,
  LimitExceeded,
  ShuttingDown,
];
