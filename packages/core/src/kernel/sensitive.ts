import type { z } from "zod";
import { type JsonObject, jsonSchema, type Schema } from "./schema.ts";
import { shortened } from "./shortened.ts";

const MARK = "x-sensitive";
const REDACTED = "[redacted]";
const LONGEST_TEXT = 500;
/** What a list or record may bring along; a caller must not be able to fill the audit trail with one call. */
const MOST_ENTRIES = 200;

/**
 * Marks a field whose value is never written to an audit row, an idempotency record, a log or a span. In a pipe, mark
 * the whole: `sensitive(a.pipe(b))`.
 */
export function sensitive<S extends z.ZodType>(schema: S): S {
  // Without the id: two schemas of one id cannot stand in one JSON Schema.
  const { id: _, ...meta } = schema.meta() ?? {};
  return schema.meta({ ...meta, [MARK]: true }) as S;
}

/** Writes a value with everything sensitive replaced. */
export type Redact = (value: unknown) => JsonObject;

type Node = JsonObject & {
  $ref?: string;
  $defs?: Readonly<Record<string, Node>>;
  properties?: Readonly<Record<string, Node>>;
  patternProperties?: Readonly<Record<string, Node>>;
  additionalProperties?: Node | boolean;
  prefixItems?: readonly Node[];
  items?: Node | boolean;
  anyOf?: readonly Node[];
  allOf?: readonly Node[];
  oneOf?: readonly Node[];
};

/** Whether anything in the schema is marked as sensitive. */
export function hasSensitive(schema: Schema): boolean {
  return marks(schema, "output") > 0;
}

/**
 * A redactor for values of the schema. Where several schemas may describe a value (a union, an intersection), one that
 * is marked redacts it. Fields whose type the schema leaves open (any JSON) are replaced by their size and nothing
 * else: what a provider's action takes or gives is not for the audit. The same goes for what stands at the end of a
 * long list or record.
 */
export function redactor(schema: Schema): Redact {
  if (marks(schema, "input") > marks(schema, "output"))
    throw new TypeError("A sensitive schema goes into a pipe and loses its mark; mark the whole pipe.");
  const root = jsonSchema(schema, "output") as Node;
  return (value) => redact(root, [root], value, { entries: MOST_ENTRIES }) as JsonObject;
}

function marks(schema: Schema, io: "input" | "output"): number {
  return JSON.stringify(jsonSchema(schema, io)).split(`"${MARK}":true`).length - 1;
}

/**
 * @param nodes every schema that may describe the value
 * @param left how many entries of lists and records may still be written, in the whole value
 */
function redact(root: Node, nodes: readonly Node[], value: unknown, left: { entries: number }): unknown {
  if (value === undefined || value === null) return null;
  const shapes = takenApart(root, nodes);
  if (shapes.some((shape) => shape[MARK] === true)) return REDACTED;
  const takes = (type: string) => shapes.some((shape) => isOf(shape, type));
  const anyJson = takes("object") && takes("array") && takes("string");
  if (nodes.length === 0 || anyJson || nodes.some((node) => isOpen(root, node))) return opaque(value);

  if (Array.isArray(value)) {
    const arrays = shapes.filter((shape) => isOf(shape, "array"));
    if (arrays.length === 0) return opaque(value);
    const items: unknown[] = [];
    for (const [at, item] of value.entries()) {
      if (left.entries === 0) return [...items, `[${value.length - at} more]`];
      left.entries -= 1;
      const schemas = arrays.flatMap((shape) => itemSchemas(shape, at));
      items.push(redact(root, schemas, item, left));
    }
    return items;
  }
  if (typeof value === "object") {
    const objects = shapes.filter((shape) => isOf(shape, "object"));
    if (!objects.some(namesFields)) return opaque(value);
    const fields: (readonly [string, unknown])[] = [];
    let omitted = 0;
    for (const [key, field] of Object.entries(value)) {
      // A schema has so many fields and no more. The caller's own are what can become many.
      const named = objects.some(({ properties = {} }) => Object.hasOwn(properties, key));
      if (!named && left.entries === 0) {
        omitted += 1;
        continue;
      }
      if (!named) left.entries -= 1;
      const schemas = objects.flatMap((shape) => fieldSchemas(shape, key));
      fields.push([shortened(key, LONGEST_TEXT), redact(root, schemas, field, left)]);
    }
    return Object.fromEntries(omitted === 0 ? fields : [...fields, ["…", `[${omitted} more]`]]);
  }
  if (takes("object") || takes("array")) return opaque(value);
  return typeof value === "string" ? shortened(value, LONGEST_TEXT) : value;
}

function isOf({ type }: Node, name: string): boolean {
  return type === name || (Array.isArray(type) && type.includes(name));
}

/** The schemas themselves and, through unions, intersections and references, everything that they are made of. */
function takenApart(root: Node, nodes: readonly Node[]): readonly Node[] {
  if (nodes.every((node) => node.$ref === undefined && partsOf(node) === NONE)) return nodes;
  const found = new Set<Node>();
  const visit = (node: Node) => {
    if (found.has(node)) return;
    found.add(node);
    if (node.$ref !== undefined) visit(resolve(root, node.$ref));
    for (const part of partsOf(node)) visit(part);
  };
  for (const node of nodes) visit(node);
  return [...found];
}

const NONE: readonly Node[] = [];

function partsOf({ anyOf, oneOf, allOf }: Node): readonly Node[] {
  if (anyOf === undefined && oneOf === undefined && allOf === undefined) return NONE;
  return [...(anyOf ?? NONE), ...(oneOf ?? NONE), ...(allOf ?? NONE)];
}

/** Whether it takes any value, or is made of something that does. */
function isOpen(root: Node, node: Node, seen?: ReadonlySet<Node>): boolean {
  if (seen?.has(node) || node["type"] !== undefined || node["enum"] !== undefined || "const" in node) return false;
  const inner = new Set(seen).add(node);
  if (node.$ref !== undefined) return isOpen(root, resolve(root, node.$ref), inner);
  const parts = partsOf(node);
  return parts.length === 0 || parts.some((part) => isOpen(root, part, inner));
}

function namesFields(shape: Node): boolean {
  const { properties = {}, patternProperties, additionalProperties } = shape;
  // One that takes no field at all has named them too: the input of an operation that needs none.
  if (Object.keys(properties).length > 0 || patternProperties !== undefined || additionalProperties === false)
    return true;
  return typeof additionalProperties === "object" && Object.keys(additionalProperties).length > 0;
}

function fieldSchemas(
  { properties = {}, patternProperties, additionalProperties }: Node,
  key: string,
): readonly Node[] {
  if (Object.hasOwn(properties, key)) return [properties[key]!];
  const others = Object.values(patternProperties ?? {});
  return typeof additionalProperties === "object" ? [...others, additionalProperties] : others;
}

function itemSchemas({ prefixItems, items }: Node, at: number): readonly Node[] {
  const item = prefixItems?.[at] ?? items;
  return typeof item === "object" ? [item] : [];
}

// zod writes `#` and `#/$defs/<id>`, the id escaped as a JSON Pointer (RFC 6901).
function resolve(root: Node, ref: string): Node {
  if (ref === "#") return root;
  return root.$defs![ref.slice("#/$defs/".length).replaceAll("~1", "/").replaceAll("~0", "~")]!;
}

function opaque(value: unknown): string {
  return `[${(JSON.stringify(value) ?? "").length} characters]`;
}
