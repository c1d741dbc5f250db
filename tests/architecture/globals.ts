import ts from "typescript";
import { lineOf, nodesOf, type SourceFile, type SourceTree, type Violation } from "./source-tree.ts";

/** Where core may touch the machine's clock and randomness. */
const DOORS = ["packages/core/src/kernel/clock.ts", "packages/core/src/kernel/ids.ts"];

const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  process: ["env", "hrtime", "uptime"],
  Date: ["now"],
  performance: ["now"],
  Math: ["random"],
  crypto: ["randomUUID", "randomBytes", "randomInt", "getRandomValues"],
};

const IMPORTS: Readonly<Record<string, readonly string[]>> = {
  process: ["env", "hrtime", "uptime"],
  perf_hooks: ["performance"],
  crypto: ["randomUUID", "randomBytes", "randomInt", "randomFill", "randomFillSync", "getRandomValues", "webcrypto"],
};

/**
 * Time, ids, randomness and the environment come into core as values: it reads no global. Tests are let out, since
 * they choose the values.
 */
export function ambientGlobals({ files }: SourceTree): readonly Violation[] {
  return files
    .filter((file) => file.path.startsWith("packages/core/src/") && !file.isTest && !DOORS.includes(file.path))
    .flatMap((file) => [...found(file)]);
}

function* found(file: SourceFile): Generator<Violation> {
  for (const node of nodesOf(file.ast)) {
    const name = memberName(node) ?? freshDate(node) ?? importedName(node) ?? destructured(node);
    if (name !== undefined)
      yield { rule: "no-ambient-globals", file: file.path, detail: `${name} at ${lineOf(file, node)}` };
  }
}

/** `Date.now`, `process["env"]`, `globalThis.Math.random` */
function memberName(node: ts.Node): string | undefined {
  const member = ts.isPropertyAccessExpression(node)
    ? node.name.text
    : ts.isElementAccessExpression(node) && ts.isStringLiteralLike(node.argumentExpression)
      ? node.argumentExpression.text
      : undefined;
  if (member === undefined) return undefined;
  const owner = ownerName((node as ts.PropertyAccessExpression | ts.ElementAccessExpression).expression);
  return owner !== undefined && MEMBERS[owner]?.includes(member) === true ? `${owner}.${member}` : undefined;
}

function ownerName(node: ts.Expression): string | undefined {
  if (ts.isIdentifier(node)) return node.text;
  const onGlobal =
    ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === "globalThis";
  return onGlobal ? node.name.text : undefined;
}

/** `new Date()` and `Date()`; with an argument the instant comes from a value. */
function freshDate(node: ts.Node): string | undefined {
  if (!ts.isNewExpression(node) && !ts.isCallExpression(node)) return undefined;
  if (ownerName(node.expression) !== "Date") return undefined;
  if (ts.isNewExpression(node) && (node.arguments?.length ?? 0) > 0) return undefined;
  return ts.isNewExpression(node) ? "new Date()" : "Date()";
}

/** `import { randomUUID } from "node:crypto"` */
function importedName(node: ts.Node): string | undefined {
  if (!ts.isImportSpecifier(node)) return undefined;
  const specifier = node.parent.parent.parent.moduleSpecifier;
  const module = ts.isStringLiteral(specifier) ? specifier.text.replace(/^node:/, "") : "";
  const name = (node.propertyName ?? node.name).text;
  return IMPORTS[module]?.includes(name) === true ? `${name} of node:${module}` : undefined;
}

/** `const { env } = process` */
function destructured(node: ts.Node): string | undefined {
  if (!ts.isVariableDeclaration(node) || !ts.isObjectBindingPattern(node.name) || node.initializer === undefined)
    return undefined;
  const owner = ownerName(node.initializer);
  const taken = node.name.elements.map(({ propertyName, name }) => (propertyName ?? name).getText());
  const forbidden = owner === undefined ? undefined : taken.find((name) => MEMBERS[owner]?.includes(name) === true);
  return forbidden === undefined ? undefined : `${owner}.${forbidden}`;
}
