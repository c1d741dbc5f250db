import { execFile } from "node:child_process";
import path from "node:path";
import { inMemory } from "@armature/core/in-memory";
import { brokenRules, defineFaultScenario, runFaults } from "@armature/core/testing";
import { describe, expect, it } from "vitest";
import { runCampaign } from "./faults/campaign.ts";
import { scenarios } from "./faults/scenarios.ts";
import { labContext } from "./scenarios/lab.ts";

const root = path.dirname(import.meta.dirname);
const LONG = 300_000;

describe("our own contexts in the fault simulator", () => {
  it("hold what must hold over 50 seeds, in memory", { timeout: LONG }, async () => {
    const { failed, figures } = await runCampaign({ store: "in-memory", from: 1, seeds: 50 });
    expect(failed?.violations, failed?.repeat).toBeUndefined();
    // A machine in which nothing goes wrong finds nothing.
    expect(figures.crashes).toBeGreaterThan(50);
    expect(figures.repeated).toBeGreaterThan(50);
    expect(figures.acknowledged).toBeGreaterThan(900);
    expect(Object.keys(figures.faults).sort()).toEqual(
      ["crash-after", "crash-before", "error-after", "error-before", "stall-after", "stall-before", "twice"].sort(),
    );
  });

  it("hold it over a few seeds on PGlite", { timeout: LONG }, async () => {
    const { failed } = await runCampaign({ store: "pglite", from: 1, seeds: scenarios.length });
    expect(failed?.violations, failed?.repeat).toBeUndefined();
  });

  it.each(brokenRules)("are found out when the rule `%s` is broken", { timeout: LONG }, async (breakRule) => {
    const { failed } = await runCampaign({ store: "in-memory", from: 1, seeds: 40, breakRule });
    expect(failed?.violations.length).toBeGreaterThan(0);
    const again = await runCampaign({
      store: "in-memory",
      from: failed!.seed,
      seeds: 1,
      scenario: failed!.scenario,
      breakRule,
    });
    expect(again.failed?.violations).toEqual(failed!.violations);
  });

  it.each(scenarios.map(({ name }) => name))("do the same for the same seed: %s", async (name) => {
    const scenario = scenarios.find((each) => each.name === name)!;
    const run = (seed: number) => runFaults({ seed, scenario, store: () => inMemory(), processes: 3 });
    const [first, again, other] = [await run(7), await run(7), await run(8)];
    expect(again.trace).toEqual(first.trace);
    expect(again.figures).toEqual(first.figures);
    expect(other.trace).not.toEqual(first.trace);
    expect(first.trace.length).toBeGreaterThan(100);
  });
});

describe("the fault simulator", () => {
  const add = {
    name: "add",
    run: async ({ call }: { call(operation: string, input: object): Promise<unknown> }) => {
      await call("lab.add", { counterId: "a" });
    },
  };

  it("says which of a host's own sentences did not hold, and what it had to say", async () => {
    const scenario = defineFaultScenario({
      name: "wrong",
      contexts: () => [labContext()] as const,
      steps: [add],
      invariants: {
        "there is a counter b": async ({ as, tenants }) => {
          await as(tenants[0]!).lab.look({ counterId: "b" });
        },
      },
    });
    const { violations } = await runFaults({ seed: 1, scenario, store: () => inMemory() });
    expect(violations).toEqual([{ rule: "there is a counter b", detail: 'There is no counter "b".' }]);
  });

  it("finds a handler that counts outside of its commit", async () => {
    const counted = new Map<string, number>();
    const scenario = defineFaultScenario({
      name: "outside",
      contexts: () =>
        [
          labContext({
            add: async ({ counterId }) => {
              counted.set(counterId, (counted.get(counterId) ?? 0) + 1);
              return { value: counted.get(counterId)! };
            },
          }),
        ] as const,
      steps: [add],
      invariants: {
        "each acknowledged call has counted once": ({ tenants, acknowledged }) => {
          const calls = tenants.flatMap((tenant) => acknowledged(tenant)).length;
          if (counted.get("a") !== calls) throw new Error(`${calls} calls counted ${counted.get("a")} times`);
        },
      },
    });
    const found: string[] = [];
    for (let seed = 1; seed <= 10 && found.length === 0; seed += 1) {
      counted.clear();
      const { violations } = await runFaults({ seed, scenario, store: () => inMemory() });
      found.push(...violations.map(({ rule }) => rule));
    }
    expect(found).toEqual(["each acknowledged call has counted once"]);
  });

  it("is run by `pnpm faults`, which ends with 1 and the line that repeats the seed", { timeout: LONG }, async () => {
    const run = (...args: string[]) =>
      new Promise<{ code: number; stdout: string }>((resolve) => {
        const command = ["--conditions=@armature/source", path.join(root, "scripts/faults.ts"), ...args];
        execFile(process.execPath, command, { maxBuffer: 2 ** 26 }, (error, stdout) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout }),
        );
      });
    const red = await run("--seeds", "40", "--store", "in-memory", "--break", "inbox");
    expect(red.code).toBe(1);
    expect(red.stdout).toContain("VIOLATED: one effect per consumer and event");
    const line = /^Again with: pnpm faults (.+)$/m.exec(red.stdout)?.[1];
    expect(line).toMatch(/^--seed \d+ --store in-memory --scenario [a-z-]+ --break inbox$/);
    const again = await run(...line!.split(" "));
    expect(again.code).toBe(1);
    const green = await run("--seeds", "2", "--from", "3", "--store", "in-memory");
    expect([green.code, green.stdout]).toEqual([0, expect.stringContaining("in-memory: nothing was violated")]);
  });
});
