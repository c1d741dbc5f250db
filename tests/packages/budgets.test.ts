import path from "node:path";
import process from "node:process";
import { describe, expect, inject, it } from "vitest";
import { importName } from "../../scripts/public-packages.ts";
import { thirdParties } from "../../scripts/third-party.ts";
import budgets from "./budgets.json" with { type: "json" };
import { folderOf, run } from "./hosts.ts";
import { tarballsIn } from "./tarballs.ts";

/** What a package may cost who installs and imports it. `null`: it cannot be imported outside of a test run. */
interface Budget {
  readonly packedKB: number;
  readonly unpackedKB: number;
  /** Packages by others that come with it, peers not counted. */
  readonly dependencies: number;
  /** Modules that its most costly entry loads, those of its dependencies too, and the size of their sources. */
  readonly importedModules: number | null;
  readonly importedKB: number | null;
}

const scratch = inject("scratch");
const tarballs = tarballsIn(path.join(scratch, "tarballs"));
const kB = (bytes: number) => Math.ceil(bytes / 1000);

async function importCost(entry: string): Promise<{ readonly modules: number; readonly bytes: number }> {
  const script = path.join(folderOf(scratch, "flat"), "import-cost.mjs");
  const { stdout } = await run(process.execPath, [script, entry], path.dirname(script));
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as { modules: number; bytes: number };
}

describe("a budget", () => {
  it("is set for each package, and for nothing else", () => {
    expect(Object.keys(budgets).sort()).toEqual(tarballs.map(({ manifest }) => manifest.name).sort());
  });

  it.each(tarballs.map((tarball) => ({ name: tarball.manifest.name, tarball })))(
    "is kept by $name",
    async ({ name, tarball }) => {
      const budget: Budget = budgets[name as keyof typeof budgets];
      const costs = [];
      if (budget.importedModules !== null)
        for (const subpath of Object.keys(tarball.manifest.exports))
          costs.push(await importCost(importName(tarball.manifest, subpath)));
      const actual: Record<keyof Budget, number> = {
        packedKB: kB(tarball.packedBytes),
        unpackedKB: kB(tarball.unpackedBytes),
        dependencies: thirdParties(tarball.source).filter(({ peer }) => !peer).length,
        importedModules: Math.max(...costs.map(({ modules }) => modules)),
        importedKB: Math.max(...costs.map(({ bytes }) => kB(bytes))),
      };
      console.log(`${name}: ${JSON.stringify(actual)}`);
      const over = Object.entries(budget).flatMap(([key, most]) =>
        most !== null && actual[key as keyof Budget] > most
          ? [
              `${name} has ${key} ${actual[key as keyof Budget]}, and its budget is ${most}. ` +
                "Make it smaller, or raise the number in tests/packages/budgets.json and say why in the commit.",
            ]
          : [],
      );
      expect(over).toEqual([]);
    },
  );
});
