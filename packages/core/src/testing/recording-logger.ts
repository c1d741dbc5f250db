import { inspect } from "node:util";
import type { LogFields, Logger } from "../kernel/ports.ts";

export interface LogEntry {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps what it is told, for a test to look at. */
export interface RecordingLogger extends Logger {
  readonly entries: readonly LogEntry[];
  /** Everything as one text, a line for each entry, to search for what must not be there. */
  text(): string;
}

export function recordingLogger(): RecordingLogger {
  const entries: LogEntry[] = [];
  const at =
    (level: LogEntry["level"]) =>
    (message: string, fields: LogFields = {}) => {
      entries.push({ level, message, fields });
    };
  return {
    entries,
    text: () => entries.map(line).join("\n"),
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
}

// Not JSON: fields may hold errors, cycles and big integers.
function line(entry: LogEntry): string {
  return inspect(entry, { depth: 20, breakLength: Number.POSITIVE_INFINITY, compact: true }).replaceAll(
    /\s*\n\s*/g,
    " ",
  );
}
