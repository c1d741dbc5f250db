import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Fence, Page } from "./markdown.ts";

/** The pages whose every block of code is checked. */
export function isChecked({ file }: Page): boolean {
  return /^(README|CONTRIBUTING|SECURITY)\.md$|^docs\/(?!api\/)|^(packages|examples)\/[^/]+\/README\.md$/.test(file);
}

/** Pages whose commands have a test of their own, which looks at more than that they succeed. */
export const TESTED_ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ["docs/guides/self-hosting.md", "tests/self-hosting.test.ts"],
]);

/**
 * A sentence for each block of code that nothing checks. What stands after the backticks says how it is checked:
 *
 * - `ts run`, `ts run postgres`, `ts run redis`, `ts run more`: type-checked and run, with `text output` right behind as what is printed
 * - `ts types`, `ts types file=NAME`: type-checked; with a name it lies in the folder where `sh run` runs
 * - `sh run`, `sh run repository`: run, all of a page as one script
 * - `sh install`: `npm install` of what a package's page says, which the tests of the packages do
 * - `sh scripts`: scripts of package.json that the checks of this repository or a test run
 * - `… of=FILE`: a region of FILE, `// region NAME` to `// endregion NAME` (or with `#`), word by word whatever its indentation
 * - `… in=FILE`: FILE is a test that reads this page, or holds each of the block's lines
 * - `text tree`: every path is there; `text drawing`: for the eye alone
 */
export function uncheckedBlocks(root: string, pages: readonly Page[]): readonly string[] {
  const installed = new Set(
    pages
      .filter(({ file }) => file.startsWith("packages/"))
      .flatMap(({ fences }) => fences.filter(({ info }) => info === "sh install").flatMap(commandsOf)),
  );
  return pages.filter(isChecked).flatMap((page) =>
    page.fences.flatMap((fence, index) => {
      const why = complaint(root, page, fence, page.fences[index - 1], installed);
      return why === undefined ? [] : [`${fence.file}:${fence.line} ${why}`];
    }),
  );
}

function complaint(
  root: string,
  page: Page,
  fence: Fence,
  before: Fence | undefined,
  installed: ReadonlySet<string>,
): string | undefined {
  const { info } = fence;
  if (/^ts run( postgres| redis| more)?$|^ts types( file=[\w.-]+)?$|^text drawing$/.test(info)) return;
  if (info === "text output")
    return before?.info.startsWith("ts run") ? undefined : "is the output of no block that is run";
  if (/^sh run( repository)?$/.test(info)) {
    const test = TESTED_ELSEWHERE.get(page.file);
    return test === undefined || text(root, test).includes(page.file) ? undefined : `is not run by ${test}`;
  }
  if (info === "sh install") {
    const lost = commandsOf(fence).find((line) => !line.startsWith("npm install ") || !installed.has(line));
    return lost === undefined ? undefined : `installs what no page of a package installs: ${lost}`;
  }
  if (info === "sh scripts") return scriptComplaint(root, fence);
  if (info === "text tree") {
    const gone = treePaths(fence.code).find((each) => !existsSync(path.join(root, each)));
    return gone === undefined ? undefined : `draws ${gone}, which does not exist`;
  }
  const source = /^[a-z]+ of=(\S+)$/.exec(info)?.[1];
  if (source !== undefined) return quoteComplaint(root, source, fence);
  const test = /^[a-z]+ in=(\S+\.test\.ts)$/.exec(info)?.[1];
  if (test === undefined) return `is a block "${info}" that nothing checks: see tests/docs/blocks.ts`;
  if (!existsSync(path.join(root, test))) return `names ${test}, which does not exist`;
  const relative = path.posix.relative(path.posix.dirname(test), page.file);
  if (text(root, test).includes(page.file) || text(root, test).includes(`"${relative}"`)) return;
  const missing = commandsOf(fence).find((line) => !text(root, test).includes(line));
  return missing === undefined ? undefined : `says what ${test} does not hold: ${missing}`;
}

/** A quotation is a whole region between `// region NAME` and `// endregion NAME`, so that nothing is left out of it unseen. */
function quoteComplaint(root: string, source: string, { code }: Pick<Fence, "code">): string | undefined {
  if (!existsSync(path.join(root, source))) return `quotes ${source}, which does not exist`;
  const regions = [
    ...text(root, source).matchAll(/^ *(?:\/\/|#) region (.+)\n([\s\S]*?)^ *(?:\/\/|#) endregion \1$/gm),
  ];
  const wanted = flush(code);
  return regions.some(([, , region]) => flush(region!) === wanted) ? undefined : `is no region of ${source}`;
}

/** Without the indentation that all lines have. */
function flush(code: string): string {
  const lines = code.replace(/^\n+|\s+$/g, "").split("\n");
  const indent = Math.min(...lines.filter((line) => line !== "").map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(indent)).join("\n");
}

/** Lines without comments and empty ones. */
export function commandsOf({ code }: Pick<Fence, "code">): readonly string[] {
  const lines = code.replaceAll(/\\\n\s*/g, "").split("\n");
  return lines.map((line) => line.replace(/(^|\s+)#.*$/, "").trim()).filter((line) => line !== "");
}

// `pnpm name …` or `npm run name`, whose program a check runs: its file, or the tool itself.
function scriptComplaint(root: string, fence: Fence): string | undefined {
  const { scripts } = JSON.parse(text(root, "package.json")) as { scripts: Record<string, string> };
  const tests = readdirSync(path.join(root, "tests"), { recursive: true, encoding: "utf8" }).filter((each) =>
    each.endsWith(".ts"),
  );
  const checks = [
    ...tests.map((each) => path.posix.join("tests", each)),
    "benchmarks/run.test.ts",
    "scripts/verify.mjs",
    ".ci/run",
  ]
    .map((each) => text(root, each))
    .join("\n");
  for (const line of commandsOf(fence)) {
    const name = /^(?:npm run|pnpm) ([\w:-]+)/.exec(line)?.[1];
    if (name === undefined) return `is no script: ${line}`;
    if (name === "install") continue;
    const script = scripts[name];
    if (script === undefined) return `names the script "${name}", which package.json does not have`;
    const program = /(?:scripts|benchmarks)\/(?!with-toolchain)\S+/.exec(script)?.[0] ?? script.split(" ")[0]!;
    const known = [`"${program}`, `../${program}"`, `"${name}"`, `run ${name}`];
    if (!known.some((each) => checks.includes(each))) return `names the script "${name}", which no check runs`;
  }
  return;
}

// Two blanks for each level; what follows the name is a remark.
function treePaths(code: string): readonly string[] {
  const above: string[] = [];
  return code.split("\n").flatMap((line) => {
    const [, indent, name] = /^( *)([\w./-]+)/.exec(line) ?? [];
    const depth = (indent?.length ?? 0) / 2;
    if (name === undefined || !/[/.]/.test(name) || depth > above.length) return [];
    above.splice(depth, above.length, name);
    return [path.posix.join(...above)];
  });
}

function text(root: string, file: string): string {
  const absolute = path.join(root, file);
  return existsSync(absolute) ? readFileSync(absolute, "utf8") : "";
}
