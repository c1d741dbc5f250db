import { type AnyOperation, InvalidInput, type JsonObject, jsonSchema } from "@armature/core";
import { PreconditionFailed } from "./http-errors.ts";
import { headerOf, type RequestHeaders } from "./http-exchange.ts";

/** A list of entity tags as a header has it: any, or these. */
type Tags = "*" | readonly { readonly weak: boolean; readonly value: string }[];

/** What a request says of the version that its client has (RFC 9110, 13.1). */
export interface Preconditions {
  readonly ifMatch: Tags | undefined;
  readonly ifNoneMatch: Tags | undefined;
}

/** What an operation can do with preconditions. */
export interface VersionPlan {
  /** Its answer is one thing with a `version`, which becomes the `ETag`. */
  readonly tagged: boolean;
  /** It changes the thing that its input names, and can be bound to the version of that. */
  readonly bound: boolean;
}

export function planVersions({ kind, target, output, input }: AnyOperation): VersionPlan {
  const version = (output === undefined ? {} : properties(jsonSchema(output, "output")))["version"];
  const named = target === "tenant" || (target !== undefined && required(jsonSchema(input, "input")).includes(target));
  return {
    tagged: kind !== "stream" && target !== undefined && (version as JsonObject | undefined)?.["type"] === "integer",
    bound: kind === "command" && named,
  };
}

const properties = (schema: JsonObject) => (schema["properties"] ?? {}) as JsonObject;
const required = (schema: JsonObject) => (schema["required"] ?? []) as readonly string[];

/**
 * Reads `If-Match` and `If-None-Match`.
 *
 * @throws {InvalidInput} when one is malformed, or one that the operation cannot heed: ignored, it would protect nobody
 */
export function preconditionsOf(headers: RequestHeaders, method: string, plan: VersionPlan): Preconditions {
  const ifMatch = tagsOf(headers, "if-match");
  const ifNoneMatch = tagsOf(headers, "if-none-match");
  const reads = method === "GET" || method === "HEAD";
  if (ifMatch !== undefined && !(reads ? plan.tagged : plan.bound))
    throw refused("if-match", "cannot be heeded here: this operation has no version to compare");
  if (ifNoneMatch !== undefined && !reads) throw refused("if-none-match", "is heeded with GET and HEAD only");
  return { ifMatch, ifNoneMatch };
}

/**
 * The versions that a change is bound to; undefined when any will do.
 *
 * @throws {PreconditionFailed} when no version can be among the tags: weak ones never match here (strong comparison)
 */
export function expectedVersions({ ifMatch }: Preconditions): readonly number[] | undefined {
  // Whether there is anything at all, the operation finds out by itself.
  if (ifMatch === undefined || ifMatch === "*") return undefined;
  const versions = ifMatch.filter(({ weak, value }) => !weak && /^[1-9]\d{0,14}$/.test(value));
  if (versions.length === 0) throw new PreconditionFailed({});
  return [...new Set(versions.map(({ value }) => Number(value)))];
}

/**
 * Whether what is read is the client's own copy still, in the order of RFC 9110, 13.2.2: `If-Match` first.
 *
 * @throws {PreconditionFailed} when it is not what `If-Match` names
 */
export function isUnchanged({ ifMatch, ifNoneMatch }: Preconditions, version: number | undefined): boolean {
  const matches = (tags: Tags, strong: boolean) =>
    tags === "*" || tags.some(({ weak, value }) => value === String(version) && !(strong && weak));
  if (ifMatch !== undefined && !matches(ifMatch, true)) throw new PreconditionFailed({});
  return ifNoneMatch !== undefined && version !== undefined && matches(ifNoneMatch, false);
}

/** The version of an answer, where it has one. */
export function versionOf(plan: VersionPlan, output: unknown): number | undefined {
  const { version } = (plan.tagged ? output : {}) as { readonly version?: unknown };
  return typeof version === "number" ? version : undefined;
}

export function entityTag(version: number | undefined): Readonly<Record<string, string>> {
  return version === undefined ? {} : { etag: `"${version}"` };
}

const TAG = /^(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"$/;

function tagsOf(headers: RequestHeaders, name: string): Tags | undefined {
  const text = headerOf(headers, name)?.trim();
  if (text === undefined) return undefined;
  if (text === "*") return "*";
  // A comma may stand inside of a tag. Empty elements of a list are allowed (RFC 9110, 5.6.1).
  const parts = text.match(/(?:W\/)?"[^"]*"|[^,\s]+/g) ?? [];
  const tags = parts.map((part) => {
    const found = TAG.exec(part);
    if (found === null) throw refused(name, 'is not a list of entity tags, like "7"');
    return { weak: found[1] !== undefined, value: found[2]! };
  });
  if (tags.length === 0) throw refused(name, 'is not a list of entity tags, like "7"');
  return tags;
}

function refused(name: string, message: string): InvalidInput {
  return new InvalidInput({ subject: "A header of the request", issues: [{ path: name, message }] });
}
