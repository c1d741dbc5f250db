import { ArmatureError, defineError } from "@armature/core";
import { z } from "zod";

// Neither holds a key, a value or a path: whoever reads a log may not see them.

/** The file cannot be used now: another process has it locked for too long, or it cannot be reached or written to. */
export class SqliteUnavailable extends defineError("sqlite.unavailable", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The SQLite file cannot be used now (${reason}). Nothing was changed.`,
}) {}

/** SQLite answered with an error that no caller can mend: the file is no database, or damaged. */
export class SqliteFailed extends defineError("sqlite.failed", {
  kind: "internal",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `SQLite failed (${reason}).`,
}) {}

/** Another connection is at it: worth another try. https://sqlite.org/rescode.html */
const BUSY = new Map([
  [5, "busy"],
  [6, "locked"],
]);
const UNAVAILABLE = new Map([
  ...BUSY,
  [8, "read only"],
  [10, "input or output failed"],
  [13, "the disk is full"],
  [14, "cannot be opened"],
  [15, "locking failed"],
]);

export function isBusy(error: unknown): boolean {
  return BUSY.has(codeOf(error));
}

/** The typed error for what SQLite threw. */
export function typedError(error: unknown): unknown {
  if (error instanceof ArmatureError || error instanceof RangeError) return error;
  const code = codeOf(error);
  const reason = UNAVAILABLE.get(code);
  return reason === undefined ? new SqliteFailed({ reason: `code ${code}` }) : new SqliteUnavailable({ reason });
}

// Extended codes have the plain one in their last byte.
function codeOf(error: unknown): number {
  return error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : -1;
}
