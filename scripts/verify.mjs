// Every check of this repository, from a clean clone to built packages: `npm run verify`.
// Stops at the first step that fails. The last line is always `N passed, N failed`.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { endLike, run } from "./child.mjs";

const root = path.dirname(import.meta.dirname);
const scratch = mkdtempSync(path.join(tmpdir(), "armature-verify-"));
const results = path.join(scratch, "tests.json");
const packageResults = path.join(scratch, "packages.json");

// A log is read as text. Biome, when it believes itself in a CI, needs to be told in its own way.
const colors = process.stdout.isTTY ? [] : ["--colors=off"];
const env = process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: "1" };

const steps = [
  {
    name: "Install",
    command: ["pnpm", "install", "--frozen-lockfile"],
    otherwise: "The dependencies could not be installed as pnpm-lock.yaml says.",
  },
  {
    name: "Format and lint",
    command: ["pnpm", "exec", "biome", "ci", "--error-on-warnings", ...colors, "."],
    otherwise: "Biome found something; `pnpm check:fix` mends most of it.",
  },
  {
    name: "Types",
    command: ["pnpm", "exec", "tsc", "-p", "tsconfig.json"],
    otherwise: "The type check failed.",
  },
  {
    name: "API pages, without writing them",
    command: ["pnpm", "docs:api", "--check"],
    otherwise: "A public signature names a type that is not exported, or a docstring has a link that leads nowhere.",
  },
  {
    name: "Tests, with the architecture, the documentation and the coverage",
    command: vitest(results, "--coverage"),
    otherwise: "Tests failed, a file of tests could not be loaded, or a package is tested too little.",
  },
  { name: "Build", command: ["pnpm", "build"], otherwise: "A package could not be built." },
  {
    name: "The packages, packed and installed as their users get them",
    command: vitest(packageResults, "--config=vitest.packages.config.ts"),
    otherwise: "A package does not hold what its package.json or its page promises, or is over its budget.",
  },
];

console.log(steps.map(({ name }, index) => `${index + 1}. ${name}`).join("\n"));

const started = performance.now();
let failure;
for (const [index, step] of steps.entries()) {
  console.log(`\n── ${index + 1} of ${steps.length}: ${step.name} ──`);
  const begun = performance.now();
  const end = await run(step.command[0], step.command.slice(1), {
    cwd: root,
    env,
    shell: process.platform === "win32",
  });
  const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  if (end.code === 0) {
    console.log(`── ${step.name}: ok, ${took}`);
    continue;
  }
  failure = end;
  console.log(`── ${step.name}: failed after ${took}. ${step.otherwise} The steps behind it were not run.`);
  break;
}

const tests = [results, packageResults].map(counts).reduce((sum, each) => ({
  passed: sum.passed + each.passed,
  failed: sum.failed + each.failed,
  skipped: sum.skipped + each.skipped,
}));
// A step that is not a test, or a test run that died before it could count, is one failure.
const failed = failure !== undefined && tests.failed === 0 ? 1 : tests.failed;
console.log(
  `\n${failure === undefined ? "All steps passed" : "Not verified"} in ${((performance.now() - started) / 1000).toFixed(0)} s.`,
);
console.log(`${tests.passed} passed, ${failed} failed${tests.skipped === 0 ? "" : `, ${tests.skipped} skipped`}`);
rmSync(scratch, { recursive: true, force: true });
if (failure !== undefined) endLike(failure);

function vitest(file, ...options) {
  return [
    "pnpm",
    "exec",
    "vitest",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
    ...options,
  ];
}

function counts(file) {
  try {
    const report = JSON.parse(readFileSync(file, "utf8"));
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
}
