import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("the demo tells its story to the end", { timeout: 180_000 }, () => {
  const demo = fileURLToPath(new URL("demo.ts", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--conditions=@armature/source", demo, "--once"], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(stdout.trimEnd().split("\n").at(-1)).toBe("demo: ok");
  expect(stdout).toContain("exactly one token request was made");
  expect(stdout).toContain("approved twice at the same moment: the merge was done once");
  expect(status).toBe(0);
});
