/** The text, or its beginning and `…` when it is longer than that many UTF-16 units. Never half a character. */
export function shortened(text: string, longest: number): string {
  if (text.length <= longest) return text;
  // A database takes no lone surrogate.
  return `${text.slice(0, longest).replace(/[\ud800-\udbff]$/, "")}…`;
}
