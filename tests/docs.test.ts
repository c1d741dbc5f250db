import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { freshRedis, withoutRedis } from "../packages/adapter-redis/src/fresh-redis.ts";
import { referencePages } from "../scripts/reference.ts";
import { isChecked, TESTED_ELSEWHERE, uncheckedBlocks } from "./docs/blocks.ts";
import { commandsOn, runCommands } from "./docs/commands.ts";
import { brokenLinks, parsePage, readPages, unreachablePages } from "./docs/markdown.ts";
import {
  NEEDS_POSTGRES,
  NEEDS_REDIS,
  runnable,
  runSnippet,
  typed,
  typeErrors,
  writeSnippets,
} from "./docs/snippets.ts";

const root = path.dirname(import.meta.dirname);
const pages = readPages(root);

async function emptyDatabase(skip: (note: string) => never) {
  return (await withoutServer()) ? skip("there is no PostgreSQL") : freshDatabase();
}

async function redisKeys(skip: (note: string) => never) {
  return (await withoutRedis()) ? skip("there is no Redis") : freshRedis();
}

const snippets = pages.filter(isChecked).flatMap(runnable);
const onlyTyped = pages.filter(isChecked).flatMap(typed);
const commands = pages
  .filter((page) => isChecked(page) && !TESTED_ELSEWHERE.has(page.file))
  .flatMap((page) => commandsOn(page) ?? []);

describe("the documentation", () => {
  it("has no relative link that leads nowhere", () => {
    expect(pages.length).toBeGreaterThan(10);
    expect(pages.reduce((sum, page) => sum + page.links.length, 0)).toBeGreaterThan(20);
    expect(brokenLinks(root, pages)).toEqual([]);
  });

  it("has no page under docs that no other page leads to", () => {
    expect(unreachablePages(pages)).toEqual([]);
    const lost = parsePage("docs/lost.md", "[itself](lost.md)");
    expect(unreachablePages([...pages, lost])).toEqual(["docs/lost.md"]);
  });

  it("has a reference that is as new as the contracts (`pnpm docs:reference` writes it)", async () => {
    const wanted = await referencePages();
    expect(wanted.size).toBeGreaterThan(4);
    const present = [...wanted.keys()].map((file) => {
      const absolute = path.join(root, file);
      return [file, existsSync(absolute) ? readFileSync(absolute, "utf8") : ""] as const;
    });
    expect(Object.fromEntries(present)).toEqual(Object.fromEntries(wanted));
    const stray = pages.filter(({ file }) => file.startsWith("docs/reference/") && !wanted.has(file));
    expect(stray.map(({ file }) => file)).toEqual([]);
  });

  it("has no block of code that nothing checks", () => {
    expect(pages.filter(isChecked).flatMap(({ fences }) => fences).length).toBeGreaterThan(40);
    expect(uncheckedBlocks(root, pages)).toEqual([]);
    expect(snippets.map(({ file }) => file)).toContain("README.md");
  });

  it("leads to every decision from their list", () => {
    const list = pages.find(({ file }) => file === "docs/decisions/README.md")!;
    const decisions = pages.map(({ file }) => /^docs\/decisions\/(\d{4}-.*)$/.exec(file)?.[1]).filter(Boolean);
    expect(list.links.map(({ target }) => target).filter((target) => /^\d{4}-/.test(target))).toEqual(decisions.sort());
  });
});

describe("commands that the documentation marks as runnable", () => {
  it.for(commands)("$file: all of them succeed, one after the other", { timeout: 150_000 }, async (page) => {
    const { code, printed } = await runCommands(root, page);
    expect(code, printed).toBe(0);
  });
});

