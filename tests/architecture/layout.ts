import ts from "typescript";
import { filesUnder, lineOf, nodesOf, type SourceFile, type SourceTree, type Violation } from "./source-tree.ts";

const EMPTY_WORDS = ["util", "helper", "common", "manager", "service", "base", "impl", "type", "misc"];
const MAX_LINES = 300;
const MAX_DEPTH = 2;

export interface LayoutExceptions {
  /** Files over 300 lines, each with its reason. */
  readonly longFiles: Readonly<Record<string, string>>;
  /** Names that hold one of the empty words because the domain's language does. */
  readonly domainNames: Readonly<Record<string, string>>;
}

/** Names, folders and sizes as CONTRIBUTING.md describes them. */
export function layout(tree: SourceTree, exceptions: LayoutExceptions): readonly Violation[] {
  return [
    ...tree.files.flatMap((file) => [
      ...fileName(file, exceptions.domainNames),
      ...depth(file),
      ...exportStar(file),
      ...length(file, exceptions.longFiles),
    ]),
    ...staleExceptions(tree, exceptions),
    ...lonelyFiles(tree),
  ];
}

function* fileName(file: SourceFile, domainNames: LayoutExceptions["domainNames"]): Generator<Violation> {
  const name = file.path
    .slice(file.path.lastIndexOf("/") + 1)
    .replace(/\.ts$/, "")
    .replace(/(\.integration|\.types)?\.test$/, "");
  if (!/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(name))
    yield { rule: "file-name", file: file.path, detail: "is not kebab-case" };
  const empty = name.split(/[-.]/).find((word) => EMPTY_WORDS.includes(word.replace(/s$/, "")));
  if (empty !== undefined && domainNames[file.path] === undefined)
    yield { rule: "file-name", file: file.path, detail: `"${empty}" says nothing about what is in it` };
}

function* depth(file: SourceFile): Generator<Violation> {
  const inside = /^packages\/[^/]+\/src\/(.*)\/[^/]+$/.exec(file.path)?.[1]?.split("/").length ?? 0;
  if (inside > MAX_DEPTH)
    yield { rule: "folder-depth", file: file.path, detail: `is ${inside} folders under src; ${MAX_DEPTH} is the most` };
}

function* exportStar(file: SourceFile): Generator<Violation> {
  for (const node of nodesOf(file.ast))
    if (ts.isExportDeclaration(node) && (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause)))
      yield { rule: "explicit-exports", file: file.path, detail: `export * at ${lineOf(file, node)}` };
}

// Tests and suites may be long: they are lists, and are not read from top to bottom.
function* length(file: SourceFile, longFiles: LayoutExceptions["longFiles"]): Generator<Violation> {
  const lines = file.text.trimEnd().split("\n").length;
  if (lines > MAX_LINES && !isList(file) && longFiles[file.path] === undefined)
    yield { rule: "file-length", file: file.path, detail: `has ${lines} lines and no reason to` };
}

const isList = (file: SourceFile): boolean => file.isTest || /^(?:tests|packages\/conformance\/src)\//.test(file.path);

function* staleExceptions(tree: SourceTree, { longFiles, domainNames }: LayoutExceptions): Generator<Violation> {
  const lines = new Map(tree.files.map((file) => [file.path, file.text.trimEnd().split("\n").length]));
  for (const file of Object.keys(longFiles))
    if ((lines.get(file) ?? 0) <= MAX_LINES)
      yield {
        rule: "stale-exception",
        file,
        detail: `has ${lines.get(file) ?? "no"} lines and needs no reason any more`,
      };
  for (const file of Object.keys(domainNames))
    if (!lines.has(file)) yield { rule: "stale-exception", file, detail: "does not exist any more" };
}

// Only `src` of a package: an example, a script or a fixture may be a single file.
function* lonelyFiles(tree: SourceTree): Generator<Violation> {
  const entries = new Map<string, Set<string>>();
  for (const file of filesUnder(tree.root, "packages")) {
    const parts = file.split("/");
    if (parts[2] !== "src") continue;
    for (let end = 3; end < parts.length; end += 1) {
      const folder = parts.slice(0, end).join("/");
      entries.set(folder, (entries.get(folder) ?? new Set()).add(parts[end]!));
    }
  }
  for (const [folder, inside] of entries)
    if (inside.size === 1) yield { rule: "lonely-file", file: folder, detail: `holds nothing but ${[...inside][0]}` };
}
