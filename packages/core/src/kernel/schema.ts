import { type $ZodType, safeParse, toJSONSchema } from "zod/v4/core";

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

/** Parses without throwing. The value is a fresh copy wherever the schema describes its shape. */
export function tryParse<Out>(schema: Schema<Out>, value: unknown): Parsed<Out> {
  const result = safeParse(zod(schema), value);
  if (result.success) return { ok: true, value: result.data as Out };
  const issues = result.error.issues.flatMap((issue): Issue[] => {
    const path = issue.path.map(String).join(".");
    if (issue.code === "unrecognized_keys")
      return issue.keys.map((key) => ({ path: path === "" ? key : `${path}.${key}`, message: "is not a known field" }));
    return [{ path, message: issue.message }];
  });
  return { ok: false, issues };
}

/** JSON Schema (draft 2020-12) of a schema, seen from the side that sends (`input`) or receives (`output`). */
export function jsonSchema(schema: Schema, io: "input" | "output"): JsonObject {
  return toJSONSchema(zod(schema), { io, target: "draft-2020-12" }) as unknown as JsonObject;
}

/** Throws unless both sides of the schema are plain JSON: a contract means the same locally and over a wire. */
export function assertJsonOnly(schema: Schema, subject: string): void {
  for (const io of ["input", "output"] as const) {
    try {
      jsonSchema(schema, io);
    } catch (cause) {
      throw new TypeError(`${subject} is not JSON only (${io} side): ${(cause as Error).message}`, { cause });
    }
  }
}

/**
 * JSON with sorted keys and no undefined members: equal values give equal text (RFC 8785 for the values that JSON can
 * hold in JavaScript).
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== "object" || Array.isArray(inner)) return inner;
    const source = inner as Record<string, unknown>;
    const sorted: Record<string, unknown> = Object.create(null);
    for (const key of Object.keys(source).sort()) sorted[key] = source[key];
    return sorted;
  });
}

/** A deep, frozen copy of a JSON value. */
export function frozenJson<T>(value: T): T {
  return freeze(structuredClone(value));
}

function freeze<T>(value: T): T {
  if (value === null || typeof value !== "object") return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
