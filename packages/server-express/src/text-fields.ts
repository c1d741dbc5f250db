import type { JsonObject } from "@armature/core";

/** How a field that travels as text, in a path or a query string, becomes a value of its type. */
export interface TextField {
  /** Whether it may be given several times. */
  readonly many: boolean;
  /** Text that does not fit the type stays text, so that the schema refuses it with its own sentence. */
  read(values: readonly string[]): unknown;
}

type Node = JsonObject & {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly allOf?: readonly Node[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Node>>;
};

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * Reads what a field accepts from its JSON Schema.
 *
 * @returns undefined when no text can stand for it: objects, and null alone
 */
export function textField(root: JsonObject, schema: JsonObject): TextField | undefined {
  const accepted = accepts(root, schema as Node);
  // A list of lists has no spelling here, so what is inside of an item's own items does not matter.
  const item = accepted.items.map((each) => accepts(root, each)).find(isScalar);
  const scalar = isScalar(accepted);
  if (!scalar && item === undefined) return undefined;
  return {
    many: item !== undefined,
    read: (values) => {
      if (item === undefined || (scalar && values.length === 1)) return readOne(accepted, values[0]!);
      return values.map((value) => readOne(item, value));
    },
  };
}

function readOne(accepted: Accepted, text: string): unknown {
  if (accepted.anyText) return text;
  if (accepted.number && NUMBER.test(text) && Number.isFinite(Number(text))) return Number(text);
  if (accepted.boolean && (text === "true" || text === "false")) return text === "true";
  return text;
}

function isScalar({ text, number, boolean }: Accepted): boolean {
  return text || number || boolean;
}

interface Accepted {
  /** Any text, so that "5" is text and not a number. */
  anyText: boolean;
  text: boolean;
  number: boolean;
  boolean: boolean;
  readonly items: Node[];
}

function accepts(root: JsonObject, schema: Node): Accepted {
  const accepted: Accepted = { anyText: false, text: false, number: false, boolean: false, items: [] };
  const seen = new Set<Node>();
  const visit = (node: Node) => {
    if (seen.has(node)) return;
    seen.add(node);
    if (node.$ref !== undefined) visit(resolve(root as Node, node.$ref));
    const parts = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
    for (const part of parts) visit(part);
    const listed = node.enum ?? ("const" in node ? [node.const] : undefined);
    const types = listed?.map(jsonType) ?? [node.type ?? []].flat();
    if (types.length === 0 && parts.length === 0 && node.$ref === undefined) accepted.anyText = true;
    for (const type of types) {
      if (type === "string") accepted.text = true;
      if (type === "string" && listed === undefined) accepted.anyText = true;
      if (type === "number" || type === "integer") accepted.number = true;
      if (type === "boolean") accepted.boolean = true;
      if (type === "array") accepted.items.push(node.items ?? {});
    }
  };
  visit(schema);
  accepted.text ||= accepted.anyText;
  return accepted;
}

function jsonType(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

// zod writes `#` and `#/$defs/<id>`, the id escaped as a JSON Pointer (RFC 6901).
function resolve(root: Node, ref: string): Node {
  if (ref === "#") return root;
  const id = ref.slice("#/$defs/".length).replaceAll("~1", "/").replaceAll("~0", "~");
  return root.$defs?.[id] ?? {};
}
