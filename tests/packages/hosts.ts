import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { root } from "../../scripts/public-packages.ts";
import { type Page, readPages } from "../docs/markdown.ts";
import { runnable, type Snippet } from "../docs/snippets.ts";
import type { Tarball } from "./tarballs.ts";

export interface Ended {
  readonly code: number;
  /** Both streams. */
  readonly printed: string;
  readonly stdout: string;
}

// What the package manager that runs the tests has set is not what a user has.
const clean = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_|pnpm_|PNPM_|INIT_CWD|NODE_OPTIONS|VITEST|NODE_ENV)/.test(name),
  ),
);

export function start(command: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...clean, NO_COLOR: "1", CI: "true" }, timeout: 240_000, encoding: "utf8" } as const;
    const child = execFile(command, args, options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (child.exitCode ?? 1), printed: `${stdout}${stderr}`, stdout }),
    );
  });
}

/** As `start`, for what has to succeed. */
export async function run(command: string, args: readonly string[], cwd: string): Promise<Ended> {
  const ended = await start(command, args, cwd);
  if (ended.code !== 0) throw new Error(`${[command, ...args].join(" ")} in ${cwd} failed:\n${ended.printed}`);
  return ended;
}

/** Somebody's project that uses packages of ours. */
export interface Host {
  /** The package whose page it follows, `core`; `all` for the pages that are about several. */
  readonly name: string;
  readonly snippets: readonly Snippet[];
}

/** What comes beside a package: declarations for who writes TypeScript, and a peer of vitest that npm adds by itself. */
const BESIDE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  express: { "@types/express": "5.0.6" },
  pg: { "@types/pg": "8.23.1" },
  vitest: { vite: "^8.0.0" },
};

const repository: Readonly<Record<string, string | undefined>> = (
  JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { devDependencies: Record<string, string> }
).devDependencies;

/** One host for each package, with the code of its page; and one with all of them, with the code of the other pages. */
export function hosts(tarballs: readonly Tarball[]): readonly Host[] {
  const pages = readPages(root);
  const own = tarballs.map(({ source }) => {
    const name = path.basename(source.directory);
    return { name, snippets: pages.filter(({ file }) => file === `packages/${name}/README.md`).flatMap(runnable) };
  });
  // What a page shows with the examples of this repository runs in this repository only.
  const others = pages
    .filter(({ file }) => file === "README.md" || /^docs\/(?!api\/)/.test(file))
    .flatMap(runnable)
    .filter(({ code }) => !code.includes("@armature-examples/"));
  return [...own, { name: "all", snippets: others }];
}

