import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

/** A fenced block of code. */
export interface Fence {
  readonly file: string;
  /** Line of its first line of code, from 1. */
  readonly line: number;
  /** What stands after the three backticks, `ts run`. */
  readonly info: string;
  readonly code: string;
}

export interface Page {
  /** From the root, with forward slashes. */
  readonly file: string;
  readonly fences: readonly Fence[];
  /** Where its links lead, outside of code. */
  readonly links: readonly { readonly line: number; readonly target: string }[];
  /** Anchors of its headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>;
}

const SKIPPED = new Set(["node_modules", "dist", "coverage", ".git"]);

/** Every Markdown page under a root. */
export function readPages(root: string, folder = "."): readonly Page[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const inner = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : readPages(root, inner);
    return entry.name.endsWith(".md") ? [parsePage(inner, readFileSync(path.join(root, inner), "utf8"))] : [];
  });
}

export function parsePage(file: string, text: string): Page {
  const fences: Fence[] = [];
  const links: { line: number; target: string }[] = [];
  const anchors = new Set<string>();
  let open: { mark: string; info: string; line: number; code: string[] } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^ {0,3}(`{3,}|~{3,})\s*(.*)$/.exec(line);
    if (open !== undefined) {
      if (fence?.[1]?.startsWith(open.mark) === true && fence[2] === "") {
        fences.push({ file, line: open.line, info: open.info, code: `${open.code.join("\n")}\n` });
        open = undefined;
      } else open.code.push(line);
      continue;
    }
    if (fence !== null) {
      open = { mark: fence[1]!, info: fence[2]!.trim(), line: index + 2, code: [] };
      continue;
    }
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line);
    if (heading !== null) addAnchor(anchors, heading[1]!);
    for (const target of targetsOf(line)) links.push({ line: index + 1, target });
  }
  if (open !== undefined) throw new Error(`${file}: the fence before line ${open.line} is never closed.`);
  return { file, fences, links, anchors };
}

function targetsOf(line: string): readonly string[] {
  const text = line.replace(/(`+).*?\1/g, "");
  const inline = [...text.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)];
  const definitions = [...text.matchAll(/^\s{0,3}\[[^\]]+\]:\s+(\S+)/g)];
  const html = [...text.matchAll(/\b(?:href|src)="([^"]+)"/g)];
  return [...inline, ...definitions, ...html].map((match) => match[1]!);
}

function addAnchor(anchors: Set<string>, heading: string): void {
  const slug = heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");
  let anchor = slug;
  for (let count = 1; anchors.has(anchor); count += 1) anchor = `${slug}-${count}`;
  anchors.add(anchor);
}

/** A sentence for each relative link that leads nowhere. */
export function brokenLinks(root: string, pages: readonly Page[]): readonly string[] {
  const byFile = new Map(pages.map((page) => [page.file, page]));
  return pages.flatMap((page) =>
    page.links.flatMap(({ line, target }) => {
      if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return [];
      const [file = "", anchor] = decodeURI(target).split("#");
      const absolute = file === "" ? page.file : path.posix.join(path.posix.dirname(page.file), file);
      const where = `${page.file}:${line} links to ${target}`;
      if (absolute.startsWith("..")) return [`${where}, which is outside of the repository`];
      if (file !== "" && !existsSync(path.join(root, absolute))) return [`${where}, which does not exist`];
      if (anchor === undefined || anchor === "") return [];
      const isFolder = file !== "" && statSync(path.join(root, absolute)).isDirectory();
      const there = file === "" ? page : byFile.get(isFolder ? path.posix.join(absolute, "README.md") : absolute);
      return there === undefined || there.anchors.has(anchor) ? [] : [`${where}, and there is no such heading`];
    }),
  );
}

/** Pages under `docs/` that no other page links to, so that nobody finds them. */
export function unreachablePages(pages: readonly Page[]): readonly string[] {
  const linked = new Set(
    pages.flatMap((page) =>
      page.links
        .map(({ target }) => path.posix.join(path.posix.dirname(page.file), target.split("#")[0]!))
        .filter((file) => file !== page.file)
        .flatMap((file) => [file, path.posix.join(file, "README.md")]),
    ),
  );
  return pages.map(({ file }) => file).filter((file) => file.startsWith("docs/") && !linked.has(file));
}
