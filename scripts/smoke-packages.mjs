// Looks at each package the way its users get it: packs it and reads what is in the archive, imports every subpath and
// starts every command from the built files, and type-checks their declarations. Run it after `pnpm build`.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import ts from "typescript";

const packages = path.join(path.dirname(import.meta.dirname), "packages");
const scratch = mkdtempSync(path.join(tmpdir(), "armature-pack-"));
const shell = process.platform === "win32";
const problems = [];
const declarations = [];

for (const folder of readdirSync(packages)) {
  const directory = path.join(packages, folder);
  if (!existsSync(path.join(directory, "package.json"))) continue;
  const manifest = JSON.parse(readFileSync(path.join(directory, "package.json"), "utf8"));
  const before = problems.length;
  checkArchive(manifest, directory);
  const subpaths = checkImports(manifest, directory);
  checkCommands(manifest, directory);
  for (const { types } of Object.values(manifest.exports))
    if (types !== undefined) declarations.push(path.join(directory, types));
  if (problems.length === before) console.log(`${manifest.name}: ${subpaths.length} entry points`);
}
checkDeclarations();

rmSync(scratch, { recursive: true, force: true });
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

function checkArchive(manifest, directory) {
  const archive = path.join(scratch, `${path.basename(directory)}.tgz`);
  execFileSync("pnpm", ["pack", "--out", archive], { cwd: directory, shell, stdio: ["ignore", "ignore", "inherit"] });
  const files = new Set(
    execFileSync("tar", ["-tzf", archive], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((file) => file.replace(/^package\//, "./")),
  );
  const packed = JSON.parse(execFileSync("tar", ["-xzOf", archive, "package/package.json"], { encoding: "utf8" }));
  const stated = JSON.stringify(packed);
  if (stated.includes("@armature/source")) problems.push(`${manifest.name} publishes the source condition.`);
  if (stated.includes('"workspace:')) problems.push(`${manifest.name} publishes a workspace: version.`);
  if (JSON.stringify(Object.keys(manifest.exports)) !== JSON.stringify(Object.keys(packed.exports)))
    problems.push(`${manifest.name}: publishConfig.exports does not list the same subpaths as exports.`);
  const targets = [...Object.values(packed.exports), packed.bin ?? {}].flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target),
  );
  for (const target of ["./LICENSE", "./README.md", ...targets])
    if (!files.has(target)) problems.push(`${manifest.name}: its archive has no ${target}.`);
}

// A package may import itself by name, so no copy has to be installed. Without the source condition that is `dist`.
function checkImports(manifest, directory) {
  const subpaths = Object.keys(manifest.exports).map((subpath) => manifest.name + subpath.slice(1));
  for (const subpath of subpaths) {
    try {
      execFileSync(
        process.execPath,
        [
          "--input-type=module",
          "-e",
          `const names = Object.keys(await import(${JSON.stringify(subpath)}));
           if (names.length === 0) throw new Error("it exports nothing");`,
        ],
        { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 },
      );
    } catch (error) {
      problems.push(`${subpath} cannot be imported from its built files:\n${error.stderr || error.message}`);
    }
  }
  return subpaths;
}

function checkCommands(manifest, directory) {
  for (const [command, file] of Object.entries(manifest.bin ?? {})) {
    try {
      const options = { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 };
      const help = execFileSync(process.execPath, [path.join(directory, file), "--help"], options);
      if (!help.includes(command)) problems.push(`${command} --help does not name it.`);
    } catch (error) {
      problems.push(`${command} --help fails:\n${error.stderr || error.message}`);
    }
  }
}

// As a host whose compiler looks into declarations too (`skipLibCheck: false`). Only ours are judged.
function checkDeclarations() {
  const before = problems.length;
  const program = ts.createProgram(declarations, {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2024,
    lib: ["lib.es2024.d.ts", "lib.esnext.disposable.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ["node"],
    typeRoots: [path.join(path.dirname(packages), "node_modules", "@types")],
  });
  const looked = program.getSourceFiles().filter(({ fileName }) => /\/packages\/[^/]+\/dist\//.test(fileName));
  for (const file of looked)
    for (const { messageText } of [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
      problems.push(`${file.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
  if (looked.length < declarations.length) problems.push(`Only ${looked.length} files of declarations were looked at.`);
  if (problems.length === before) console.log(`${looked.length} files of declarations type-check`);
}
