import { availableParallelism } from "node:os";
import { configDefaults, defineConfig } from "vitest/config";

const conditions = ["@armature/source"];

const all = ["packages/*/src/**/*.test.ts", "examples/**/*.test.ts", "benchmarks/**/*.test.ts", "tests/**/*.test.ts"];

// These look at what is built and packed: `pnpm test:packages`.
const packed = ["tests/packages/**"];

// These set what a process has only once, OpenTelemetry's SDK, so no other file of tests may share theirs.
const alone = ["tests/telemetry.test.ts", "tests/connectors/secrecy.test.ts"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Vitest leaves a core to the terminal. Many of these wait for a server or a clock anyway. Each worker holds tens of
    // connections to PostgreSQL, which has a hundred.
    maxWorkers: Math.min(availableParallelism(), 4),
    testTimeout: 20_000,
    hookTimeout: 60_000,
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      exclude: ["**/*.test.ts"],
      reporter: ["text-summary", "json-summary", "html"],
      // A package that nobody has tested enough is as red as a test. Core holds what all others rest on.
      thresholds: {
        "packages/core/src/**": { lines: 85 },
        "packages/adapter-mcp/src/**": { lines: 80 },
        "packages/adapter-postgres/src/**": { lines: 80 },
        "packages/adapter-redis/src/**": { lines: 80 },
        "packages/adapter-vault/src/**": { lines: 80 },
        "packages/conformance/src/**": { lines: 80 },
        "packages/connectors/src/**": { lines: 80 },
        "packages/server-express/src/**": { lines: 80 },
      },
    },
    projects: [
      // Faster: files of one worker share what they have loaded.
      {
        extends: true,
        test: {
          name: "shared",
          isolate: false,
          include: all,
          exclude: [...configDefaults.exclude, ...packed, ...alone],
        },
      },
      { extends: true, test: { name: "alone", isolate: true, include: alone } },
    ],
  },
});
