// Writes THIRD-PARTY-NOTICES.md of each package: `pnpm notices`. A test says when one is out of date, and when a
// licence is not allowed.
import { writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { type PublicPackage, publicPackages } from "./public-packages.ts";
import { type ThirdParty, thirdParties } from "./third-party.ts";

export const NOTICES = "THIRD-PARTY-NOTICES.md";

/** The page for one package: what comes with it, and the text of each licence once. */
export function noticesOf(own: PublicPackage): string {
  const all = thirdParties(own);
  const texts = new Map<string, ThirdParty[]>();
  for (const each of all) if (each.text !== "") texts.set(each.text, [...(texts.get(each.text) ?? []), each]);
  const lines = [
    `# What comes with ${own.manifest.name}`,
    "",
    "Nothing of what follows is inside this package: npm installs it beside, each under its own licence. It is written",
    "from the versions that this release was tested with. A peer is what your application brings.",
    "",
    ...all.map(
      ({ name, version, license, homepage, peer }) =>
        `- ${homepage === undefined ? name : `[${name}](${homepage})`} ${version}, ${license}${peer ? ", peer" : ""}`,
    ),
    "",
    "## Texts",
    ...[...texts].flatMap(([text, users]) => [
      "",
      `### ${users.map(({ name, version }) => `${name} ${version}`).join(", ")}`,
      "",
      "````text",
      text,
      "````",
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === import.meta.filename)
  for (const own of publicPackages()) writeFileSync(path.join(own.directory, NOTICES), noticesOf(own));