/** What a page says to install, as words: `npm install [--save-dev] a b`. */
export function installLines(page: Page): readonly (readonly string[])[] {
  return page.fences.flatMap(({ code }) =>
    [...code.matchAll(/^npm install ([^#\n]+)/gm)].map(([, words]) =>
      words!.split(/\s+/).filter((word) => word !== "" && !word.startsWith("-")),
    ),
  );
}

export const folderOf = (scratch: string, kind: "isolated" | "flat" | "alone" | "no-zod", host = "") =>
  path.join(scratch, kind, host);

/**
 * - `isolated`: each host in a pnpm workspace, where a package finds nothing but what it or its host has declared, and
 *   an unmet peer is an error. A host gets what its page says to install.
 * - `flat`: everything in one host, by npm, which refuses peers that do not fit.
 * - `alone`: core and nothing else, by npm.
 * - `no-zod`: core by pnpm, with its peer left out.
 */
export async function makeHosts(scratch: string, tarballs: readonly Tarball[]): Promise<void> {
  const pages = readPages(root);
  const local = Object.fromEntries(tarballs.map(({ manifest, file }) => [manifest.name, `file:${file}`]));
  const isolated = folderOf(scratch, "isolated");
  write(isolated, "pnpm-workspace.yaml", {
    packages: ["*"],
    overrides: local,
    autoInstallPeers: false,
    strictPeerDependencies: true,
    strictDepBuilds: false,
    hoistPattern: ["@types/*"],
  });
  write(isolated, "package.json", { private: true, devDependencies: { "@types/node": "~24.0.0" } });
  const everything = new Set<string>();
  for (const { source } of tarballs) {
    const name = path.basename(source.directory);
    const page = pages.find(({ file }) => file === `packages/${name}/README.md`);
    // A page that shows two ways to install shows the fuller one last.
    const words = page === undefined ? [] : (installLines(page).at(-1) ?? []);
    if (!words.includes(source.manifest.name))
      throw new Error(`packages/${name}/README.md does not say how to install it.`);
    for (const word of words) everything.add(word);
    write(path.join(isolated, name), "package.json", {
      private: true,
      type: "module",
      dependencies: dependencies(words, tarballs),
    });
  }
  // What a guide uses beside our packages, it names to install, or this repository has it for the same guide's test.
  for (const { code } of hosts(tarballs).at(-1)!.snippets)
    for (const [, name] of code.matchAll(/from "((?:@[^/"]+\/)?[^/":]+)[^":]*"/g))
      if (name !== undefined && repository[name] !== undefined) everything.add(name);
  const all = dependencies([...everything], tarballs);
  write(path.join(isolated, "all"), "package.json", { private: true, type: "module", dependencies: all });
  write(folderOf(scratch, "flat"), "package.json", {
    private: true,
    type: "module",
    dependencies: { ...all, ...local },
    // Else npm asks its registry for what each of ours wants of the others, which it has here.
    overrides: Object.fromEntries(Object.keys(local).map((name) => [name, `$${name}`])),
  });
  write(folderOf(scratch, "alone"), "package.json", {
    private: true,
    type: "module",
    dependencies: { "@armature/core": local["@armature/core"] },
  });
  write(folderOf(scratch, "no-zod"), "package.json", {
    private: true,
    type: "module",
    dependencies: { "@armature/core": local["@armature/core"] },
  });
  write(folderOf(scratch, "no-zod"), "pnpm-workspace.yaml", { packages: ["."], autoInstallPeers: false });
  copyFileSync(
    path.join(import.meta.dirname, "import-cost.mjs"),
    path.join(folderOf(scratch, "flat"), "import-cost.mjs"),
  );
  const npm = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--strict-peer-deps", "--loglevel=warn"];
  const [, flat] = await Promise.all([
    run("pnpm", ["install", "--no-frozen-lockfile", "--prefer-offline"], isolated),
    run("npm", npm, folderOf(scratch, "flat")),
  ]);
  const [alone, noZod] = await Promise.all([
    run("npm", npm, folderOf(scratch, "alone")),
    run("pnpm", ["install", "--no-frozen-lockfile", "--prefer-offline"], folderOf(scratch, "no-zod")),
  ]);
  for (const [name, { printed }] of Object.entries({ flat, alone, "no-zod": noZod }))
    writeFileSync(path.join(scratch, `${name}.log`), printed);
}

/** Versions of what a page says to install: ours from the tarball, a peer of ours in the range that we ask for. */
function dependencies(words: readonly string[], tarballs: readonly Tarball[]): Readonly<Record<string, string>> {
  const named = words.flatMap((word): (readonly [string, string])[] => {
    const own = tarballs.find(({ manifest }) => manifest.name === word);
    if (own !== undefined) return [[word, `file:${own.file}`]];
    const peer = tarballs.map(({ manifest }) => manifest.peerDependencies?.[word]).find((each) => each !== undefined);
    const range = peer ?? repository[word];
    if (range === undefined) throw new Error(`A README says to install ${word}, which is no peer of any package.`);
    return [[word, range], ...Object.entries(BESIDE[word] ?? {})];
  });
  return Object.fromEntries(named);
}

function write(folder: string, file: string, content: unknown): void {
  mkdirSync(folder, { recursive: true });
  // JSON is YAML, too.
  writeFileSync(path.join(folder, file), JSON.stringify(content, null, 2));
}
