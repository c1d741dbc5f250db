import { styleText } from "node:util";

/** Something happened that should not have; the demo ends with it. */
export class Surprise extends Error {
  override readonly name = "Surprise";
}

/** Ends the demo unless this holds. */
export function expect(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Surprise(otherwise);
}

type Style = Parameters<typeof styleText>[0];

// Colour only where somebody looks: styleText asks the stream, NO_COLOR and FORCE_COLOR.
const paint = (style: Style, text: string) => styleText(style, text, { stream: process.stdout });

const started = performance.now();
let number = 0;

/** Begins a step. */
export function step(title: string): void {
  number += 1;
  const at = `${((performance.now() - started) / 1000).toFixed(1)} s`;
  console.log(`\n${paint("bold", `${number}. ${title}`)} ${paint("dim", `(${at})`)}`);
}

/** Something to read below the step. */
export function say(text: string): void {
  console.log(`   ${text}`);
}

/** Something that was promised and has been seen to hold. */
export function seen(text: string): void {
  console.log(`   ${paint("green", "✓")} ${text}`);
}

/** Rows in columns. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths = rows.reduce<number[]>((wide, row) => row.map((cell, i) => Math.max(wide[i] ?? 0, cell.length)), []);
  for (const row of rows)
    say(
      paint(
        "dim",
        row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("  ")
          .trimEnd(),
      ),
    );
}
