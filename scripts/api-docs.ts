// Pages of every public name of every package, from its docstrings: `pnpm docs:api` writes them to docs/api, which is
// not kept in git. With `--check` it writes nothing. A type that a public signature names and no entry exports, a link
// that leads nowhere, and anything else that typedoc warns of is a failure.
import path from "node:path";
import process from "node:process";
import { Application, type TypeDocOptions } from "typedoc";
import { importName, publicPackages, root } from "./public-packages.ts";

/** Parts of a public signature that a host has no use for by name: steps of a computed type, and schemas behind one. */
const NOT_EXPORTED: Readonly<Record<string, readonly string[]>> = {
  "@armature/adapter-mcp": ["pinnedTool", "result"],
  "@armature/connectors": ["CommonOptions", "OAuthOptions", "PrivateAppOptions", "contact"],
  "@armature/core": [
    "Activities",
    "AnyEvent",
    "Arguments",
    "AtomicOf",
    "Awaitable",
    "ClientsOf",
    "ContractOf",
    "EventsOf",
    "Handler",
    "InputOf",
    "OperationInput",
    "OperationOutput",
    "OutputOf",
    "Reach",
    "Sendable",
    "SignalOf",
    "Signals",
    "Testable",
    "TokenEndpointOptions",
    "WithheldBy",
    "__class",
    "approvalDetails",
    "approvalView",
    "assistantPart",
    "connectorView",
    "cost",
    "executionView",
    "filePart",
    "fileSource",
    "finishReason",
    "invalidToolCallPart",
    "messageView",
    "modelPrice",
    "modelTurn",
    "modelUsage",
    "modelWarning",
    "projectionView",
    "providerOptions",
    "providerView",
    "reasoningPart",
    "reauthorizationReason",
    "runInput",
    "runUsage",
    "runView",
    "textPart",
    "toolCallPart",
    "toolResultPart",
  ],
};

const entries = publicPackages().flatMap(({ directory, manifest }) =>
  Object.entries(manifest.exports).map(([subpath, { "@armature/source": source }]) => {
    if (source === undefined) throw new Error(`${importName(manifest, subpath)} has no source.`);
    return { name: importName(manifest, subpath), file: path.join(directory, source) };
  }),
);
const out = path.join(root, "docs", "api");

const options: TypeDocOptions = {
  name: "Armature",
  entryPoints: entries.map(({ file }) => file),
  tsconfig: path.join(root, "tsconfig.json"),
  basePath: root,
  readme: "none",
  disableGit: true,
  disableSources: true,
  githubPages: false,
  out,
  excludePrivate: true,
  excludeInternal: true,
  treatWarningsAsErrors: true,
  validation: { notExported: true, invalidLink: true, rewrittenLink: true, notDocumented: false },
  highlightLanguages: ["ts", "js", "json", "sql", "sh"],
};

const app = await Application.bootstrapWithPlugins(options);
const project = await app.convert();
if (project === undefined) process.exit(1);
const modules = project.children ?? [];
// Modules are named after their files; a reader knows them by the name to import.
for (const module of modules) {
  const source = project.getSymbolIdFromReflection(module)?.fileName;
  const entry = entries.find(({ file }) => (source === undefined ? false : path.resolve(root, source) === file));
  if (entry !== undefined) module.name = entry.name;
}
// typedoc looks for names that are not exported in one package at a time: that of the project. A name of this list that
// is exported by now, or that nothing refers to, is a warning too.
for (const { manifest } of publicPackages()) {
  project.packageName = manifest.name;
  app.options.setValue("intentionallyNotExported", [...(NOT_EXPORTED[manifest.name] ?? [])]);
  app.validate(project);
}
const unnamed = modules.filter(({ name }) => !entries.some((entry) => entry.name === name));
if (modules.length !== entries.length || unnamed.length > 0)
  throw new Error(`Not every entry point has a page of its own: ${unnamed.map(({ name }) => name).join(", ")}`);

const failed = app.logger.hasErrors() || app.logger.hasWarnings();
if (!failed && !process.argv.includes("--check")) await app.generateOutputs(project);
const names = Object.keys(project.reflections).length;
console.log(`${entries.length} entry points, ${names} names: ${failed ? "there are problems" : "no problem"}`);
if (failed || app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
