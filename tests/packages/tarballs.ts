import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { type Manifest, type PublicPackage, publicPackages, readManifest } from "../../scripts/public-packages.ts";

/** A package as npm gets it. */
export interface Tarball {
  readonly source: PublicPackage;
  readonly manifest: Manifest;
  /** Absolute path of the archive. */
  readonly file: string;
  /** Absolute path of what was in it. */
  readonly directory: string;
  /** What is in it, `./dist/index.js`. */
  readonly files: readonly string[];
  readonly packedBytes: number;
  readonly unpackedBytes: number;
}

/** Packs every public package into a folder, or takes it from the folder ARMATURE_TARBALLS: what is going to be published. */
export function packInto(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const given = process.env["ARMATURE_TARBALLS"];
  for (const { directory, manifest } of publicPackages()) {
    const file = path.join(folder, `${path.basename(directory)}.tgz`);
    const name = `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`;
    // A release that is taken up again has fewer: the others are out already.
    if (given !== undefined && existsSync(path.join(given, name))) copyFileSync(path.join(given, name), file);
    else execFileSync("pnpm", ["pack", "--out", file], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
    const unpacked = path.join(folder, path.basename(directory));
    mkdirSync(unpacked);
    execFileSync("tar", ["-xzf", file, "-C", unpacked, "--strip-components=1"]);
  }
}

/** What `packInto` has made of every public package. */
export function tarballsIn(folder: string): readonly Tarball[] {
  return publicPackages().map((source) => {
    const directory = path.join(folder, path.basename(source.directory));
    const file = `${directory}.tgz`;
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `./${path.relative(directory, path.join(entry.parentPath, entry.name)).replaceAll("\\", "/")}`);
    return {
      source,
      manifest: readManifest(path.join(directory, "package.json")),
      file,
      directory,
      files,
      packedBytes: statSync(file).size,
      unpackedBytes: files.reduce((sum, each) => sum + readFileSync(path.join(directory, each)).length, 0),
    };
  });
}
