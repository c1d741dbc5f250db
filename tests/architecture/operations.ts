import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { lineOf, nodesOf, type SourceFile, type SourceTree, type Violation } from "./source-tree.ts";

const CONTRACT = /^packages\/core\/src\/contexts\/([^/]+)\/contract\.ts$/;
const KINDS = ["query", "command", "action", "stream"];

interface FoundOperation {
  readonly file: SourceFile;
  readonly context: string;
  readonly name: string;
  readonly options: ts.ObjectLiteralExpression;
}

/**
 * Each operation of our contexts declares a permission and a summary. A public one, which is every one whose
 * permission is not "internal", stands in `docs/reference/<context>.md` and is called by name in some test.
 */
export function operationsWithoutProof(tree: SourceTree): readonly Violation[] {
  const called = calledOperations(tree);
  return tree.files
    .filter((file) => CONTRACT.test(file.path))
    .flatMap((file) => {
      const contract = contractOf(file);
      if (contract === undefined) return [violation(file, "operation-declared", "calls no defineContract(…)")];
      return contract.unread.concat(contract.operations.flatMap((each) => checked(tree, called, each)));
    });
}

/** Ids of the operations that were found, `connectors.invoke`. */
export function operationIds(tree: SourceTree): readonly string[] {
  return tree.files
    .filter((file) => CONTRACT.test(file.path))
    .flatMap((file) => contractOf(file)?.operations ?? [])
    .map(({ context, name }) => `${context}.${name}`);
}

function checked(tree: SourceTree, called: ReadonlySet<string>, operation: FoundOperation): readonly Violation[] {
  const { file, context, name } = operation;
  const id = `${context}.${name}`;
  const missing = ["permission", "summary"].filter((key) => isEmpty(textOf(operation.options, key)));
  const violations = missing.map((key) => violation(file, "operation-declared", `${id} has no ${key}`));
  if (textOf(operation.options, "permission") === "internal") return violations;
  if (!page(tree.root, context).includes(`\`${id}\``))
    violations.push(violation(file, "operation-documented", `docs/reference/${context}.md does not name \`${id}\``));
  if (!called.has(id) && !called.has(`${context}/${name}`))
    violations.push(violation(file, "operation-tested", `no test calls ${id}`));
  return violations;
}

function violation(file: SourceFile, rule: string, detail: string): Violation {
  return { rule, file: file.path, detail };
}

function contractOf(file: SourceFile) {
  for (const node of nodesOf(file.ast)) {
    if (!ts.isCallExpression(node) || node.expression.getText() !== "defineContract") continue;
    const [name, map] = node.arguments;
    if (name === undefined || !ts.isStringLiteralLike(name) || map === undefined || !ts.isObjectLiteralExpression(map))
      return undefined;
    const operations: FoundOperation[] = [];
    const unread: Violation[] = [];
    for (const property of map.properties) {
      const options = optionsOf(file, property);
      const key = property.name?.getText();
      if (options === undefined || key === undefined)
        unread.push(violation(file, "operation-declared", `cannot be read at ${lineOf(file, property)}`));
      else operations.push({ file, context: name.text, name: key, options });
    }
    return { operations, unread };
  }
  return undefined;
}

/** The options of `list: query({ … })`, or of `list` where `const list = query({ … })` stands in the same file. */
function optionsOf(file: SourceFile, property: ts.ObjectLiteralElementLike): ts.ObjectLiteralExpression | undefined {
  const value = ts.isPropertyAssignment(property)
    ? property.initializer
    : ts.isShorthandPropertyAssignment(property)
      ? constantOf(file, property.name.text)
      : undefined;
  if (value === undefined || !ts.isCallExpression(value) || !KINDS.includes(value.expression.getText()))
    return undefined;
  const [options] = value.arguments;
  return options !== undefined && ts.isObjectLiteralExpression(options) ? options : undefined;
}

function constantOf(file: SourceFile, name: string): ts.Expression | undefined {
  return file.ast.statements
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations])
    .find((declaration) => declaration.name.getText() === name)?.initializer;
}

/** The text of a string property; other expressions as they are written. */
function textOf(options: ts.ObjectLiteralExpression, key: string): string | undefined {
  const property = options.properties.find((each) => each.name?.getText() === key);
  if (property === undefined || !ts.isPropertyAssignment(property)) return property?.getText();
  const { initializer } = property;
  return ts.isStringLiteralLike(initializer) ? initializer.text : initializer.getText();
}

const isEmpty = (text: string | undefined): boolean => text === undefined || text.trim() === "";

function page(root: string, context: string): string {
  const file = path.join(root, "docs", "reference", `${context}.md`);
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/**
 * What tests call: `connectors.invoke` where the call reads `….connectors.invoke(` or `use(connectors).invoke(`, or
 * where a test names the id as text; and `connectors/invoke` where a test in the context's own folder calls
 * `….invoke(` on something that is not another context.
 */
function calledOperations({ files }: SourceTree): ReadonlySet<string> {
  const called = new Set<string>();
  const contexts = new Set(files.map((file) => CONTRACT.exec(file.path)?.[1]));
  for (const file of files.filter(({ isTest }) => isTest)) {
    const home = /^packages\/core\/src\/contexts\/([^/]+)\//.exec(file.path)?.[1];
    for (const node of nodesOf(file.ast)) {
      if (ts.isStringLiteralLike(node)) called.add(node.text);
      if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) continue;
      const { name, expression } = node.expression;
      const owner = ts.isPropertyAccessExpression(expression)
        ? expression.name
        : ts.isCallExpression(expression)
          ? expression.arguments[0]
          : expression;
      const context = owner?.getText() ?? "";
      called.add(`${context}.${name.text}`);
      if (home !== undefined && !contexts.has(context)) called.add(`${home}/${name.text}`);
    }
  }
  return called;
}
