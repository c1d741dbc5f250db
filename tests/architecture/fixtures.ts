import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

type Files = Readonly<Record<string, string>>;

/** A small tree on which one rule does not hold, and where. */
export interface Fixture {
  readonly rule: string;
  readonly what: string;
  /** Added to the clean tree, or put in place of its files. */
  readonly files: Files;
  readonly violation: { readonly file: string; readonly detail: string };
}

const core = "packages/core/src";
const manifest = (name: string, more: object = {}) =>
  JSON.stringify({
    name: `@armature/${name}`,
    exports: { ".": { "@armature/source": "./src/index.ts", default: "./dist/index.js" } },
    ...more,
  });
const contract = (name: string, options: string) => `
  import { z } from "zod";
  import { defineContract, query } from "../../kernel/contract.ts";
  export const ${name} = defineContract("${name}", { list: query({ input: z.strictObject({}), ${options} }) });`;
const declared = (name: string) => `permission: "${name}:read", summary: "Lists them."`;

/** Every rule holds here, so that each fixture shows its own violation and nothing else. */
export const cleanTree: Files = {
  "tsconfig.json": JSON.stringify({ compilerOptions: { module: "NodeNext", moduleResolution: "NodeNext" } }),
  "packages/core/package.json": manifest("core", {
    dependencies: { inversify: "1", zod: "1", pg: "1", express: "1" },
    devDependencies: { msw: "1", "@armature/adapter-one": "1" },
  }),
  [`${core}/index.ts`]: `export { container } from "./runtime/composition-root.ts";`,
  [`${core}/kernel/clock.ts`]: `
    export interface Clock { now(): number }
    export function systemClock(): Clock { return { now: () => Date.now() }; }`,
  [`${core}/kernel/ids.ts`]: `
    import { randomUUID } from "node:crypto";
    export const id = () => randomUUID();`,
  [`${core}/kernel/contract.ts`]: `export const defineContract = (...all: unknown[]) => all; export const query = (one: unknown) => one;`,
  [`${core}/runtime/composition-root.ts`]: `import { Container } from "inversify"; export const container = Container;`,
  [`${core}/runtime/pipeline.ts`]: `export const at = (ms: number) => new Date(ms); // Date.now() in a comment is none`,
  [`${core}/contexts/alpha/contract.ts`]: contract("alpha", declared("alpha")),
  [`${core}/contexts/alpha/context.ts`]: `import { beta } from "../beta/contract.ts"; export const uses = beta;`,
  [`${core}/contexts/alpha/context.test.ts`]: `
    import { at } from "../../runtime/pipeline.ts";
    app.alpha.list({}); app.use(beta).list({}); at(Date.now());`,
  [`${core}/contexts/beta/contract.ts`]: contract("beta", declared("beta")),
  [`${core}/contexts/beta/context.ts`]: `export const own = 1;`,
  "packages/adapter-one/package.json": manifest("adapter-one", { dependencies: { "@armature/core": "1", pg: "1" } }),
  "packages/adapter-one/src/index.ts": `import { container } from "@armature/core"; export const one = container;`,
  "packages/adapter-one/src/connection.ts": `import pg from "pg"; export const connection = pg;`,
  "packages/adapter-two/package.json": manifest("adapter-two", { dependencies: { "@armature/adapter-one": "1" } }),
  "packages/adapter-two/src/index.ts": `export const two = 2;`,
  "packages/adapter-two/src/other.ts": `export const other = 2;`,
  "packages/server-web/package.json": manifest("server-web", { dependencies: { "@armature/adapter-one": "1" } }),
  "packages/server-web/src/index.ts": `export const router = 1;`,
  "packages/server-web/src/bin.ts": `import { one } from "@armature/adapter-one"; export const served = one;`,
  "packages/conformance/package.json": manifest("conformance"),
  "packages/conformance/src/index.ts": `export { clockSuite } from "./clock-suite.ts";`,
  "packages/conformance/src/clock-suite.ts": `export function clockSuite(...all: unknown[]) { return all; }`,
  "packages/conformance/src/clock-suite.test.ts": `clockSuite("system", () => systemClock());`,
  "docs/reference/alpha.md": "## `alpha.list`",
  "docs/reference/beta.md": "## `beta.list`",
};

