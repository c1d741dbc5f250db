import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { about } from "./about.ts";
import { runWork } from "./bench.ts";
import { installPeers } from "./peers.ts";
import { type Report, type Row, report } from "./rows.ts";
import { markdown } from "./table.ts";
import { works } from "./works.ts";

const USAGE = `pnpm bench [name ...] [options]

  ${works.map(({ name }) => name).join(", ")}; all of them when none is named

  --quick           shows in seconds that everything runs; says nothing of speed
  --no-peers        only Armature and what is written by hand, without installing anything
  --json FILE       writes what was measured
  --markdown FILE   writes the table of a --json FILE, given by --json, into a page between its marks; measures nothing
`;

const MARKS = ["<!-- results -->", "<!-- end of results -->"] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    quick: { type: "boolean", default: false },
    "no-peers": { type: "boolean", default: false },
    json: { type: "string" },
    markdown: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const unknown = positionals.filter((name) => !works.some((work) => work.name === name));
if (unknown.length > 0 || values.help || (values.markdown !== undefined && values.json === undefined)) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}
if (values.markdown === undefined) await measure();
else writeResults(values.markdown, report.parse(JSON.parse(readFileSync(values.json!, "utf8"))));

async function measure(): Promise<void> {
  if (!values["no-peers"]) installPeers();
  const chosen = works.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const rows: Row[] = [];
  for (const work of chosen)
    rows.push(...(await runWork(work, { quick: values.quick, peers: !values["no-peers"] }, console.log)));
  const whole: Report = { about: await about(values.quick), rows };
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report.parse(whole), null, 2)}\n`);
  console.log(`${whole.about.machine}; compare the shares, the rates are the machine's.`);
}

function writeResults(file: string, results: Report): void {
  const page = readFileSync(file, "utf8");
  const [begin, end] = MARKS.map((mark) => page.indexOf(mark)) as [number, number];
  if (begin < 0 || end < begin) throw new Error(`${file} has no ${MARKS.join(" and ")}.`);
  writeFileSync(file, `${page.slice(0, begin + MARKS[0].length)}\n\n${markdown(results)}\n${page.slice(end)}`);
}
