import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

// The two commands of a newcomer, on a copy of the scripts with other programs around them.
let root: string;
let bin: string;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "armature-commands-"));
  bin = path.join(root, "bin");
  mkdirSync(bin);
  cpSync(path.resolve(import.meta.dirname, "../scripts"), path.join(root, "scripts"), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function program(name: string, text: string): void {
  writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`);
  chmodSync(path.join(bin, name), 0o755);
}

function script(name: string, text: string): string {
  writeFileSync(path.join(root, name), text);
  return name;
}

const env = () => ({ PATH: `${bin}:/usr/bin:/bin`, HOME: root });

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function node(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd: root, env: env() }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

const toolchain = (...args: readonly string[]) => node("scripts/with-toolchain.mjs", ...args);

describe.skipIf(process.platform === "win32")("with-toolchain", () => {
  const report = "console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;";

  it("runs the script directly where Node and pnpm are new enough, and passes arguments and the exit code on", async () => {
    program("pnpm", "echo 12.30.1");
    program("npx", "echo npx was asked; exit 1");
    const { code, stdout, stderr } = await toolchain(script("told.mjs", report), "--once", "two words", "$HOME");
    expect(JSON.parse(stdout)).toEqual(["--once", "two words", "$HOME"]);
    expect(stderr).toBe("");
    expect(code).toBe(7);
  });

  it("has npx fetch a pnpm where there is none, or an older one, and finds what npx found", async () => {
    program("npx", `echo "$@" > ${root}/asked; echo '["${process.execPath}",{"PATH":"${root}/fetched"}]'`);
    for (const older of [undefined, "echo 9.15.0", "echo not a version", "exit 1"]) {
      if (older !== undefined) program("pnpm", older);
      const { code, stdout, stderr } = await toolchain(script("path.mjs", "console.log(process.env.PATH)"));
      expect(stdout.trim()).toBe(`${root}/fetched`);
      expect(code).toBe(0);
      expect(stderr).toContain("Using pnpm@12");
      const asked = readFileSync(path.join(root, "asked"), "utf8");
      expect(asked).toMatch(/^--yes .*-p pnpm@12\.\d+\.\d+ -- node -p /);
      expect(asked).not.toContain("node-linux");
    }
  });

  it("says in a sentence what to install when nothing can be fetched", async () => {
    program("npx", "exit 1");
    const { code, stdout, stderr } = await toolchain(script("never.mjs", "console.log('ran')"));
    expect(stdout).toBe("");
    expect(stderr).toMatch(/npx could not fetch pnpm@12\S+\. Install Node 22\.18\.0 and pnpm 12\.0\.0 or newer\./);
    expect(code).toBe(1);
  });

  it("does not believe an npx that gives an old Node", async () => {
    program("old-node", "echo 18.20.0");
    program("npx", `echo '["${bin}/old-node",{"PATH":"${bin}"}]'`);
    const { code, stderr } = await toolchain(script("never.mjs", "console.log('ran')"));
    expect(stderr).toContain("gave Node 18.20.0");
    expect(code).toBe(1);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("passes %s on, and ends as the script ended", async (signal) => {
    program("pnpm", "echo 12.21.0");
    const waiting = `process.on("${signal}", () => { console.log("cleaned up"); process.exit(5); });
      setInterval(() => {}, 1000); console.log("ready");`;
    const child = spawn(process.execPath, ["scripts/with-toolchain.mjs", script("wait.mjs", waiting)], {
      cwd: root,
      env: env(),
      stdio: ["ignore", "pipe", "inherit"],
    });
    let seen = "";
    const ready = new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk) => {
        seen += chunk;
        if (seen.includes("ready")) resolve();
      });
    });
    await ready;
    child.kill(signal);
    expect(await once(child, "close")).toEqual([5, null]);
    expect(seen).toContain("cleaned up");
  });
});

describe.skipIf(process.platform === "win32")("demo", () => {
  const demo = (text: string) => {
    mkdirSync(path.join(root, "examples/demo"), { recursive: true });
    script("examples/demo/demo.ts", text);
  };

  it("installs, and runs the demo with the arguments and to the exit code that it has", async () => {
    program("pnpm", `echo "$@" >> ${root}/asked`);
    demo("console.log(process.argv.slice(2).join(), process.execArgv.join()); process.exitCode = 4;");
    const { code, stdout } = await node("scripts/demo.mjs", "--once");
    expect(readFileSync(path.join(root, "asked"), "utf8")).toBe("install --frozen-lockfile\n");
    expect(stdout).toBe("Installing the dependencies (once)…\n--once --conditions=@armature/source\n");
    expect(code).toBe(4);
  });

  it("shows what the installation said when it failed, and runs nothing", async () => {
    program("pnpm", "echo the lockfile is broken; exit 1");
    demo("console.log('ran');");
    const { code, stdout, stderr } = await node("scripts/demo.mjs");
    expect(stderr).toContain("The dependencies could not be installed.\nthe lockfile is broken");
    expect(stdout).not.toContain("ran");
    expect(code).toBe(1);
  });
});

describe.skipIf(process.platform === "win32")("verify", () => {
  const lastLine = ({ stdout }: Ended) => stdout.trimEnd().split("\n").at(-1);
  const results = (passed: number, failed: number, skipped: number) => {
    const report = { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, numTodoTests: 0 };
    return `for each in "$@"; do case "$each" in --outputFile.json=*) echo '${JSON.stringify(report)}' > "\${each#*=}";; esac; done`;
  };
  /** What vitest does when it runs the tests, and when it runs those of the packages. */
  const onTests = (tests: string, packages = results(0, 0, 0)) =>
    program(
      "pnpm",
      `echo "$@" >> ${root}/asked\n[ "$2" = vitest ] || exit 0\ncase "$*" in *vitest.packages.config*) ${packages};; *) ${tests};; esac`,
    );
  const asked = () => readFileSync(path.join(root, "asked"), "utf8");

  it("ends with the number of tests of both runs when every step passes", async () => {
    onTests(results(12, 0, 0), results(5, 0, 0));
    const ended = await node("scripts/verify.mjs");
    expect(lastLine(ended)).toBe("17 passed, 0 failed");
    expect(ended.code).toBe(0);
    const steps = asked().trim().split("\n");
    expect(steps.map((step) => /install|biome|tsc|docs:api --check|vitest|build/.exec(step)?.[0])).toEqual([
      ...["install", "biome", "tsc", "docs:api --check", "vitest", "build", "vitest"],
    ]);
  });

  it("says how many tests were skipped", async () => {
    onTests(results(12, 0, 3), results(5, 0, 1));
    expect(lastLine(await node("scripts/verify.mjs"))).toBe("17 passed, 0 failed, 4 skipped");
  });

  it("stops at the first step that fails, which is one failure, and fails itself", async () => {
    program("pnpm", `echo "$@" >> ${root}/asked; [ "$2" != biome ] || exit 3`);
    const ended = await node("scripts/verify.mjs");
    expect(lastLine(ended)).toBe("0 passed, 1 failed");
    expect(ended.stdout).toMatch(/Format and lint: failed after .* The steps behind it were not run\./);
    expect(asked()).not.toContain("tsc");
    expect(ended.code).toBe(3);
  });

  it("counts failed tests, and a run of tests that died as one failure", async () => {
    onTests(`${results(10, 2, 0)}; exit 1`);
    const failed = await node("scripts/verify.mjs");
    expect(lastLine(failed)).toBe("10 passed, 2 failed");
    expect(asked()).not.toContain("build");
    expect(failed.code).toBe(1);
    onTests("exit 1");
    expect(lastLine(await node("scripts/verify.mjs"))).toBe("0 passed, 1 failed");
  });

  it("counts too little coverage as a failure although no test failed", async () => {
    onTests(`${results(12, 0, 0)}; exit 1`);
    const ended = await node("scripts/verify.mjs");
    expect(lastLine(ended)).toBe("12 passed, 1 failed");
    expect(ended.code).toBe(1);
  });

  it("does not pass when the packages are not what they promise", async () => {
    onTests(results(12, 0, 0), `${results(4, 1, 0)}; exit 1`);
    const ended = await node("scripts/verify.mjs");
    expect(lastLine(ended)).toBe("16 passed, 1 failed");
    expect(ended.code).toBe(1);
    onTests(results(12, 0, 0), "exit 1");
    expect(lastLine(await node("scripts/verify.mjs"))).toBe("12 passed, 1 failed");
  });
});
