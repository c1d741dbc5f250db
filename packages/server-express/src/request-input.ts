import { type AnyOperation, InvalidInput, type Issue, type JsonObject, jsonSchema } from "@armature/core";
import type { HandlerRequest } from "./http-exchange.ts";
import { invalidBody, readJsonBody } from "./json-body.ts";
import { type TextField, textField } from "./text-fields.ts";

const MOST_ISSUES = 50;
const LONGEST_NAME = 200;

/** Where each field of an operation's input stands in a request. */
export interface InputPlan {
  readonly subject: string;
  readonly pathFields: ReadonlyMap<string, TextField>;
  /** Fields of the query string; undefined when the rest of the input is a JSON body. */
  readonly queryFields: ReadonlyMap<string, TextField> | undefined;
  /** Fields that a JSON body may have. */
  readonly bodyFields: ReadonlySet<string>;
}

/** Whether the input that is not in the path travels in the query string. */
export function usesQueryString(method: string): boolean {
  return method === "GET" || method === "DELETE";
}

export function pathParametersOf(template: string): readonly string[] {
  return [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
}

/**
 * Plans how to read an operation's input.
 *
 * @throws {TypeError} when a field would have to travel as text and cannot
 */
export function planInput(id: string, method: string, template: string, operation: AnyOperation): InputPlan {
  const schema = jsonSchema(operation.input, "input");
  const properties = (schema["properties"] ?? {}) as Readonly<Record<string, JsonObject>>;
  const inPath = pathParametersOf(template);
  const others = Object.keys(properties).filter((name) => !inPath.includes(name));
  const asText = (name: string): readonly [string, TextField] => {
    const field = textField(schema, properties[name]!);
    if (field === undefined)
      throw new TypeError(`${id} is a ${method}, and its field "${name}" cannot stand in a path or query string.`);
    return [name, field];
  };
  const inQuery = usesQueryString(method);
  return {
    subject: `The input of ${id}`,
    pathFields: new Map(inPath.map(asText)),
    queryFields: inQuery ? new Map(others.map(asText)) : undefined,
    bodyFields: new Set(inQuery ? [] : others),
  };
}

/**
 * Puts an operation's input together. It has fields that the contract knows and each of them once; whether their
 * values fit is the pipeline's to say.
 *
 * @throws {InvalidInput} also for what the client sent and nobody would have read
 */
export async function readInput(
  plan: InputPlan,
  request: HandlerRequest,
  query: string,
  parameters: readonly (readonly [string, string])[],
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const issues: Issue[] = [];
  const input = new Map<string, unknown>();
  for (const [name, text] of parameters) input.set(name, plan.pathFields.get(name)!.read([text]));

  for (const [name, values] of parseQuery(query)) {
    const field = plan.queryFields?.get(name);
    if (plan.pathFields.has(name)) issues.push({ path: name, message: "is given in the path already" });
    else if (field === undefined && plan.bodyFields.has(name))
      issues.push({ path: name, message: "belongs into the body" });
    else if (field === undefined) issues.push({ path: name, message: "is not a known field" });
    else if (values.length > 1 && !field.many) issues.push({ path: name, message: "is given more than once" });
    else input.set(name, field.read(values));
  }

  if (plan.queryFields !== undefined && request.body !== undefined)
    throw invalidBody("is not read: the input belongs into the query string");
  const body = plan.queryFields === undefined ? await readJsonBody(request, maxBytes) : undefined;
  for (const name in body) {
    // Enough to mend; the rest would only be counted.
    if (issues.length >= MOST_ISSUES) break;
    if (plan.pathFields.has(name)) issues.push({ path: name, message: "is given in the path already" });
    else if (!plan.bodyFields.has(name)) issues.push({ path: name, message: "is not a known field" });
    else input.set(name, body[name]);
  }
  if (issues.length > 0)
    throw new InvalidInput({ subject: plan.subject, issues: issues.slice(0, MOST_ISSUES).map(short) });
  return Object.fromEntries(input);
}

// Names are the client's own, and an answer must not be a multiple of what was sent.
function short({ path, message }: Issue): Issue {
  return { path: path.length > LONGEST_NAME ? `${path.slice(0, LONGEST_NAME)}…` : path, message };
}

function parseQuery(query: string): ReadonlyMap<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const name = decodeText(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? "" : decodeText(pair.slice(at + 1));
    const values = fields.get(name);
    if (values === undefined) fields.set(name, [value]);
    else values.push(value);
  }
  return fields;
}

// URLSearchParams would put a replacement character where the bytes are no text; that is not what the client meant.
function decodeText(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new InvalidInput({
      subject: "The query string",
      issues: [{ path: "", message: "is not percent-encoded UTF-8" }],
    });
  }
}
