import { defineConfig } from "tsup";

export default defineConfig({
  entry: { hubspot: "src/hubspot.ts" },
  format: "esm",
  target: "node22",
  dts: true,
  clean: true,
});
