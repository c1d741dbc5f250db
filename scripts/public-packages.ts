import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** What is read of a package.json of ours. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly type: string;
  readonly private?: boolean;
  readonly sideEffects?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/** A package of this repository that is published. */
export interface PublicPackage {
  /** Absolute. */
  readonly directory: string;
  readonly manifest: Manifest;
}

export const root = path.dirname(import.meta.dirname);

export function readManifest(file: string): Manifest {
  return JSON.parse(readFileSync(file, "utf8")) as Manifest;
}

export function publicPackages(): readonly PublicPackage[] {
  return readdirSync(path.join(root, "packages"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(root, "packages", entry.name))
    .map((directory) => ({ directory, manifest: readManifest(path.join(directory, "package.json")) }))
    .filter(({ manifest }) => manifest.private !== true);
}

/** The name by which a user imports an entry of `exports`. */
export function importName({ name }: Manifest, subpath: string): string {
  return name + subpath.slice(1);
}
