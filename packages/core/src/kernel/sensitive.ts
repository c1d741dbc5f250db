import type { z } from "zod";
import { type JsonObject, jsonSchema, type Schema } from "./schema.ts";

const MARK = "x-sensitive";
const REDACTED = "[redacted]";

/** Marks a field whose value is never written to an audit row, an idempotency record, a log or a span. */
export function sensitive<S extends z.ZodType>(schema: S): S {
  return schema.meta({ ...schema.meta(), [MARK]: true }) as S;
}

/** Writes a value with everything sensitive replaced. */
export type Redact = (value: unknown) => JsonObject;

type Node = JsonObject & {
  $ref?: string;
  $defs?: JsonObject;
  properties?: Record<string, Node>;
  items?: Node;
  additionalProperties?: Node;
  anyOf?: Node[];
  allOf?: Node[];
  oneOf?: Node[];
};

/** Whether anything in the schema is marked as sensitive. */
export function hasSensitive(schema: Schema): boolean {
  return JSON.stringify(jsonSchema(schema, "output")).includes(`"${MARK}":true`);
}

/**
 * A redactor for values of the schema. Fields whose type the schema leaves open (any JSON) are replaced by their size
 * and nothing else: what a provider's action takes or gives is not for the audit.
 */
export function redactor(schema: Schema): Redact {
  const root = jsonSchema(schema, "output") as Node;
  return (value) => redact(root, root, value) as JsonObject;
}

function redact(root: Node, node: Node, value: unknown): unknown {
  if (value === undefined || value === null) return value ?? null;
  const shape = resolve(root, node);
  if (shape[MARK] === true) return REDACTED;
  if (Array.isArray(value)) {
    const items = shape.items;
    return items === undefined ? opaque(value) : value.map((each) => redact(root, items, each));
  }
  if (typeof value === "object") {
    const known = Object.assign(
      {},
      shape.properties,
      ...(shape.allOf ?? []).map((part) => resolve(root, part).properties),
    ) as Record<string, Node>;
    const open =
      typeof shape.additionalProperties === "object" && Object.keys(shape.additionalProperties).length > 0
        ? shape.additionalProperties
        : undefined;
    if (Object.keys(known).length === 0 && open === undefined) {
      const options = shape.anyOf ?? shape.oneOf;
      return options === undefined || options.some((option) => isOpen(resolve(root, option)))
        ? opaque(value)
        : redactUnion(root, options, value);
    }
    const copy: Record<string, unknown> = {};
    for (const [key, inner] of Object.entries(value)) {
      const field = known[key] ?? open;
      copy[key] = field === undefined ? opaque(inner) : redact(root, field, inner);
    }
    return copy;
  }
  const options = (shape.anyOf ?? shape.oneOf)?.map((option) => resolve(root, option));
  if (options?.some((option) => option[MARK] === true)) return REDACTED;
  if (
    isOpen(shape) ||
    options?.some((option) => isOpen(option) || option["type"] === "object" || option["type"] === "array")
  )
    return opaque(value);
  if (typeof value === "string" && value.length > 500) return `${value.slice(0, 500)}…`;
  return value;
}

// A union shows a field only if no branch that has the field marks it.
function redactUnion(root: Node, options: readonly Node[], value: object): unknown {
  const copy: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const fields = options
      .map((option) => resolve(root, option).properties?.[key])
      .filter((field) => field !== undefined);
    copy[key] =
      fields.length === 0
        ? opaque(inner)
        : fields
            .map((field) => redact(root, field, inner))
            .reduce((kept, next) => (JSON.stringify(kept) === JSON.stringify(next) ? kept : REDACTED));
  }
  return copy;
}

function isOpen(shape: Node): boolean {
  return (
    shape["type"] === undefined &&
    shape["enum"] === undefined &&
    shape["const"] === undefined &&
    shape.anyOf === undefined &&
    shape.oneOf === undefined &&
    shape.allOf === undefined
  );
}

function resolve(root: Node, node: Node): Node {
  let current = node;
  for (let depth = 0; depth < 20 && current.$ref !== undefined; depth += 1) {
    if (current[MARK] === true) return current;
    const path = current.$ref
      .replace(/^#\/?/, "")
      .split("/")
      .filter((part) => part !== "");
    current = path.reduce<Node>((at, part) => at[part] as Node, root);
  }
  return current;
}

function opaque(value: unknown): string {
  return `[${(JSON.stringify(value) ?? "").length} characters]`;
}