export const fixtures: readonly Fixture[] = [
  {
    rule: "context-imports-contract-only",
    what: "a context takes a function of its neighbour",
    files: {
      [`${core}/contexts/alpha/context.ts`]: `import { own } from "../beta/context.ts"; export const uses = own;`,
    },
    violation: { file: `${core}/contexts/alpha/context.ts`, detail: `imports ${core}/contexts/beta/context.ts` },
  },
  {
    rule: "context-imports-contract-only",
    what: "a context takes a type of its neighbour",
    files: {
      [`${core}/contexts/alpha/context.ts`]: `import type { own } from "../beta/context.ts"; export type Uses = typeof own;`,
    },
    violation: { file: `${core}/contexts/alpha/context.ts`, detail: `imports ${core}/contexts/beta/context.ts` },
  },
  {
    rule: "contract-imports-kernel-only",
    what: "a contract imports another contract",
    files: {
      [`${core}/contexts/alpha/contract.ts`]: `import { beta } from "../beta/contract.ts"; ${contract("alpha", declared("alpha"))} export const other = beta;`,
    },
    violation: { file: `${core}/contexts/alpha/contract.ts`, detail: `imports ${core}/contexts/beta/contract.ts` },
  },
  {
    rule: "contract-imports-kernel-only",
    what: "a contract imports its own context",
    files: {
      [`${core}/contexts/beta/contract.ts`]: `import { own } from "./context.ts"; ${contract("beta", declared("beta"))} export const other = own;`,
    },
    violation: { file: `${core}/contexts/beta/contract.ts`, detail: `imports ${core}/contexts/beta/context.ts` },
  },
  {
    rule: "kernel-imports-kernel-only",
    what: "the kernel imports the runtime",
    files: { [`${core}/kernel/ids.ts`]: `import { at } from "../runtime/pipeline.ts"; export const id = at;` },
    violation: { file: `${core}/kernel/ids.ts`, detail: `imports ${core}/runtime/pipeline.ts` },
  },
  {
    rule: "kernel-imports-kernel-only",
    what: "the kernel imports a context",
    files: { [`${core}/kernel/ids.ts`]: `import { own } from "../contexts/beta/context.ts"; export const id = own;` },
    violation: { file: `${core}/kernel/ids.ts`, detail: `imports ${core}/contexts/beta/context.ts` },
  },
  {
    rule: "context-without-runtime",
    what: "a context imports the pipeline",
    files: {
      [`${core}/contexts/beta/context.ts`]: `import { at } from "../../runtime/pipeline.ts"; export const own = at;`,
    },
    violation: { file: `${core}/contexts/beta/context.ts`, detail: `imports ${core}/runtime/pipeline.ts` },
  },
  {
    rule: "core-without-drivers",
    what: "core imports a driver",
    files: { [`${core}/runtime/pipeline.ts`]: `import pg from "pg"; export const at = pg;` },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports node_modules/pg/index.js" },
  },
  {
    rule: "core-without-drivers",
    what: "core imports a server",
    files: { [`${core}/runtime/pipeline.ts`]: `import express from "express"; export const at = express;` },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports node_modules/express/index.js" },
  },
  {
    rule: "core-without-drivers",
    what: "core imports node:http",
    files: {
      [`${core}/runtime/pipeline.ts`]: `import { createServer } from "node:http"; export const at = createServer;`,
    },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports http" },
  },
  {
    rule: "core-without-packages",
    what: "core imports the conformance suites outside of a test",
    files: {
      "packages/core/package.json": manifest("core", {
        dependencies: { inversify: "1", zod: "1", "@armature/conformance": "1" },
      }),
      [`${core}/runtime/pipeline.ts`]: `import { clockSuite } from "@armature/conformance"; export const at = clockSuite;`,
    },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports packages/conformance/src/index.ts" },
  },
  {
    rule: "adapter-without-adapter",
    what: "an adapter imports another",
    files: {
      "packages/adapter-two/src/index.ts": `import { one } from "@armature/adapter-one"; export const two = one;`,
    },
    violation: { file: "packages/adapter-two/src/index.ts", detail: "imports packages/adapter-one/src/index.ts" },
  },
  {
    rule: "server-without-adapter",
    what: "the router imports an adapter",
    files: {
      "packages/server-web/src/index.ts": `import { one } from "@armature/adapter-one"; export const router = one;`,
    },
    violation: { file: "packages/server-web/src/index.ts", detail: "imports packages/adapter-one/src/index.ts" },
  },
  {
    rule: "inversify-in-composition-root",
    what: "a handler knows the container",
    files: { [`${core}/contexts/beta/context.ts`]: `import { inject } from "inversify"; export const own = inject;` },
    violation: { file: `${core}/contexts/beta/context.ts`, detail: "imports node_modules/inversify/index.js" },
  },
  {
    rule: "no-cycle",
    what: "two files import each other",
    files: {
      "packages/adapter-two/src/index.ts": `import { other } from "./other.ts"; export const two = other;`,
      "packages/adapter-two/src/other.ts": `import { two } from "./index.ts"; export const other = two;`,
    },
    violation: {
      file: "packages/adapter-two/src/index.ts",
      detail: "imports itself by packages/adapter-two/src/other.ts, packages/adapter-two/src/index.ts",
    },
  },
  {
    rule: "dependency-is-declared",
    what: "a package uses what its package.json does not list",
    files: { "packages/adapter-two/src/other.ts": `import pg from "pg"; export const other = pg;` },
    violation: { file: "packages/adapter-two/src/other.ts", detail: "imports node_modules/pg/index.js" },
  },
  {
    rule: "published-code-without-dev-dependency",
    what: "published code needs a dev dependency",
    files: { [`${core}/runtime/pipeline.ts`]: `import { http } from "msw"; export const at = http;` },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports node_modules/msw/index.js" },
  },
  {
    rule: "import-is-found",
    what: "an import leads nowhere",
    files: { [`${core}/runtime/pipeline.ts`]: `import { gone } from "./gone.ts"; export const at = gone;` },
    violation: { file: `${core}/runtime/pipeline.ts`, detail: "imports ./gone.ts" },
  },
  {
    rule: "package-by-name",
    what: "an adapter reaches into core's files",
    files: {
      "packages/adapter-one/src/connection.ts": `import { at } from "../../core/src/runtime/pipeline.ts"; export const connection = at;`,
    },
    violation: {
      file: "packages/adapter-one/src/connection.ts",
      detail: "reaches into another package by ../../core/src/runtime/pipeline.ts",
    },
  },
  ...(
    [
      ["process.env.HOME", "process.env at line 1"],
      [`process["env"]`, "process.env at line 1"],
      ["globalThis.process.env", "process.env at line 1"],
      ["Date.now", "Date.now at line 1"],
      ["new Date()", "new Date() at line 1"],
      ["Date()", "Date() at line 1"],
      ["Math.random()", "Math.random at line 1"],
      ["crypto.randomUUID()", "crypto.randomUUID at line 1"],
      ["performance.now()", "performance.now at line 1"],
      [`0; import { randomUUID as make } from "node:crypto"`, "randomUUID of node:crypto at line 1"],
      [`0; import { env } from "node:process"`, "env of node:process at line 1"],
      ["0; const { env } = process", "process.env at line 1"],
    ] as const
  ).map(([code, detail]) => ({
    rule: "no-ambient-globals",
    what: `core reads ${code}`,
    files: { [`${core}/runtime/pipeline.ts`]: `export const at = ${code};` },
    violation: { file: `${core}/runtime/pipeline.ts`, detail },
  })),
  {
    rule: "port-has-suite",
    what: "a port has no suite",
    files: {
      [`${core}/kernel/ports.ts`]: `export interface Lease { acquire(): Held } export interface Held { release(): void }`,
    },
    violation: {
      file: `${core}/kernel/ports.ts`,
      detail: "packages/conformance/src/index.ts exports no leaseSuite for Lease",
    },
  },
  {
    rule: "port-has-suite",
    what: "a class does not run its port's suite",
    files: {
      "packages/adapter-two/src/other.ts": `import type { Clock } from "@armature/core"; export class SlowClock implements Clock {}`,
      "packages/adapter-two/package.json": manifest("adapter-two", { dependencies: { "@armature/core": "1" } }),
    },
    violation: { file: "packages/adapter-two/src/other.ts", detail: "no test runs clockSuite on SlowClock" },
  },
  {
    rule: "port-has-suite",
    what: "a function that makes a port is tested without the suite",
    files: { "packages/conformance/src/clock-suite.test.ts": `expect(systemClock().now()).toBe(1);` },
    violation: { file: `${core}/kernel/clock.ts`, detail: "no test runs clockSuite on systemClock" },
  },
  {
    rule: "operation-declared",
    what: "an operation has no permission",
    files: { [`${core}/contexts/alpha/contract.ts`]: contract("alpha", `summary: "Lists them."`) },
    violation: { file: `${core}/contexts/alpha/contract.ts`, detail: "alpha.list has no permission" },
  },
  {
    rule: "operation-declared",
    what: "an operation has an empty summary",
    files: { [`${core}/contexts/alpha/contract.ts`]: contract("alpha", `permission: "internal", summary: " "`) },
    violation: { file: `${core}/contexts/alpha/contract.ts`, detail: "alpha.list has no summary" },
  },
  {
    rule: "operation-documented",
    what: "the reference leaves an operation out",
    files: { "docs/reference/alpha.md": "## Something else" },
    violation: {
      file: `${core}/contexts/alpha/contract.ts`,
      detail: "docs/reference/alpha.md does not name `alpha.list`",
    },
  },
  {
    rule: "operation-tested",
    what: "no test calls an operation",
    files: {
      [`${core}/contexts/alpha/context.test.ts`]: `app.use(beta).list({});`,
      [`${core}/contexts/beta/context.test.ts`]: `app.alpha.find({});`,
    },
    violation: { file: `${core}/contexts/alpha/contract.ts`, detail: "no test calls alpha.list" },
  },
  {
    rule: "file-name",
    what: "a file is called utils",
    files: { "packages/adapter-two/src/string-utils.ts": `export const two = 2;` },
    violation: { file: "packages/adapter-two/src/string-utils.ts", detail: `"utils" says nothing about what is in it` },
  },
  {
    rule: "file-name",
    what: "a file is in camel case",
    files: { "packages/adapter-two/src/rowReader.ts": `export const two = 2;` },
    violation: { file: "packages/adapter-two/src/rowReader.ts", detail: "is not kebab-case" },
  },
  {
    rule: "folder-depth",
    what: "a file is three folders deep",
    files: {
      [`${core}/contexts/alpha/deep/one.ts`]: `export const one = 1;`,
      [`${core}/contexts/alpha/deep/two.json`]: `{}`,
    },
    violation: { file: `${core}/contexts/alpha/deep/one.ts`, detail: "is 3 folders under src; 2 is the most" },
  },
  {
    rule: "lonely-file",
    what: "a folder holds one file",
    files: { "packages/adapter-two/src/sql/only.ts": `export const only = 1;` },
    violation: { file: "packages/adapter-two/src/sql", detail: "holds nothing but only.ts" },
  },
  {
    rule: "explicit-exports",
    what: "a file exports everything of another",
    files: { "packages/adapter-two/src/index.ts": `export * from "./other.ts";` },
    violation: { file: "packages/adapter-two/src/index.ts", detail: "export * at line 1" },
  },
  {
    rule: "file-length",
    what: "a file has 301 lines",
    files: { "packages/adapter-two/src/other.ts": `export const other = [\n${"1,\n".repeat(299)}];` },
    violation: { file: "packages/adapter-two/src/other.ts", detail: "has 301 lines and no reason to" },
  },
];

/** Writes the clean tree, with the given files in it, to a folder of its own. */
export function writeTree(files: Files = {}): { readonly root: string; remove(): void } {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), "armature-architecture-")));
  const all: Files = { ...cleanTree, ...files };
  for (const [file, text] of Object.entries(all)) write(root, file, text);
  for (const name of ["inversify", "zod", "pg", "express", "msw"]) {
    write(root, `node_modules/${name}/package.json`, JSON.stringify({ name, main: "index.js" }));
    write(root, `node_modules/${name}/index.js`, "module.exports = {};");
  }
  mkdirSync(path.join(root, "node_modules/@armature"));
  for (const name of ["core", "adapter-one", "adapter-two", "server-web", "conformance"])
    symlinkSync(path.join(root, "packages", name), path.join(root, "node_modules/@armature", name), "junction");
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}

function write(root: string, file: string, text: string): void {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}
