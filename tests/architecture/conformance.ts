import ts from "typescript";
import { isExported, nodesOf, type SourceFile, type SourceTree, type Violation } from "./source-tree.ts";

const KERNEL = "packages/core/src/kernel/";
const PORT_FILES = [`${KERNEL}ports.ts`, `${KERNEL}store.ts`, `${KERNEL}clock.ts`, `${KERNEL}ids.ts`];
const CONTEXT_PORTS = /^packages\/core\/src\/contexts\/[^/]+\/ports\.ts$/;
const SUITES = "packages/conformance/src/index.ts";

export interface ConformanceExceptions {
  /** Ports without a suite, each with its reason. */
  readonly ports: Readonly<Record<string, string>>;
  /** Implementations that need not run their port's suite, `Clock FixedClock`, each with its reason. */
  readonly implementations: Readonly<Record<string, string>>;
}

/**
 * Each port has a suite `<port>Suite` that `packages/conformance` exports, and each implementation in a package runs
 * it: some test names the suite and the implementation, or a function of its package that makes one.
 *
 * A port is an interface with methods that a port file exports and that is not just a part of another one there. An
 * implementation is a class that says `implements`, or an exported function or constant declared to be a port.
 */
export function portsWithoutSuite(tree: SourceTree, exceptions: ConformanceExceptions): readonly Violation[] {
  const ports = portsOf(tree);
  const implementations = implementationsOf(tree, new Set(ports.map(({ port }) => port)));
  const suites = exportedNames(tree.files.find((file) => file.path === SUITES));
  const tests = tree.files.filter((file) => file.isTest).map((file) => identifiersOf(file.ast));
  return [
    ...ports
      .filter(({ port }) => exceptions.ports[port] === undefined && !suites.has(suiteOf(port)))
      .map(({ port, file }) => violation(file, `${SUITES} exports no ${suiteOf(port)} for ${port}`)),
    ...implementations
      .filter(
        ({ port, name }) =>
          exceptions.ports[port] === undefined && exceptions.implementations[`${port} ${name}`] === undefined,
      )
      .filter(
        ({ port, makers }) => !tests.some((test) => test.has(suiteOf(port)) && makers.some((each) => test.has(each))),
      )
      .map(({ port, name, file }) => violation(file, `no test runs ${suiteOf(port)} on ${name}`)),
    ...Object.keys(exceptions.ports)
      .filter((key) => !ports.some(({ port }) => port === key))
      .map((key) => stale(`there is no port "${key}" any more`)),
    ...Object.keys(exceptions.implementations)
      .filter((key) => !implementations.some(({ port, name }) => `${port} ${name}` === key))
      .map((key) => stale(`there is no implementation "${key}" any more`)),
  ];
}

const violation = (file: string, detail: string): Violation => ({ rule: "port-has-suite", file, detail });
const stale = (detail: string): Violation => ({ rule: "stale-exception", file: SUITES, detail });

/** `Store` → `storeSuite` */
const suiteOf = (port: string): string => `${port.slice(0, 1).toLowerCase()}${port.slice(1)}Suite`;

export function portsOf({ files }: SourceTree): readonly { readonly port: string; readonly file: string }[] {
  return files
    .filter((file) => PORT_FILES.includes(file.path) || CONTEXT_PORTS.test(file.path))
    .flatMap((file) => {
      const interfaces = file.ast.statements.filter(ts.isInterfaceDeclaration);
      const names = new Set(interfaces.map(({ name }) => name.text));
      const parts = partsOf(file);
      return interfaces
        .filter((each) => isExported(each) && each.members.some(ts.isMethodSignature) && !parts.has(each.name.text))
        .filter((each) => !heritageOf(each).some((parent) => names.has(parent)))
        .map((each) => ({ port: each.name.text, file: file.path }));
    });
}

