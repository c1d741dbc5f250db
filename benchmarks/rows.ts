import { z } from "zod";

/** More is better in those per second; less is better in all others. */
export const units = [
  "calls/s",
  "events/s",
  "requests/s",
  "workflows/s",
  "activities/s",
  "µs",
  "ms",
  "MB",
  "%",
  "×",
  "reorders",
  "statements/min",
] as const;
export type Unit = (typeof units)[number];

const subject = z
  .string()
  .regex(/^(armature|floor|(@[a-z0-9.-]+\/)?[a-z0-9.-]+@\d[\w.-]*)( \([^()]+\))?$/, "is no subject");

/** What was measured of one subject at one piece of work. */
export const row = z.strictObject({
  work: z.string().min(1),
  subject,
  unit: z.enum(units),
  median: z.number(),
  /** What 95 of 100 runs kept to: of rates a low one, of durations a high one. */
  p95: z.number(),
  runs: z.int().min(1),
  /** How good it is beside the floor: 0.5 is half the rate, or twice the time. None where there is no floor. */
  ratioToFloor: z.number().nullable(),
  /** The same beside Armature's first row. */
  ratioToOurs: z.number().nullable(),
});
export type Row = z.infer<typeof row>;

/** A run of the benchmarks, as `--json` writes it. */
export const report = z.strictObject({
  about: z.strictObject({
    date: z.iso.datetime(),
    quick: z.boolean(),
    machine: z.string(),
    versions: z.record(z.string(), z.string()),
  }),
  rows: z.array(row),
});
export type Report = z.infer<typeof report>;

/** What was measured of one subject. */
export interface Measured {
  readonly subject: string;
  readonly values: readonly number[];
}

/** The rows of one comparison. */
export function toRows(work: string, unit: Unit, measured: readonly Measured[]): Row[] {
  const rate = unit.endsWith("/s");
  const rows = measured.map(({ subject, values }) => ({
    work,
    subject,
    unit,
    median: rounded(quantile(values, 0.5)),
    p95: rounded(quantile(values, rate ? 0.05 : 0.95)),
    runs: values.length,
  }));
  const medianOf = (named: (subject: string) => boolean) => rows.find((each) => named(each.subject))?.median;
  const floor = medianOf((name) => name === "floor");
  const ours = medianOf((name) => name === "armature" || name.startsWith("armature ("));
  const ratio = (median: number, base: number | undefined) => {
    if (base === undefined || base === 0 || median === 0) return null;
    return rounded(rate ? median / base : base / median);
  };
  return rows.map((each) => ({
    ...each,
    ratioToFloor: ratio(each.median, floor),
    ratioToOurs: ratio(each.median, ours),
  }));
}

/** The value that this share of the others does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const rounded = (value: number) => Number(value.toPrecision(4));
