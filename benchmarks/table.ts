import type { Report, Row } from "./rows.ts";

const COLUMNS = ["work", "subject", "median", "p95", "unit", "of the floor", "of ours"];

/** Rows as text in columns, and below them what some subjects do less. */
export function table(rows: readonly Row[], notes: ReadonlyMap<string, string>): string {
  const lines = [COLUMNS, ...rows.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
  const below = [...notes].filter(([subject]) => rows.some((row) => row.subject === subject));
  return [...text, ...below.map(([subject, note]) => `  ${subject}: ${note}`), ""].join("\n");
}

/** A report as a section of a page. */
export function markdown({ about, rows }: Report): string {
  const versions = Object.entries(about.versions).map(([name, version]) => `${name} ${version}`);
  const works = [...new Set(rows.map(({ work }) => work.split(" ")[0]!))];
  return [
    `${about.date.slice(0, 10)}, ${about.machine}; ${versions.join(", ")}.${about.quick ? " **A quick run: it says nothing of speed.**" : ""}`,
    ...works.flatMap((work) => [
      "",
      `### ${work}`,
      "",
      `| ${COLUMNS.join(" | ")} |`,
      `| ${COLUMNS.map((_, column) => (column < 2 ? "---" : "--:")).join(" | ")} |`,
      ...rows.filter((row) => row.work.split(" ")[0] === work).map((row) => `| ${cells(row).join(" | ")} |`),
    ]),
    "",
  ].join("\n");
}

function cells({ work, subject, unit, median, p95, ratioToFloor, ratioToOurs }: Row): string[] {
  return [work, subject, shown(median), shown(p95), unit, share(ratioToFloor), share(ratioToOurs)];
}

const shown = (value: number) => (Math.abs(value) >= 100 ? String(Math.round(value)) : String(value));
const share = (ratio: number | null) => (ratio === null ? "" : ratio.toFixed(2));
