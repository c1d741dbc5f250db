import { type $ZodType, safeParse, toJSONSchema } from "zod/v4/core";
import { issueSentence } from "./issue-sentence.ts";
import { shortened } from "./shortened.ts";

/**
 * A zod 4 schema, described only by what is read of it. Naming the structure instead of `z.ZodType` keeps a host's
 * type check five times faster.
 */
export interface Schema<Out = unknown, In = unknown> {
  readonly _zod: { readonly output: Out; readonly input: In };
}

/** One thing that is wrong with a value: where, and what. */
export interface Issue {
  /** Path from the root, `contacts.0.email`; empty for the value itself. */
  readonly path: string;
  readonly message: string;
}

/** A JSON value: what contracts, events, stored states and messages are made of. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

const zod = (schema: Schema): $ZodType => schema as unknown as $ZodType;

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly Issue[] };

/** Who has this much to mend learns nothing from more; and no answer may be a multiple of what was sent. */
const MOST_ISSUES = 50;
const LONGEST_NAME = 200;

/** Parses without throwing; tells of the first issues only. The value is a fresh copy wherever the schema describes its shape. */
export function tryParse<Out>(schema: Schema<Out>, value: unknown): Parsed<Out> {
  const result = safely(schema, value);
  if (result === undefined) return { ok: false, issues: [{ path: "", message: "is nested too deeply" }] };
  if (result.success) return { ok: true, value: result.data as Out };
  const issues = result.error.issues.slice(0, MOST_ISSUES).flatMap((issue): Issue[] => {
    const path = issue.path.map((part) => shortened(String(part), LONGEST_NAME)).join(".");
    if (issue.code === "unrecognized_keys")
      return issue.keys.slice(0, MOST_ISSUES).map((key) => ({
        path: path === "" ? shortened(key, LONGEST_NAME) : `${path}.${shortened(key, LONGEST_NAME)}`,
        message: "is not a known field",
      }));
    return [{ path, message: issue.message }];
  });
  return { ok: false, issues: issues.slice(0, MOST_ISSUES) };
}

const SENTENCES = { error: issueSentence };

// A recursive schema (any JSON) parses as deep as the stack reaches, and deep brackets cost a sender nothing.
function safely(schema: Schema, value: unknown) {
  try {
    return safeParse(zod(schema), value, SENTENCES);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const described = new WeakMap<Schema, { input?: JsonObject; output?: JsonObject }>();

/**
 * JSON Schema (draft 2020-12) of a schema, seen from the side that sends (`input`) or receives (`output`). Made once
 * for each schema, and frozen.
 */
export function jsonSchema(schema: Schema, io: "input" | "output"): JsonObject {
  const sides = described.get(schema) ?? {};
  sides[io] ??= freeze(toJSONSchema(zod(schema), { io, target: "draft-2020-12" }) as unknown as JsonObject);
  described.set(schema, sides);
  return sides[io];
}

/**
 * Throws unless both sides of the schema are plain JSON: a contract means the same locally and over a wire. What may be
 * anything (`z.unknown()`, `z.any()`, the extras of `z.looseObject`) would hand on the caller's own object: say `json`.
 */
export function assertJsonOnly(schema: Schema, subject: string): void {
  for (const io of ["input", "output"] as const) {
    let json: JsonObject;
    try {
      json = jsonSchema(schema, io);
    } catch (cause) {
      throw new TypeError(`${subject} is not JSON only (${io} side): ${(cause as Error).message}`, { cause });
    }
    const open = openPlace(json, []);
    if (open !== undefined)
      throw new TypeError(`${subject} is not JSON only (${io} side): ${open} may be anything; say json`);
  }
}

const DESCRIBES = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not"];
const NAMED = ["properties", "patternProperties", "$defs"];
const INNER = ["items", "prefixItems", "additionalProperties"];
const SAME_PLACE = ["anyOf", "oneOf", "allOf"];

/** Where a JSON Schema takes any value. */
function openPlace(node: JsonObject, path: readonly string[]): string | undefined {
  if (!DESCRIBES.some((keyword) => keyword in node)) return path.length === 0 ? "the value" : `"${path.join(".")}"`;
  const at = (keywords: readonly string[], inside: readonly string[]): [readonly string[], Json][] =>
    keywords.flatMap((keyword) =>
      [node[keyword] ?? []].flat().map((part): [readonly string[], Json] => [inside, part]),
    );
  const named = NAMED.flatMap((keyword) => Object.entries(node[keyword] ?? {}));
  const parts = [
    ...named.map(([name, part]): [readonly string[], Json] => [[...path, name], part]),
    ...at(INNER, [...path, "*"]),
    ...at(SAME_PLACE, path),
  ];
  for (const [inside, part] of parts) {
    const open = typeof part === "object" ? openPlace(part as JsonObject, inside) : undefined;
    if (open !== undefined) return open;
  }
  return undefined;
}

/** JSON with sorted keys and no undefined members: equal values give equal text (RFC 8785). */
export function canonicalJson(value: unknown): string {
  return canonical(value) ?? "null";
}

function canonical(value: unknown): string | undefined {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if ("toJSON" in value && typeof value.toJSON === "function") return canonical(value.toJSON());
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item) ?? "null").join(",")}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const text = canonical((value as Record<string, unknown>)[key]);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${members.join(",")}}`;
}

/** A deep, frozen copy of a JSON value. */
export function frozenJson<T>(value: T): T {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozenJson)) as T;
  // What is no JSON is for whoever checks the value to refuse. A third of what `structuredClone` takes for the rest.
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return freeze(structuredClone(value));
  const copy: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === "__proto__") Object.defineProperty(copy, key, { value: frozenJson(inner), enumerable: true });
    else copy[key] = frozenJson(inner);
  }
  return Object.freeze(copy) as T;
}

/** The value itself, frozen all through. */
function freeze<T>(value: T): T {
  if (value === null || typeof value !== "object") return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
