import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

/** One place where a rule does not hold. */
export interface Violation {
  readonly rule: string;
  /** Relative to the root, with forward slashes. */
  readonly file: string;
  readonly detail: string;
}

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Ends in `.test.ts`. */
  readonly isTest: boolean;
  readonly ast: ts.SourceFile;
}

/** The TypeScript sources under a root, parsed. Rules take one of these, so they run on fixtures as on the repository. */
export interface SourceTree {
  readonly root: string;
  readonly files: readonly SourceFile[];
}

const FOLDERS = ["packages", "examples", "scripts", "tests"];
const SKIPPED = new Set(["node_modules", "dist", "coverage"]);

export function readSources(root: string): SourceTree {
  const files = FOLDERS.flatMap((folder) => filesUnder(root, folder))
    .filter((file) => /\.m?ts$/.test(file) && !file.endsWith(".d.ts"))
    .map((file): SourceFile => {
      const text = readFileSync(path.join(root, file), "utf8");
      const ast = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
      return { path: file, text, isTest: file.endsWith(".test.ts"), ast };
    });
  return { root, files };
}

/** Paths of all files in a folder, relative to the root. Empty when the folder does not exist. */
export function filesUnder(root: string, folder: string): readonly string[] {
  let entries: ReturnType<typeof readEntries>;
  try {
    entries = readEntries(path.join(root, folder));
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const inner = `${folder}/${entry.name}`;
    if (entry.isDirectory())
      return SKIPPED.has(entry.name) || entry.name.startsWith(".") ? [] : filesUnder(root, inner);
    return entry.isFile() ? [inner] : [];
  });
}

function readEntries(directory: string) {
  return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Every node below, depth first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  const children: ts.Node[] = [];
  node.forEachChild((child) => void children.push(child));
  for (const child of children) {
    yield child;
    yield* nodesOf(child);
  }
}

/** `line 12` */
export function lineOf(file: SourceFile, node: ts.Node): string {
  return `line ${file.ast.getLineAndCharacterOfPosition(node.getStart(file.ast)).line + 1}`;
}

/** Whether a declaration has the keyword `export`. */
export function isExported(node: ts.Node): boolean {
  return (
    ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
  );
}
