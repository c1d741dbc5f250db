import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import ts from "typescript";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { importName } from "../../scripts/public-packages.ts";
import { parsePage } from "../docs/markdown.ts";
import { folderOf, type Host, hosts, run, start } from "./hosts.ts";
import { tarballsIn } from "./tarballs.ts";

const scratch = inject("scratch");
const tarballs = tarballsIn(path.join(scratch, "tarballs"));
const log = (name: string) => readFileSync(path.join(scratch, `${name}.log`), "utf8");

const installed = hosts(tarballs);
const files = installed.flatMap((host) =>
  host.snippets.map((snippet) => ({ host, snippet, file: fileOf(host, snippet) })),
);

function fileOf(host: Host, { file, line }: Host["snippets"][number]): string {
  return path.join(folderOf(scratch, "isolated", host.name), `${file.replaceAll(/[^A-Za-z0-9]+/g, "-")}-${line}.ts`);
}

describe("a host that follows the page of a package", () => {
  beforeAll(() => {
    // Moved down to the line that it has on its page.
    for (const { file, snippet } of files)
      writeFileSync(file, `export {};${"\n".repeat(snippet.line - 1)}${snippet.code}`);
  });

  it("is there for each package", () => {
    expect(installed.length).toBe(tarballs.length + 1);
    expect(files.length).toBeGreaterThan(5);
  });

  it.each([
    ["NodeNext", ts.ModuleKind.NodeNext, ts.ModuleResolutionKind.NodeNext],
    ["Bundler", ts.ModuleKind.ESNext, ts.ModuleResolutionKind.Bundler],
  ] as const)("type-checks under %s, into every declaration that it reaches", (_name, module, moduleResolution) => {
    // Every entry point, whether a page shows it or not.
    const entries = tarballs.map(({ source, manifest }) => {
      const file = path.join(folderOf(scratch, "isolated", path.basename(source.directory)), "entries.ts");
      const lines = Object.keys(manifest.exports).map(
        (subpath) => `export * from ${JSON.stringify(importName(manifest, subpath))};`,
      );
      writeFileSync(file, `${lines.join("\n")}\n`);
      return file;
    });
    const program = ts.createProgram([...entries, ...files.map(({ file }) => file)], {
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      target: ts.ScriptTarget.ES2024,
      lib: ["lib.es2024.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.asynciterable.d.ts"],
      module,
      moduleResolution,
      types: ["node"],
      typeRoots: [path.join(folderOf(scratch, "isolated"), "node_modules", "@types")],
    });
    const looked = program.getSourceFiles().filter(({ fileName }) => fileName.includes("/@armature/"));
    expect(looked.length).toBeGreaterThanOrEqual(tarballs.length);
    const errors = ts.getPreEmitDiagnostics(program).map(({ file, messageText, start: at }) => {
      const where =
        file === undefined
          ? ""
          : `${path.relative(scratch, file.fileName)}:${file.getLineAndCharacterOfPosition(at ?? 0).line + 1}`;
      return `${where} ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    });
    expect(errors).toEqual([]);
  });

  it.each(files.map((each) => ({ name: `${each.snippet.file}:${each.snippet.line}`, ...each })))(
    "runs $name, which prints what the page says",
    async ({ file, snippet }) => {
      const { stdout } = await run(process.execPath, [file], path.dirname(file));
      if (snippet.output !== undefined) expect(stdout).toBe(snippet.output);
    },
  );

  // What is made of tests can only be imported where tests run.
  const suites = tarballs.filter(({ manifest }) => manifest.peerDependencies?.["vitest"] !== undefined);
  const importable = tarballs.filter((tarball) => !suites.includes(tarball));

  it.each(importable.map((tarball) => ({ name: tarball.manifest.name, tarball })))(
    "imports every entry of $name",
    async ({ tarball }) => {
      const { source, manifest } = tarball;
      for (const subpath of Object.keys(manifest.exports)) {
        const code = `if (Object.keys(await import(${JSON.stringify(importName(manifest, subpath))})).length === 0) throw new Error("nothing");`;
        const ended = await start(
          process.execPath,
          ["--input-type=module", "-e", code],
          folderOf(scratch, "isolated", path.basename(source.directory)),
        );
        expect(ended.code === 0 ? "" : ended.printed).toBe("");
      }
    },
  );

  it("runs the suites of its page", async () => {
    expect(suites.map(({ manifest }) => manifest.name)).toEqual(["@armature/conformance"]);
    const { fences } = parsePage("README.md", readFileSync(path.join(suites[0]!.directory, "README.md"), "utf8"));
    const folder = folderOf(scratch, "isolated", path.basename(suites[0]!.source.directory));
    writeFileSync(path.join(folder, "conformance.test.ts"), fences.find(({ info }) => info === "ts types")!.code);
    const results = path.join(folder, "results.json");
    const vitest = path.join(folder, "node_modules", "vitest", "vitest.mjs");
    await run(process.execPath, [vitest, "run", "--reporter=json", `--outputFile=${results}`], folder);
    const report = JSON.parse(readFileSync(results, "utf8")) as { numPassedTests: number; numFailedTests: number };
    expect(report.numFailedTests).toBe(0);
    expect(report.numPassedTests).toBeGreaterThan(50);
  });
});

describe("npm, with everything installed beside each other", () => {
  const flat = folderOf(scratch, "flat");

  it("has no peer that does not fit, and warns of none", async () => {
    expect(log("flat")).not.toMatch(/peer|ERESOLVE|EBADENGINE|deprecated/i);
    const listed = JSON.parse((await run("npm", ["ls", "--all", "--json"], flat)).stdout) as { problems?: string[] };
    expect(listed.problems ?? []).toEqual([]);
  });

  it("has one copy of what has to be one", async () => {
    interface Node {
      readonly version?: string;
      readonly dependencies?: Readonly<Record<string, Node>>;
    }
    const found = new Map<string, Set<string>>();
    const visit = (node: Node) => {
      for (const [name, each] of Object.entries(node.dependencies ?? {})) {
        if (each.version !== undefined) found.set(name, (found.get(name) ?? new Set()).add(each.version));
        visit(each);
      }
    };
    visit(JSON.parse((await run("npm", ["ls", "--all", "--json"], flat)).stdout) as Node);
    for (const name of ["zod", "express", "pg", "@opentelemetry/api", ...tarballs.map(({ manifest }) => manifest.name)])
      expect([name, found.get(name)?.size]).toEqual([name, 1]);
    const copies = readdirSync(flat, { recursive: true, encoding: "utf8" })
      .filter((each) => /(^|\/)node_modules\/(zod|@armature\/core)$/.test(each.replaceAll("\\", "/")))
      .sort();
    expect(copies).toEqual(["node_modules/@armature/core", "node_modules/zod"]);
  });

  it("starts each command", async () => {
    const commands = tarballs.flatMap(({ manifest }) => Object.keys(manifest.bin ?? {}));
    expect(commands).toContain("armature-server");
    for (const command of commands)
      expect((await run("npx", ["--no-install", command, "--help"], flat)).stdout).toContain(command);
  });
});

describe("a host without zod", () => {
  const imported = (folder: string) =>
    start(
      process.execPath,
      ["--input-type=module", "-e", 'await import("@armature/core"); console.log("imported");'],
      folder,
    );

  it("gets it from npm, without a word", async () => {
    expect(log("alone")).not.toMatch(/peer|ERESOLVE|deprecated/i);
    expect((await imported(folderOf(scratch, "alone"))).stdout).toBe("imported\n");
  });

  it("is told by name what is missing, where its package manager installs no peers", async () => {
    const checked = await start("pnpm", ["peers", "check"], folderOf(scratch, "no-zod"));
    expect(checked.printed).toMatch(/zod/);
    const { code, printed } = await imported(folderOf(scratch, "no-zod"));
    expect(code).not.toBe(0);
    expect(printed).toMatch(/Cannot find package 'zod' imported from .*@armature\/core\/dist\//);
  });
});
