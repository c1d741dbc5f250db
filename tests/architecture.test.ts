import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { type Checked, checkArchitecture, rules } from "./architecture/check.ts";
import { exceptions, noExceptions } from "./architecture/exceptions.ts";
import { fixtures, writeTree } from "./architecture/fixtures.ts";
import { importRules } from "./architecture/imports.ts";

const root = path.dirname(import.meta.dirname);

async function checkTree(files: Readonly<Record<string, string>>, allowed = noExceptions): Promise<Checked> {
  const tree = writeTree(files);
  try {
    return await checkArchitecture(tree.root, allowed);
  } finally {
    tree.remove();
  }
}

describe("the architecture of this repository", () => {
  let checked: Checked;
  beforeAll(async () => {
    checked = await checkArchitecture(root, exceptions);
  });

  it.each(Object.entries(rules))("%s: %s", (rule) => {
    expect(checked.violations.filter((violation) => violation.rule === rule)).toEqual([]);
  });

  it("was looked at as a whole", () => {
    expect(checked.cruised.length).toBeGreaterThan(100);
    const sources = checked.sources.filter((file) => /^packages\/[^/]+\/src\//.test(file));
    expect(sources.filter((file) => !checked.cruised.includes(file))).toEqual([]);
    for (const known of ["packages/core/src/index.ts", "packages/adapter-postgres/src/index.ts"])
      expect(sources).toContain(known);
    const ports = ["Store", "EventBus", "SecretStore", "Lease", "RateLimiter", "Clock", "Ids", "Authorizer", "Logger"];
    expect(checked.ports).toEqual(expect.arrayContaining([...ports, "HttpClient"]));
    expect(checked.operations.length).toBeGreaterThan(30);
    expect(checked.operations).toEqual(expect.arrayContaining(["connectors.invoke", "identity.createTenant"]));
  });

  it("has a reason for each exception", () => {
    const reasons = [
      ...Object.values(exceptions.layout.longFiles),
      ...Object.values(exceptions.layout.domainNames),
      ...Object.values(exceptions.conformance.ports),
      ...Object.values(exceptions.conformance.implementations),
    ];
    expect(reasons.filter((reason) => reason.trim().length < 20)).toEqual([]);
  });
});

describe("the check itself", () => {
  it("finds nothing in a clean tree", async () => {
    const { violations, cruised } = await checkTree({});
    expect(violations).toEqual([]);
    expect(cruised).toContain("packages/core/src/runtime/pipeline.ts");
  });

  it.each(fixtures)("reports $rule, and nothing else, when $what", async ({ rule, files, violation }) => {
    const { violations } = await checkTree(files);
    expect(new Set(violations.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify({ rule, file: violation.file, detail: violation.detail })]),
    );
  });

  it("reports exceptions that nothing needs any more", async () => {
    const { violations } = await checkTree(
      {},
      {
        layout: {
          longFiles: { "packages/core/src/index.ts": "it was long once upon a time" },
          domainNames: { "packages/core/src/gone.ts": "it was there once upon a time" },
        },
        conformance: { ports: { Gone: "it is gone" }, implementations: { "Clock Gone": "it is gone too" } },
      },
    );
    expect(violations.map(({ rule }) => rule)).toEqual(Array(4).fill("stale-exception"));
  });

  it("lets through what an exception names", async () => {
    const { violations } = await checkTree(
      {
        "packages/adapter-two/src/helper.ts": `export const other = [\n${"1,\n".repeat(299)}];`,
        "packages/core/src/kernel/ports.ts": "export interface Lease { acquire(): void }",
        "packages/conformance/src/clock-suite.test.ts": "",
      },
      {
        layout: {
          longFiles: { "packages/adapter-two/src/helper.ts": "a reason" },
          domainNames: { "packages/adapter-two/src/helper.ts": "a reason" },
        },
        conformance: { ports: { Lease: "a reason" }, implementations: { "Clock systemClock": "a reason" } },
      },
    );
    expect(violations).toEqual([]);
  });

  it("has been seen red for every rule", () => {
    const shown = new Set([...fixtures.map(({ rule }) => rule), "stale-exception"]);
    expect(Object.keys(rules).filter((rule) => !shown.has(rule))).toEqual([]);
    expect(importRules.filter((rule) => rules[rule ?? ""] === undefined)).toEqual([]);
  });

  it("sees sources, not what was built of them", async () => {
    const { violations } = await checkTree({
      "packages/adapter-one/dist/index.js": `import "gone";`,
      "packages/adapter-two/src/index.ts": `import { one } from "@armature/adapter-one"; export const two = one;`,
    });
    expect(violations.map(({ detail }) => detail)).toEqual(["imports packages/adapter-one/src/index.ts"]);
  });

  it("uses the same condition as the type check and the tests", () => {
    const text = (file: string) => readFileSync(path.join(root, file), "utf8");
    for (const file of ["tsconfig.json", "vitest.config.ts", ".dependency-cruiser.mjs"])
      expect(text(file), file).toContain('["@armature/source"');
  });
});
