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
const since = (begin: number) => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
let number = 0;
let begun = started;

// Somebody who looks on sees how long the step has taken so far; a line that is erased before anything is printed.
let ticking: NodeJS.Timeout | undefined;
const erase = () => process.stdout.isTTY && ticking !== undefined && process.stdout.write("\r\u001b[K");

function print(line: string): void {
  erase();
  console.log(line);
}

/** Begins a step. The one before is told how long it took. */
export function step(title: string): void {
  endStep();
  number += 1;
  begun = performance.now();
  print(`\n${paint("bold", `${number}. ${title}`)}`);
  if (!process.stdout.isTTY) return;
  ticking = setInterval(() => process.stdout.write(`\r   ${paint("dim", `… ${since(begun)}`)}`), 200);
  ticking.unref();
}

function endStep(): void {
  if (performance.now() - begun > 500 && number > 0) print(paint("dim", `   took ${since(begun)}`));
  clearInterval(ticking);
  ticking = undefined;
}

/** Ends the last step, and tells how long all of them took. */
export function finish(): void {
  endStep();
  print(`\n${number} steps in ${since(started)}`);
}

/** Leaves the terminal as a message for standard error needs it. */
export function stop(): void {
  erase();
  clearInterval(ticking);
  ticking = undefined;
}

/** Something to read below the step. */
export function say(text: string): void {
  print(`   ${text}`);
}

/** Something that was promised and has been seen to hold. */
export function seen(text: string): void {
  print(`   ${paint("green", "✓")} ${text}`);
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
