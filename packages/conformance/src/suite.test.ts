import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { describeSuite, SkipList } from "./suite.ts";

const read = (name: string) => readFileSync(path.join(import.meta.dirname, name), "utf8");
const ran: string[] = [];

describeSuite("Example", "a", { skip: [{ test: "not for this one", reason: "it cannot" }] }, (test) => {
  test("for every one", () => void ran.push("for every one"));
  test("not for this one", () => void ran.push("not for this one"));
});

describe("a suite", () => {
  it("leaves out the tests that an adapter names, and no others", () => {
    expect(ran).toEqual(["for every one"]);
  });

  it("notices a skip that names no test", () => {
    const skips = new SkipList({
      skip: [
        { test: "there", reason: "it cannot" },
        { test: "gone", reason: "old" },
      ],
    });
    expect(skips.reasonFor("other")).toBeUndefined();
    expect(skips.reasonFor("there")).toBe("it cannot");
    expect(skips.unknown).toEqual(["gone"]);
  });
});

describe("the README", () => {
  it("shows the example that runs here", () => {
    expect(read("../README.md")).toContain(`\`\`\`ts types\n${read("example.test.ts")}\`\`\``);
  });

  it("has a line for each suite", () => {
    const suites = [...read("index.ts").matchAll(/\b[a-zA-Z]+Suite\b/g)].map(([name]) => name);
    expect(suites).toHaveLength(12);
    for (const suite of suites) expect(read("../README.md")).toContain(`| \`${suite}\` `);
  });
});
