// `pnpm faults:processes --kills 100`: processes that write, relay and consume on a PostgreSQL and a Redis of their own,
// while one kind of thing after the other is killed. Ends with 1 when something was lost, out of order or done twice.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { KINDS, type KindResult, type Progress, runKind } from "../tests/processes/kinds.ts";

const { values } = parseArgs({
  // pnpm 12 hands over the `--` that separates its own options.
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: { kills: { type: "string", default: "20" }, kind: { type: "string" }, json: { type: "string" } },
});
if (!/^\d{1,6}$/.test(values.kills)) throw new TypeError("--kills is a whole number: how often each kind is killed.");
const kind = KINDS.find((each) => each === values.kind);
if (values.kind !== undefined && kind === undefined) throw new TypeError(`--kind is one of ${KINDS.join(", ")}.`);

const COLUMNS = [
  ["kind", ({ kind: name }) => name],
  ["kills", ({ kills }) => kills],
  ["written", ({ acknowledged }) => acknowledged],
  ["delivered", ({ delivered }) => delivered],
  ["repeated", ({ repeated }) => repeated],
  ["out of order", ({ outOfOrder }) => outOfOrder],
  ["lost", ({ lost }) => lost],
  ["twice", ({ twice }) => twice],
  ["forgotten", ({ forgotten }) => forgotten],
  ["slowest", ({ slowestMs }) => `${(slowestMs / 1000).toFixed(1)} s`],
  ["took", ({ seconds }) => `${seconds.toFixed(0)} s`],
] as const satisfies readonly (readonly [string, (result: KindResult) => string | number])[];

const results: KindResult[] = [];
for (const each of kind === undefined ? KINDS : [kind]) {
  results.push(await runKind(each, Number(values.kills), progressLine()));
  if (process.stdout.isTTY) process.stdout.write("\r\u001b[K");
}
const rows = [
  COLUMNS.map(([name]) => name),
  ...results.map((result) => COLUMNS.map(([, show]) => String(show(result)))),
];
const widths = COLUMNS.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
for (const row of rows)
  console.log(row.map((text, at) => (at === 0 ? text.padEnd(widths[at]!) : text.padStart(widths[at]!))).join("  "));
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ kinds: results }, undefined, 2)}\n`);

const violated = results.flatMap(({ kind: name, violations }) => violations.map((each) => `${name}: ${each}`));
for (const sentence of violated) console.log(`VIOLATED: ${sentence}`);
if (violated.length === 0) console.log("Nothing was violated.");
process.exitCode = violated.length === 0 ? 0 : 1;

/** One line that is written over on a terminal; elsewhere a line every ten seconds. */
function progressLine(): (now: Progress) => void {
  let last = performance.now();
  return ({ kind: name, kills, acknowledged, delivered }) => {
    const line = `${name}: ${kills} of ${values.kills} kills, ${acknowledged} written, ${delivered} delivered`;
    if (process.stdout.isTTY) process.stdout.write(`\r\u001b[K${line}`);
    else if (performance.now() - last > 10_000) {
      console.log(line);
      last = performance.now();
    }
  };
}
