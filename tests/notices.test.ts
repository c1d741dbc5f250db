import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { NOTICES, noticesOf } from "../scripts/notices.ts";
import { publicPackages } from "../scripts/public-packages.ts";
import { licenseProblem, thirdParties } from "../scripts/third-party.ts";

describe.each(publicPackages().map((own) => ({ name: own.manifest.name, own })))("what comes with $name", ({ own }) => {
  const all = thirdParties(own);

  it("is under a licence that asks for no more than to be passed on", () => {
    expect(all.map(({ name }) => name)).toContain("zod");
    const problems = all.flatMap(({ name, version, license }) => {
      const problem = licenseProblem(license);
      return problem === undefined ? [] : [`${name} ${version} ${problem}`];
    });
    expect(problems).toEqual([]);
  });

  it("is told in its notices (`pnpm notices` writes them)", () => {
    const file = path.join(own.directory, NOTICES);
    expect(existsSync(file) ? readFileSync(file, "utf8") : "").toBe(noticesOf(own));
  });
});

describe("the list of licences", () => {
  it("takes a choice when one of it is allowed, and a sum only when all of it are", () => {
    for (const license of ["MIT", "(MIT OR GPL-3.0-only)", "GPL-3.0-only OR Apache-2.0", "MIT AND ISC"])
      expect(licenseProblem(license), license).toBeUndefined();
    for (const license of ["GPL-3.0-only", "MIT AND GPL-3.0-only", "SEE LICENSE IN x", "", "not stated (nothing)"])
      expect(licenseProblem(license), license).toContain(`is under "${license}"`);
  });
});
