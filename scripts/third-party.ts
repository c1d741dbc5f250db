// What installing a package of ours brings along, and under which licences.
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { findPackageJSON } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { PublicPackage } from "./public-packages.ts";

/** A package by somebody else. */
export interface ThirdParty {
  readonly name: string;
  readonly version: string;
  /** As its package.json states it: an SPDX expression. */
  readonly license: string;
  readonly homepage: string | undefined;
  /** The files in which it states its licence and what else must be told, one after the other. Empty when it has none, and for a peer. */
  readonly text: string;
  /** Whether the host brings it. */
  readonly peer: boolean;
}

/** Licences that ask for no more than to be passed on with their text. Another one is a decision: see docs/decisions. */
export const ALLOWED_LICENSES: ReadonlySet<string> = new Set([
  ...["0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"],
]);

interface AnyManifest {
  readonly name: string;
  readonly version: string;
  readonly license?: unknown;
  readonly homepage?: string;
  readonly repository?: string | { readonly url?: string };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly bin?: unknown;
}

/**
 * Everything by others that comes with a package: its dependencies with all of theirs, and by name its peers, which its
 * host chooses; not what comes with another package of ours, which tells of it itself. What starts by itself, as the
 * server does, brings everything along. Sorted.
 *
 * @throws {Error} when one is not installed
 */
export function thirdParties({ directory }: PublicPackage): readonly ThirdParty[] {
  const found = new Map<string, ThirdParty>();
  const seen = new Set<string>();
  const startsByItself = manifestIn(directory).bin !== undefined;
  const visit = (folder: string) => {
    const manifest = manifestIn(folder);
    const key = `${manifest.name}@${manifest.version}`;
    if (seen.has(key)) return;
    seen.add(key);
    const isOurs = manifest.name.startsWith("@armature/");
    if (isOurs && folder !== directory && !startsByItself) return;
    if (!isOurs) found.set(key, described(manifest, folder, false));
    for (const name of Object.keys(manifest.dependencies ?? {})) visit(folderOf(name, folder, key));
    for (const name of isOurs ? Object.keys(manifest.peerDependencies ?? {}) : []) {
      const peer = folderOf(name, folder, key);
      const { version } = manifestIn(peer);
      if (startsByItself) visit(peer);
      else if (!found.has(`${name}@${version}`))
        found.set(`${name}@${version}`, described(manifestIn(peer), peer, true));
    }
  };
  visit(directory);
  return [...found.values()].sort((a, b) => compare(a.name, b.name) || compare(a.version, b.version));
}

/** What is wrong with a licence; nothing when it is allowed. `OR` gives a choice, `AND` none. */
export function licenseProblem(license: string): string | undefined {
  const bare = license.replaceAll(/[()]/g, " ").trim();
  const allowed = bare
    .split(/\s+OR\s+/)
    .some((choice) => choice.split(/\s+AND\s+/).every((one) => ALLOWED_LICENSES.has(one.trim())));
  return allowed ? undefined : `is under "${license}", which is not in ALLOWED_LICENSES of scripts/third-party.ts`;
}

function described(manifest: AnyManifest, folder: string, peer: boolean): ThirdParty {
  const { name, version, license, homepage, repository } = manifest;
  const url = typeof repository === "string" ? repository : repository?.url;
  const texts = readdirSync(folder)
    .filter((file) => /^(licen[cs]e|copying|notice)([.-].*)?$/i.test(file))
    .sort()
    .map((file) => readFileSync(path.join(folder, file), "utf8").replaceAll("\r\n", "\n").trim());
  return {
    name,
    version,
    license: typeof license === "string" ? license : `not stated (${JSON.stringify(license) ?? "nothing"})`,
    homepage: [homepage, url?.replace(/^git\+/, "").replace(/\.git$/, "")].find((each) => each?.startsWith("http")),
    text: peer ? "" : texts.join("\n\n"),
    peer,
  };
}

function manifestIn(folder: string): AnyManifest {
  return JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as AnyManifest;
}

function folderOf(name: string, from: string, wantedBy: string): string {
  const file = findPackageJSON(name, pathToFileURL(path.join(realpathSync(from), "package.json")));
  if (file === undefined) throw new Error(`${wantedBy} needs ${name}, which is not installed.`);
  return realpathSync(path.dirname(file));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
