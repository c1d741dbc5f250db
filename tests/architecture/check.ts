import { type ConformanceExceptions, portsOf, portsWithoutSuite } from "./conformance.ts";
import { ambientGlobals } from "./globals.ts";
import { cruiseImports } from "./imports.ts";
import { type LayoutExceptions, layout } from "./layout.ts";
import { operationIds, operationsWithoutProof } from "./operations.ts";
import { readSources, type Violation } from "./source-tree.ts";

/** Every rule that a violation can name, as a sentence. */
export const rules: Readonly<Record<string, string>> = {
  "context-imports-contract-only": "a context imports nothing of another context but its contract",
  "contract-imports-kernel-only": "a contract imports nothing but the kernel",
  "kernel-imports-kernel-only": "the kernel imports neither a context nor the runtime",
  "context-without-runtime": "a context does not import the runtime",
  "core-without-drivers": "core imports no driver, no server and no node:http",
  "core-without-packages": "core imports no other package",
  "adapter-without-adapter": "an adapter imports no other adapter and no server",
  "server-without-adapter": "the server imports an adapter in its bin only",
  "inversify-in-composition-root": "inversify is imported in composition-root.ts only",
  "no-cycle": "no import leads back to where it came from",
  "dependency-is-declared": "a package declares what it imports",
  "published-code-without-dev-dependency": "published code does not need a dev dependency",
  "import-is-found": "every import leads somewhere",
  "package-by-name": "packages are imported by name",
  "no-ambient-globals": "core reads time, ids, randomness and the environment in clock.ts and ids.ts only",
  "port-has-suite": "every port has a conformance suite, and every implementation runs it",
  "operation-declared": "every operation has a permission and a summary",
  "operation-documented": "every public operation has its place in the reference",
  "operation-tested": "every public operation is called by name in a test",
  "file-name": "file names are kebab-case and say what is in the file",
  "folder-depth": "folders are at most two deep under src",
  "lonely-file": "no folder of a package holds a single file",
  "explicit-exports": "there is no export *",
  "file-length": "a file over 300 lines has a reason",
  "stale-exception": "no exception outlives its reason",
};

export interface Checked {
  readonly violations: readonly Violation[];
  /** What was looked at, so that a check that has gone blind is seen. */
  readonly cruised: readonly string[];
  readonly sources: readonly string[];
  readonly ports: readonly string[];
  readonly operations: readonly string[];
}

export interface Exceptions {
  readonly layout: LayoutExceptions;
  readonly conformance: ConformanceExceptions;
}

/** Applies every rule to the tree under a root. */
export async function checkArchitecture(root: string, exceptions: Exceptions): Promise<Checked> {
  const tree = readSources(root);
  const imports = await cruiseImports(root);
  return {
    violations: [
      ...imports.violations,
      ...ambientGlobals(tree),
      ...portsWithoutSuite(tree, exceptions.conformance),
      ...operationsWithoutProof(tree),
      ...layout(tree, exceptions.layout),
    ],
    cruised: imports.modules,
    sources: tree.files.map((file) => file.path),
    ports: portsOf(tree).map(({ port }) => port),
    operations: operationIds(tree),
  };
}
