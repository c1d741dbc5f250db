import { defineConfig } from "vitest/config";

// What is published, after `pnpm build`: without the source condition, so that nothing but the built files is found.
export default defineConfig({
  test: {
    include: ["tests/packages/**/*.test.ts"],
    globalSetup: "tests/packages/setup.ts",
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // A worker that has held compilers takes its time to end on a busy machine.
    teardownTimeout: 60_000,
  },
});
