import path from "node:path";
import { cruise, type ICruiseResult, type IDependency } from "dependency-cruiser";
import extractConfiguration from "dependency-cruiser/config-utl/extract-depcruise-config";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";
import type { Violation } from "./source-tree.ts";

export interface CruisedImports {
  readonly violations: readonly Violation[];
  /** Files of packages that were looked at. A cruise that sees nothing finds nothing. */
  readonly modules: readonly string[];
}

const { forbidden = [], options = {} } = await extractConfiguration(
  path.resolve(import.meta.dirname, "../../.dependency-cruiser.mjs"),
);

/** What `cruiseImports` can report. */
export const importRules = [...forbidden.map(({ name }) => name), "package-by-name"];

/** Applies `.dependency-cruiser.mjs` to the packages under a root. */
export async function cruiseImports(root: string): Promise<CruisedImports> {
  const tsConfig = path.join(root, "tsconfig.json");
  const { output } = await cruise(
    ["packages"],
    { ...options, baseDir: root, validate: true, ruleSet: { forbidden }, tsConfig: { fileName: tsConfig } },
    // A resolver that was kept from another cruise would answer for its root.
    { ...options.enhancedResolveOptions, bustTheCache: true },
    { tsConfig: extractTSConfig(tsConfig) },
  );
  const { modules, summary } = output as ICruiseResult;
  const own = modules.filter((module) => module.source.startsWith("packages/"));
  return {
    violations: [
      ...summary.violations.map(({ rule, from, to, cycle }) => ({
        rule: rule.name,
        file: from,
        detail: cycle === undefined ? `imports ${to}` : `imports itself by ${cycle.map(({ name }) => name).join(", ")}`,
      })),
      ...own.flatMap((module) => module.dependencies.flatMap((each) => acrossPackages(module.source, each))),
    ],
    modules: own.map((module) => module.source),
  };
}

// The cruiser's rules see where an import leads, not how it is written.
function acrossPackages(source: string, to: IDependency): Violation[] {
  const packageOf = (file: string) => file.split("/").slice(0, 2).join("/");
  if (to.couldNotResolve || !to.module.startsWith(".") || packageOf(source) === packageOf(to.resolved)) return [];
  return [{ rule: "package-by-name", file: source, detail: `reaches into another package by ${to.module}` }];
}
