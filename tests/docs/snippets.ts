import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import type { Fence, Page } from "./markdown.ts";

/** A block marked `ts run` (or `ts run postgres` and `ts run redis`, which need a server) with those marked `ts run more` that go on with it, and what they print. */
export interface Snippet extends Fence {
  /** What the blocks `text output` right behind them say, one after the other. */
  readonly output: string | undefined;
}

/** A snippet so marked finds an empty database at DATABASE_URL. */
export const NEEDS_POSTGRES = "ts run postgres";

/** A snippet so marked finds a Redis at REDIS_URL, and at REDIS_PREFIX what its keys shall begin with. */
export const NEEDS_REDIS = "ts run redis";

export function runnable(page: Page): readonly Snippet[] {
  const snippets: Snippet[] = [];
  for (const [index, fence] of page.fences.entries()) {
    const next = page.fences[index + 1];
    const output = next?.info === "text output" ? next.code : undefined;
    if (["ts run", NEEDS_POSTGRES, NEEDS_REDIS].includes(fence.info)) snippets.push({ ...fence, output });
    if (fence.info !== "ts run more") continue;
    const before = snippets.pop();
    if (before === undefined) throw new Error(`${page.file}:${fence.line} goes on with a block that there is not.`);
    snippets.push(continued(before, fence, output));
  }
  return snippets;
}

/** Blocks that are only type-checked, `ts types`. */
export function typed(page: Page): readonly Snippet[] {
  return page.fences
    .filter(({ info }) => /^ts types( |$)/.test(info))
    .map((fence) => ({ ...fence, output: undefined }));
}

// One file, in which each line stays where its page has it.
function continued(before: Snippet, fence: Fence, output: string | undefined): Snippet {
  const end = before.line + before.code.split("\n").length - 1;
  return {
    ...before,
    code: before.code + "\n".repeat(fence.line - end) + fence.code,
    output: before.output === undefined ? output : before.output + (output ?? ""),
  };
}

/**
 * Snippets as files of this repository, where imports by package name are found: those of a package's or an
 * example's own page among what it depends on, as its users have it.
 */
export function writeSnippets(
  root: string,
  snippets: readonly Snippet[],
): { readonly files: readonly string[]; remove(): void } {
  const folders = new Map<string, string>();
  const folderFor = (page: string): string => {
    const home = /^(?:packages|examples)\/[^/]+(?=\/)/.exec(page)?.[0] ?? ".";
    const folder = folders.get(home) ?? mkdtempSync(path.join(root, home, ".snippets-"));
    folders.set(home, folder);
    return folder;
  };
  const files = snippets.map((snippet) => {
    const name = `${snippet.file.replaceAll(/[^A-Za-z0-9]+/g, "-")}-${snippet.line}.ts`;
    const file = path.join(folderFor(snippet.file), name);
    // Made a module, and moved down to the line that it has on its page.
    writeFileSync(file, `export {};${"\n".repeat(snippet.line - 1)}${snippet.code}`);
    return file;
  });
  return {
    files,
    remove: () => {
      for (const folder of folders.values()) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the compiler says, with the strictness of the repository. */
export function typeErrors(root: string, files: readonly string[]): readonly string[] {
  const configFile = path.join(root, "tsconfig.json");
  const { config } = ts.readConfigFile(configFile, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram([...files], options);
  return files.flatMap((file) => {
    const source = program.getSourceFile(file);
    if (source === undefined) return [`${file} was not compiled`];
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((each) => {
      const { line } = source.getLineAndCharacterOfPosition(each.start ?? 0);
      return `${path.basename(file)}:${line + 1} ${ts.flattenDiagnosticMessageText(each.messageText, "\n")}`;
    });
  });
}

/** Runs a snippet as a reader would, and gives what it prints. Rejects with its error output when it fails. */
export function runSnippet(root: string, file: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const args = ["--conditions=@armature/source", file];
    const options = { cwd: root, timeout: 60_000, encoding: "utf8", env: { ...process.env, ...env } } as const;
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${path.basename(file)} failed: ${stderr || error.message}`));
    });
  });
}
