const LONGEST_MS = 24 * 3_600_000;

/** The value of a `Retry-After` header as milliseconds from now: seconds or an HTTP date (RFC 9110, 10.2.3). */
export function retryAfterOf(header: string | null | undefined, now: number): number | undefined {
  const value = header?.trim();
  if (value === undefined || value === "") return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Math.min(Number(value) * 1000, LONGEST_MS);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - now), LONGEST_MS);
}
