import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import type { Fence, Page } from "./markdown.ts";

/** A block marked `ts run`, and what the block `text` right behind it says that it prints. */
export interface Snippet extends Fence {
  readonly output: string | undefined;
}

export function runnable(page: Page): readonly Snippet[] {
  return page.fences.flatMap((fence, index) => {
    if (fence.info !== "ts run") return [];
    const next = page.fences[index + 1];
    return [{ ...fence, output: next?.info === "text output" ? next.code : undefined }];
  });
}

/**
 * Snippets as files of this repository, where imports by package name are found: those of a package's own page among
 * what the package depends on, as its users have it.
 */
export function writeSnippets(
  root: string,
  snippets: readonly Snippet[],
): { readonly files: readonly string[]; remove(): void } {
  const folders = new Map<string, string>();
  const folderFor = (page: string): string => {
    const home = /^packages\/[^/]+(?=\/)/.exec(page)?.[0] ?? ".";
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
export function runSnippet(root: string, file: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const args = ["--conditions=@armature/source", file];
    execFile(process.execPath, args, { cwd: root, timeout: 60_000, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${path.basename(file)} failed: ${stderr || error.message}`));
    });
  });
}
