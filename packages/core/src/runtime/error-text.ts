const LONGEST = 1_000;

/** What went wrong, in words that can be stored: a text that the store cannot hold would stop everything behind it. */
export function errorText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, LONGEST).replaceAll("\u0000", "").toWellFormed();
}
