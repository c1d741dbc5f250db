import { InternalError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/schema.ts";
import type { CallInfo } from "./call-info.ts";

/** PostgreSQL's jsonb cannot hold these texts; a value that does is a defect of the context that made it. */
export function assertStorable(value: JsonObject, call: CallInfo): void {
  if (!isStorable(value))
    throw new InternalError(
      { traceId: call.trace.traceId },
      { cause: new TypeError("A state, event or message holds text with NUL or a lone surrogate.") },
    );
}

/** Whether every text in it can be stored: no NUL characters, no lone surrogates. */
export function isStorable(value: unknown): boolean {
  if (typeof value === "string") return isText(value);
  if (value === null || typeof value !== "object") return true;
  if (Array.isArray(value)) return value.every(isStorable);
  for (const key in value) if (!isKey(key) || !isStorable((value as Record<string, unknown>)[key])) return false;
  return true;
}

function isText(text: string): boolean {
  return !text.includes("\u0000") && text.isWellFormed();
}

/** Keys that can be stored: they are a schema's, so the same ones come again and again. */
const known = new Set<string>();
const MOST_KNOWN = 1_000;

function isKey(key: string): boolean {
  if (known.has(key)) return true;
  if (!isText(key)) return false;
  if (known.size < MOST_KNOWN && key.length <= 64) known.add(key);
  return true;
}
