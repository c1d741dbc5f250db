import { ArmatureError, defineError, InvalidInput, tryParse, VersionConflict } from "@armature/core";
import { z } from "zod";

/** SQLSTATEs that our own functions raise. Classes from I to Z are free for that. */
export const sqlState = {
  versionConflict: "RM001",
  /** A guard of a commit over several contexts is taken; never leaves the function. */
  refused: "RM002",
  unknownContext: "RM003",
  /** A commit was to write of an execution that somebody else has by now. */
  executionLost: "RM004",
  /** PostgreSQL's own: a lock was not had in time. */
  lockTimeout: "55P03",
} as const;

/** The database cannot be reached, or gave up in the middle of a call. */
export class StoreUnavailable extends defineError("store.unavailable", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) =>
    `The database cannot be reached or gave up (${reason}); a write that was under way may or may not have happened.`,
}) {}

/** The database lacks what the code needs: `migrate()` has not run, or not for this role. */
export class StoreNotMigrated extends defineError("store.not_migrated", {
  kind: "unavailable",
  details: z.object({ context: z.string(), reason: z.string() }),
  message: ({ context, reason }) => `The database is not ready for "${context}" (${reason}): run migrate().`,
}) {}

/** The database refused a statement for a reason that no caller can mend. The message holds no data. */
export class StoreFailed extends defineError("store.failed", {
  kind: "internal",
  details: z.object({ operation: z.string(), sqlState: z.string(), object: z.string() }),
  message: ({ operation, sqlState, object }) =>
    `The database failed in ${operation} (SQLSTATE ${sqlState}${object === "" ? "" : `, ${object}`}).`,
}) {}

/** `migrate()` cannot do what it has to. */
export class MigrationRefused extends defineError("store.migration_refused", {
  kind: "forbidden",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The database cannot be migrated: ${reason}.`,
}) {}

/** Another process works on the directory of an embedded database. */
export class DirectoryInUse extends defineError("store.directory_in_use", {
  kind: "conflict",
  details: z.object({ directory: z.string(), holder: z.string() }),
  message: ({ directory, holder }) => `The database directory "${directory}" is in use by ${holder}.`,
}) {}

// What of a driver's error is looked at. Its message and detail may quote rows, so they stay behind.
const driverError = z.object({
  code: z.string(),
  detail: z.string().optional(),
  schema: z.string().optional(),
  table: z.string().optional(),
  constraint: z.string().optional(),
});

/** The SQLSTATE of what a driver threw; undefined when it did not come from the server. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code = "" } = driverErrorOf(error);
  // EPIPE has five capitals too; no SQLSTATE starts with E.
  return /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code) ? code : undefined;
}

/** Whether the connection is of no further use after the error. */
export function breaksConnection(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === undefined || /^(?:08|28|57P|25P03|XX)/.test(state);
}

/** Two transactions were in each other's way: whoever lost may try again. */
export function isLostRace(error: unknown): boolean {
  return ["40001", "40P01"].includes(sqlStateOf(error) ?? "");
}

/** The typed error for what a driver threw while the operation of a context ran. */
export function typedError(error: unknown, context: string, operation: string): ArmatureError {
  if (error instanceof ArmatureError) return error;
  const state = sqlStateOf(error);
  if (state === undefined) return new StoreUnavailable({ reason: connectionTrouble(error) });
  if (state === sqlState.versionConflict) return versionConflict(error);
  if (isLostRace(error)) return new VersionConflict({ type: "commit", id: context });
  // 53 resources, 57 shut down or cancelled, 55P03 lock timeout, 25006 a standby, 58 disk, 3D000 no such database
  if (/^(?:08|28|53|57|58|25006|25P03|55P03|3D000)/.test(state))
    return new StoreUnavailable({ reason: `SQLSTATE ${state}` });
  const missing = notReady[state];
  if (missing !== undefined) return new StoreNotMigrated({ context, reason: missing });
  if (state === "54000")
    return new InvalidInput({
      subject: `A key or an index field of "${context}"`,
      issues: [{ path: "", message: "is too long to be indexed (about 2,600 bytes)" }],
    });
  const { schema, table, constraint } = driverErrorOf(error);
  const object = [schema, table, constraint].filter((each) => each !== undefined && each !== "").join(".");
  return new StoreFailed({ operation: `${context}.${operation}`, sqlState: state, object });
}

const notReady: Readonly<Record<string, string>> = {
  "3F000": "its schema is missing",
  "42P01": "a table is missing",
  "42703": "an index field is missing",
  "42883": "its functions are missing",
  "42501": "this role may not use it",
  [sqlState.unknownContext]: "it was not migrated",
};

function versionConflict(error: unknown): VersionConflict {
  const named = tryParse(
    z.object({ type: z.string(), id: z.string() }),
    JSON.parse(driverErrorOf(error).detail ?? "null"),
  );
  return new VersionConflict(named.ok ? named.value : { type: "aggregate", id: "" });
}

function driverErrorOf(error: unknown): Partial<z.infer<typeof driverError>> {
  const parsed = tryParse(driverError, error);
  return parsed.ok ? parsed.value : {};
}

function connectionTrouble(error: unknown): string {
  return driverErrorOf(error).code ?? "no connection";
}
