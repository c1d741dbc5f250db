import type { AnyOperation, Contract } from "../packages/core/src/kernel/contract.ts";
import type { ErrorClass } from "../packages/core/src/kernel/errors.ts";
import { type JsonObject, jsonSchema } from "../packages/core/src/kernel/schema.ts";

/** A JSON Schema as far as a page reads it. */
interface Shape {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Shape>>;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly pattern?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly additionalProperties?: Shape | boolean;
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly allOf?: readonly Shape[];
  readonly description?: string;
  readonly "x-sensitive"?: boolean;
}

export const GENERATED = "<!-- Written by `pnpm docs:reference` from the contract. Changes made here are lost. -->";

/** The page of one context: what others may call, hear and be refused with. Internal operations are left out. */
export function contextPage(contract: Contract): string {
  const operations = publicOperations(contract);
  const errors = new Map(operations.flatMap(([, { errors }]) => errors.map((each) => [each.code, each] as const)));
  return lines([
    GENERATED,
    "",
    `# ${contract.name}`,
    "",
    "## Operations",
    "",
    ...operations.flatMap(([name, operation]) => operationSection(`${contract.name}.${name}`, operation)),
    ...(contract.events.length === 0 ? [] : ["## Events", ""]),
    ...contract.events.flatMap((event) => [
      `### \`${event.type}\``,
      "",
      `Version ${event.version}.`,
      "",
      ...fields(jsonSchema(event.data, "output")),
    ]),
    ...(errors.size === 0 ? [] : ["## Errors", "", ...errorTable([...errors.values()])]),
  ]);
}

/** The page that leads to the others, with the errors that any operation can answer. */
export function indexPage(contracts: readonly Contract[], common: readonly ErrorClass[]): string {
  return lines([
    GENERATED,
    "",
    "# Reference",
    "",
    "Every operation is a method of `app.as(principal)` and, where a route stands beside it, an HTTP endpoint.",
    "",
    "| context | operations | events |",
    "|---|---|---|",
    ...contracts.map((contract) => {
      const { name, events } = contract;
      return `| [${name}](${name}.md) | ${publicOperations(contract).length} | ${events.length} |`;
    }),
    "",
    "## Errors of any operation",
    "",
    "[Problems](problems.md) says of every error what it means and what to do.",
    "",
    ...errorTable(common),
  ]);
}

function publicOperations(contract: Contract): readonly (readonly [string, AnyOperation])[] {
  return Object.entries(contract.operations).filter(([, { permission }]) => permission !== "internal");
}

function operationSection(id: string, operation: AnyOperation): readonly string[] {
  const { kind, permission, http, summary, errors } = operation;
  const facts = [`${kind}`, `permission \`${permission}\``, ...(http === undefined ? [] : [`\`${http}\``])];
  const output = operation.output === undefined ? undefined : jsonSchema(operation.output, "output");
  return [
    `### \`${id}\``,
    "",
    summary,
    "",
    `${facts.join(" · ")}${cutOff(operation)}`,
    "",
    ...fields(jsonSchema(operation.input, "input"), "Input"),
    ...(output === undefined ? ["Returns nothing.", ""] : fields(output, kind === "stream" ? "Each item" : "Output")),
    ...(errors.length === 0 ? [] : [`Errors: ${errors.map(({ code }) => `\`${code}\``).join(", ")}`, ""]),
  ];
}

function cutOff({ kind, repeatable }: AnyOperation): string {
  if (kind !== "action") return "";
  if (repeatable === true) return " · an attempt that was cut off is repeated under its idempotency key";
  return repeatable === "handler"
    ? " · whether an attempt that was cut off is repeated depends on what is called"
    : " · an attempt that was cut off answers `unknown_outcome`";
}

function errorTable(errors: readonly ErrorClass[]): readonly string[] {
  const rows = errors.map(({ code, kind }) => `| \`${code}\` | ${kind} |`);
  return ["| code | kind |", "|---|---|", ...rows, ""];
}

function fields(schema: JsonObject, title = ""): readonly string[] {
  const root = schema as Shape;
  const shape = resolved(root, root);
  const prefix = title === "" ? "" : `${title}: `;
  if (shape.properties === undefined) return [`${prefix}${code(typeText(root, shape))}`, ""];
  const entries = Object.entries(shape.properties);
  if (entries.length === 0) return [`${prefix}no fields.`, ""];
  return [
    ...(title === "" ? [] : [`${title}:`, ""]),
    "| field | type | |",
    "|---|---|---|",
    ...entries.map(([name, field]) => {
      const notes = [
        ...(shape.required?.includes(name) === true ? [] : ["optional"]),
        ...(resolved(root, field)["x-sensitive"] === true || field["x-sensitive"] === true ? ["sensitive"] : []),
        ...(field.description === undefined ? [] : [field.description.replaceAll("|", "\\|")]),
      ];
      return `| \`${name}\` | ${code(typeText(root, field))} | ${notes.join(", ")} |`;
    }),
    "",
  ];
}

export function typeText(root: Shape, shape: Shape, depth = 0): string {
  const node = resolved(root, shape);
  // A schema that contains itself is that of any JSON value.
  if (shape.$ref !== undefined && JSON.stringify(node).includes(JSON.stringify(shape.$ref))) return "any JSON";
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum !== undefined) return node.enum.map((each) => JSON.stringify(each)).join(" | ");
  const options = node.anyOf ?? node.oneOf;
  if (options !== undefined) return options.map((each) => typeText(root, each, depth)).join(" | ");
  if (node.allOf !== undefined) return node.allOf.map((each) => typeText(root, each, depth)).join(" & ");
  if (node.type === "array") return `${grouped(typeText(root, node.items ?? {}, depth))}[]`;
  if (node.type === "object") return objectText(root, node, depth);
  // What takes objects among others names none of their fields: it takes any.
  if (Array.isArray(node.type)) return node.type.includes("object") ? "any JSON" : node.type.join(" | ");
  return node.format ?? (node.type as string | undefined) ?? "any JSON";
}

function objectText(root: Shape, node: Shape, depth: number): string {
  const entries = Object.entries(node.properties ?? {});
  if (entries.length === 0)
    return typeof node.additionalProperties === "object" ? mapText(root, node, depth) : "object";
  if (depth > 2) return "object";
  const inside = entries.map(([name, field]) => {
    const mark = node.required?.includes(name) === true ? "" : "?";
    return `${name}${mark}: ${typeText(root, field, depth + 1)}`;
  });
  return `{ ${inside.join("; ")} }`;
}

function mapText(root: Shape, node: Shape, depth: number): string {
  return `{ [key]: ${typeText(root, node.additionalProperties as Shape, depth + 1)} }`;
}

const grouped = (text: string): string => (text.includes(" | ") && !text.startsWith("{") ? `(${text})` : text);

// A bar inside a cell ends it, in code too.
const code = (text: string): string => `\`${text.replaceAll("|", "\\|")}\``;

function resolved(root: Shape, shape: Shape): Shape {
  let node = shape;
  for (let depth = 0; depth < 20 && node.$ref !== undefined; depth += 1) {
    const path = node.$ref.replace(/^#\/?/, "").split("/").filter(Boolean);
    node = path.reduce<Shape>((at, part) => (at as Readonly<Record<string, Shape>>)[part]!, root);
  }
  return node;
}

const lines = (all: readonly string[]): string => `${all.join("\n").trimEnd()}\n`;