describe("code that the documentation marks as runnable", () => {
  let written: ReturnType<typeof writeSnippets>;
  beforeAll(() => {
    written = writeSnippets(root, [...snippets, ...onlyTyped]);
  });
  afterAll(() => written.remove());

  it("type-checks", { timeout: 120_000 }, () => {
    expect(typeErrors(root, written.files)).toEqual([]);
  });

  it.for(snippets.map((snippet, index) => ({ name: `${snippet.file}:${snippet.line}`, snippet, index })))(
    "$name runs and prints what the page says",
    { timeout: 90_000 },
    async ({ snippet, index }, { skip }) => {
      const database = snippet.info === NEEDS_POSTGRES ? await emptyDatabase(skip) : undefined;
      const redis = snippet.info === NEEDS_REDIS ? await redisKeys(skip) : undefined;
      const env = {
        ...(database && { DATABASE_URL: database.url }),
        ...(redis && { REDIS_URL: redis.url, REDIS_PREFIX: redis.prefix }),
      };
      const printed = await runSnippet(root, written.files[index]!, env).finally(() =>
        Promise.all([database && dropAll([database]), redis?.close()]),
      );
      if (snippet.output !== undefined) expect(printed).toBe(snippet.output);
    },
  );
});

describe("the check of the documentation", () => {
  const page = (text: string) => parsePage("tests/page.md", text);

  it("finds a link to a missing page, a missing heading and a place outside of the repository", () => {
    const text = [
      "# A heading, with `code`",
      "[fine](#a-heading-with-code) [fine](../LICENSE) [fine](https://example.com/x)",
      "[gone](gone.md) and `[in code](gone-too.md)`",
      "[wrong](#another-heading)",
      "[outside](../../elsewhere.md)",
      "```md",
      "[in a fence](gone-as-well.md)",
      "```",
      '<img src="gone.svg">',
    ].join("\n");
    expect(brokenLinks(root, [page(text)])).toEqual([
      "tests/page.md:3 links to gone.md, which does not exist",
      "tests/page.md:4 links to #another-heading, and there is no such heading",
      "tests/page.md:5 links to ../../elsewhere.md, which is outside of the repository",
      "tests/page.md:9 links to gone.svg, which does not exist",
    ]);
  });

  it("takes only what is marked as runnable, with the output that is shown behind it", () => {
    const text = "```ts\nnot run\n```\n\n```ts run\nconsole.log(1);\n```\n\n```text output\n1\n```\n";
    expect(runnable(page(text))).toEqual([
      { file: "tests/page.md", line: 6, info: "ts run", code: "console.log(1);\n", output: "1\n" },
    ]);
  });

  it("says of each block that nothing checks what is missing", () => {
    const block = (info: string, code: string) => `\`\`\`${info}\n${code}\n\`\`\`\n`;
    const complaints = (file: string, ...blocks: readonly string[]) =>
      uncheckedBlocks(root, [parsePage(file, blocks.join("")), ...pages.filter((each) => each.file !== file)]).map(
        (each) => each.slice(file.length + 1),
      );
    expect(complaints("README.md", block("ts", "1;"), block("", "what is it?"), block("text", "1"))).toEqual([
      '2 is a block "ts" that nothing checks: see tests/docs/blocks.ts',
      '5 is a block "" that nothing checks: see tests/docs/blocks.ts',
      '8 is a block "text" that nothing checks: see tests/docs/blocks.ts',
    ]);
    const checked = [
      ...[block("ts run", "1;"), block("text output", "1"), block("ts types", "1;"), block("text drawing", "a → b")],
      ...[block("sh install", "npm install @armature/core zod"), block("sh scripts", "npm run verify    # checks all")],
      ...[block("text tree", "packages/      what is published\n  core/        the core\n    src/index.ts")],
      block("sh in=tests/commands.test.ts", 'import { once } from "node:events";'),
    ];
    expect(complaints("README.md", ...checked)).toEqual([]);
    const wrong = [
      ...[block("text output", "1"), block("sh install", "npm install left-pad"), block("sh scripts", "pnpm no-such")],
      ...[block("sh scripts", "rm -rf /"), block("text tree", "packages/\n  core/\n    gone.ts")],
      ...[block("sh in=tests/gone.test.ts", "true"), block("sh in=tests/commands.test.ts", "echo nobody holds this")],
    ];
    expect(complaints("README.md", ...wrong)).toEqual([
      "2 is the output of no block that is run",
      "5 installs what no page of a package installs: npm install left-pad",
      '8 names the script "no-such", which package.json does not have',
      "11 is no script: rm -rf /",
      "14 draws packages/core/gone.ts, which does not exist",
      "19 names tests/gone.test.ts, which does not exist",
      "22 says what tests/commands.test.ts does not hold: echo nobody holds this",
    ]);
  });

  it("says of a quotation when its file has no such region", () => {
    const source = "examples/adapter-sqlite/sqlite.ts";
    const whole = readFileSync(path.join(root, source), "utf8");
    const region = /\/\/ region entry\n([\s\S]*?)\/\/ endregion/.exec(whole)?.[1];
    const quoted = (of: string, code: string) =>
      uncheckedBlocks(root, [parsePage("README.md", `\`\`\`ts of=${of}\n${code}\n\`\`\`\n`), ...pages.slice(1)]).filter(
        (each) => each.startsWith("README.md:2 "),
      );
    expect(quoted(source, region!)).toEqual([]);
    expect(quoted(source, region!.replace("5_000", "4_000"))).toEqual([`README.md:2 is no region of ${source}`]);
    expect(quoted("examples/gone.ts", "1;")).toEqual(["README.md:2 quotes examples/gone.ts, which does not exist"]);
  });

  it("runs commands to the first that fails, and ends what they leave running", async () => {
    const text = "```sh run\nsleep 300 & echo $!\necho here\nls no-such-file\necho not reached\n```\n";
    const { code, printed } = await runCommands(root, commandsOn(page(text))!);
    expect(code).not.toBe(0);
    expect(printed).toMatch(/^\d+\nhere\n.*no-such-file/);
    expect(printed).not.toContain("not reached");
    const left = Number.parseInt(printed, 10);
    await expect.poll(() => existsSync(`/proc/${left}/cwd`)).toBe(false);
  });

  it("goes on in the next block where a page says so, with every line in its place", () => {
    const text = [
      ...["```ts run", "const one = 1;", "```", "", "```text output", "1", "```"],
      ...["Words, and other code:", "```ts", "not run", "```"],
      ...["```ts run more", "const two = 2;", "```", "```text output", "2", "```"],
      ...["```ts run more", "const three = 3;", "```", "```ts run", "another();", "```"],
    ].join("\n");
    const [first, second, ...others] = runnable(page(text));
    const lines = text.split("\n");
    expect(first?.code.split("\n").flatMap((code, index) => (code === "" ? [] : [[index + first.line, code]]))).toEqual(
      [
        [lines.indexOf("const one = 1;") + 1, "const one = 1;"],
        [lines.indexOf("const two = 2;") + 1, "const two = 2;"],
        [lines.indexOf("const three = 3;") + 1, "const three = 3;"],
      ],
    );
    expect(first?.output).toBe("1\n2\n");
    expect([second?.code, second?.output, others]).toEqual(["another();\n", undefined, []]);
    expect(() => runnable(page("```ts run more\n```"))).toThrow("goes on with a block that there is not");
  });

  it("finds a wrong type at its line, and an error while it runs", { timeout: 60_000 }, async () => {
    const text = [
      ...["```ts run", "const fine = String(1);", "const wrong: number = fine;", "```"],
      ...["```ts run", 'throw new Error("thrown on purpose");', "```"],
    ].join("\n");
    const written = writeSnippets(root, runnable(page(text)));
    try {
      const [wrong, throwing] = written.files;
      expect(typeErrors(root, [wrong!, throwing!])).toEqual([
        "tests-page-md-2.ts:3 Type 'string' is not assignable to type 'number'.",
      ]);
      await expect(runSnippet(root, throwing!)).rejects.toThrow("thrown on purpose");
    } finally {
      written.remove();
    }
  });
});
