import { readFileSync } from "node:fs";
import path from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { describe, expect, inject, it } from "vitest";
import { importName, publicPackages, root } from "../../scripts/public-packages.ts";
import { tarballsIn } from "./tarballs.ts";

const all = tarballsIn(path.join(inject("scratch"), "tarballs"));

it("there is an archive of each public package", () => {
  expect(all.map(({ manifest }) => manifest.name)).toEqual(publicPackages().map(({ manifest }) => manifest.name));
  expect(all.length).toBeGreaterThan(5);
});

describe.each(all.map((tarball) => ({ name: tarball.manifest.name, tarball })))(
  "the archive of $name",
  ({ tarball }) => {
    const { manifest, files } = tarball;

    it("holds what is built, its page and its licences, and nothing else", () => {
      const wanted =
        /^\.\/(package\.json|README\.md|CHANGELOG\.md|LICENSE|THIRD-PARTY-NOTICES\.md|dist\/[\w/.-]+\.(js|d\.ts))$/;
      expect(files.filter((file) => !wanted.test(file) || file.includes(".test."))).toEqual([]);
      expect(files).toEqual(expect.arrayContaining(["./README.md", "./LICENSE", "./THIRD-PARTY-NOTICES.md"]));
      expect(readFileSync(path.join(tarball.directory, "LICENSE"), "utf8")).toBe(
        readFileSync(path.join(root, "LICENSE"), "utf8"),
      );
      expect(manifest.license).toBe("Apache-2.0");
    });

    it("says nothing that is true in this repository only", () => {
      const stated = JSON.stringify(manifest);
      expect(stated).not.toContain("@armature/source");
      expect(stated).not.toContain("workspace:");
      expect(stated).not.toContain("catalog:");
      expect(Object.keys(manifest.exports)).toEqual(Object.keys(tarball.source.manifest.exports));
      const sources = files
        .filter((file) => file.endsWith(".js"))
        .map((file) => [file, readFileSync(path.join(tarball.directory, file), "utf8")]);
      expect(
        sources.filter(([, text]) => text!.includes("sourceMappingURL") || text!.includes(root)).map(([file]) => file),
      ).toEqual([]);
    });

    it("has no mistake that publint knows", async () => {
      const tarballBytes = readFileSync(tarball.file);
      const { messages, pkg } = await publint({
        level: "suggestion",
        strict: true,
        pack: {
          tarball: tarballBytes.buffer.slice(
            tarballBytes.byteOffset,
            tarballBytes.byteOffset + tarballBytes.length,
          ) as ArrayBuffer,
        },
      });
      expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
    });

    it("has types that belong to its code, for whoever imports ES modules", async () => {
      const checked = await checkPackage(createPackageFromTarballData(readFileSync(tarball.file)));
      if (checked.types === false) throw new Error("It has no types.");
      const subpaths = Object.keys(checked.entrypoints);
      expect(subpaths).toEqual(Object.keys(manifest.exports));
      // An old resolution knows no subpaths, and CommonJS has to import() us: both are so by decision.
      const problems = checked.problems.filter(
        (problem) => !("resolutionKind" in problem && ["node10", "node16-cjs"].includes(problem.resolutionKind)),
      );
      expect(problems).toEqual([]);
      for (const subpath of subpaths)
        for (const kind of ["node16-esm", "bundler"] as const)
          expect(
            checked.entrypoints[subpath]!.resolutions[kind].resolution?.fileName,
            importName(manifest, subpath),
          ).toMatch(/\.d\.ts$/);
    });
  },
);