/** Names that a declaration of the file mentions inside of another, other than as what it extends. */
function partsOf(file: SourceFile): ReadonlySet<string> {
  const parts = new Set<string>();
  for (const statement of file.ast.statements) {
    const own = (statement as { readonly name?: ts.Identifier }).name?.text;
    const members = ts.isInterfaceDeclaration(statement) ? statement.members : [statement];
    const signature = ts.isFunctionDeclaration(statement) || ts.isVariableStatement(statement);
    if (signature) continue;
    for (const member of members)
      for (const node of nodesOf(member)) if (ts.isIdentifier(node) && node.text !== own) parts.add(node.text);
  }
  return parts;
}

function heritageOf(node: ts.InterfaceDeclaration | ts.ClassDeclaration): readonly string[] {
  return (node.heritageClauses ?? []).flatMap(({ types }) => types.map(({ expression }) => expression.getText()));
}

interface Implementation {
  readonly port: string;
  readonly name: string;
  readonly file: string;
  /** Its own name, and the functions of its package that make one. */
  readonly makers: readonly string[];
}

function implementationsOf(tree: SourceTree, ports: ReadonlySet<string>): readonly Implementation[] {
  const published = tree.files.filter((file) => /^packages\/[^/]+\/src\//.test(file.path) && !file.isTest);
  const declarations = published.flatMap((file) => [...declarationsOf(file)]);
  return published.flatMap((file) =>
    [...implementedIn(file, ports)].map(({ port, name }) => ({
      port,
      name,
      file: file.path,
      makers: makersOf(name, file.path, declarations),
    })),
  );
}

function* implementedIn(file: SourceFile, ports: ReadonlySet<string>): Generator<{ port: string; name: string }> {
  for (const statement of file.ast.statements) {
    if (ts.isClassDeclaration(statement) && statement.name !== undefined)
      for (const port of heritageOf(statement)) if (ports.has(port)) yield { port, name: statement.name.text };
    if (!isExported(statement)) continue;
    if (ts.isFunctionDeclaration(statement) && statement.name !== undefined)
      for (const port of declaredAs(statement.type, ports)) yield { port, name: statement.name.text };
    if (ts.isVariableStatement(statement))
      for (const { name, type } of statement.declarationList.declarations)
        for (const port of declaredAs(type, ports)) yield { port, name: name.getText() };
  }
}

/** `Clock`, and `Promise<Clock>`. */
function declaredAs(type: ts.TypeNode | undefined, ports: ReadonlySet<string>): readonly string[] {
  const name = /^(?:Promise<)?(\w+)>?$/.exec(type?.getText() ?? "")?.[1];
  return name !== undefined && ports.has(name) ? [name] : [];
}

interface Declaration {
  readonly name: string;
  readonly file: string;
  readonly mentions: ReadonlySet<string>;
}

function* declarationsOf(file: SourceFile): Generator<Declaration> {
  for (const statement of file.ast.statements) {
    if ((ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) && statement.name !== undefined)
      yield { name: statement.name.text, file: file.path, mentions: identifiersOf(statement) };
    if (ts.isVariableStatement(statement))
      for (const each of statement.declarationList.declarations)
        yield { name: each.name.getText(), file: file.path, mentions: identifiersOf(each) };
  }
}

function makersOf(name: string, file: string, declarations: readonly Declaration[]): readonly string[] {
  const home = file.split("/").slice(0, 2).join("/");
  const makers = new Set([name]);
  for (let size = 0; size !== makers.size; ) {
    size = makers.size;
    for (const each of declarations)
      if (each.file.startsWith(`${home}/`) && [...makers].some((maker) => each.mentions.has(maker)))
        makers.add(each.name);
  }
  return [...makers];
}

function exportedNames(file: SourceFile | undefined): ReadonlySet<string> {
  const names = new Set<string>();
  for (const node of file === undefined ? [] : nodesOf(file.ast)) {
    if (ts.isExportSpecifier(node)) names.add(node.name.text);
    if (ts.isFunctionDeclaration(node) && isExported(node) && node.name !== undefined) names.add(node.name.text);
  }
  return names;
}

function identifiersOf(node: ts.Node): ReadonlySet<string> {
  const names = new Set<string>();
  for (const each of nodesOf(node)) if (ts.isIdentifier(each)) names.add(each.text);
  return names;
}
