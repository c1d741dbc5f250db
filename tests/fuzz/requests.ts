import { type JsonObject, jsonSchema, type OperationDescription } from "@armature/core";
import fc, { type Arbitrary } from "fast-check";
import { fitting, hostile, type Seen } from "./values.ts";

/** One request of the fuzz. */
export interface FuzzRequest {
  readonly operation: string;
  readonly method: string;
  /** Path and query, encoded. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** How it was made: what is `fitting` is what a client means to send. */
  readonly shape: Shape;
}

type Shape = "fitting" | "nearly" | "hostile" | "mangled";

/** Requests of one operation, by its schema: such as fit it, nearly fit it, mean harm, or are no JSON at all. */
export function requestsOf({ id, operation }: OperationDescription, seen: Seen): Arbitrary<FuzzRequest> {
  const [method, template] = operation.http!.split(" ") as [string, string];
  const schema = jsonSchema(operation.input, "input");
  const fits = fitting(schema, seen) as Arbitrary<Record<string, unknown>>;
  const names = Object.keys((schema["properties"] ?? {}) as JsonObject);
  const inputs: Arbitrary<readonly [Shape, Record<string, unknown>]> = fc.oneof(
    { weight: 5, arbitrary: fits.map((input) => ["fitting", input] as const) },
    { weight: 4, arbitrary: nearly(fits, names).map((input) => ["nearly", input] as const) },
    { weight: 3, arbitrary: harmful(fits, names).map((input) => ["hostile", input] as const) },
  );
  return fc
    .tuple(inputs, headersOf, fc.oneof({ weight: 7, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: mangling }))
    .map(([[shape, input], headers, mangle]): FuzzRequest => {
      const { path, rest } = fillPath(template, input);
      const inQuery = method === "GET" || method === "DELETE";
      const query = inQuery ? queryOf(rest) : "";
      const json = inQuery ? undefined : safeJson(rest);
      const body = mangle === null || inQuery ? json : mangle(json ?? "{}");
      return {
        operation: id,
        method,
        path: path + query,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body,
        shape: mangle === null || inQuery ? shape : "mangled",
      };
    });
}

// One field left out, added, or of another kind.
function nearly(
  fits: Arbitrary<Record<string, unknown>>,
  names: readonly string[],
): Arbitrary<Record<string, unknown>> {
  const name = names.length === 0 ? fc.constant("unknown") : fc.constantFrom(...names);
  return fc
    .tuple(fits, name, fc.constantFrom("left out", "added", "another", "null", "list"), fc.jsonValue({ maxDepth: 1 }))
    .map(([input, field, change, value]) => {
      const { [field]: old, ...others } = input;
      switch (change) {
        case "left out":
          return others;
        case "added":
          return { ...input, [`${field}X`]: value };
        case "null":
          return { ...input, [field]: null };
        case "list":
          return { ...input, [field]: [old, old] };
        default:
          return { ...input, [field]: value };
      }
    });
}

function harmful(
  fits: Arbitrary<Record<string, unknown>>,
  names: readonly string[],
): Arbitrary<Record<string, unknown>> {
  const name =
    names.length === 0
      ? fc.constant("unknown")
      : fc.oneof(
          { weight: 4, arbitrary: fc.constantFrom(...names) },
          fc.constantFrom("__proto__", "constructor", "", "a.b", "a[0]"),
        );
  return fc.tuple(fits, fc.array(fc.tuple(name, hostile), { minLength: 1, maxLength: 3 })).map(([input, harms]) => {
    const changed = Object.assign(Object.create(null), input) as Record<string, unknown>;
    for (const [field, value] of harms) changed[field] = value;
    return changed;
  });
}

/** Turns a JSON text into something else. */
const mangling: Arbitrary<(json: string) => string> = fc.constantFrom(
  (json: string) => json.slice(0, -1),
  (json: string) => `${json}${json}`,
  (json: string) => `\ufeff${json}`,
  () => "",
  () => "null",
  () => "[]",
  () => '"text"',
  () => "{".repeat(5_000),
  () => `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
  () => '{"a":1,"a":2}',
  () => '{"__proto__":{"x":1}}',
  () => "{'a': 1}",
  () => "NaN",
  () => "\u0000",
  () => `{${Array.from({ length: 3_000 }, (_, n) => `"k${n}":${n}`).join(",")}}`,
  () => `{"a":"${"x".repeat(200_000)}"}`,
);

const printable = fc.stringMatching(/^[\x20-\x7e]{0,40}$/);
const headers: Readonly<Record<string, Arbitrary<string>>> = {
  "idempotency-key": fc.oneof(fc.uuid(), printable, fc.constantFrom('"quoted"', '"open', "x".repeat(300), "k-1")),
  "if-match": fc.constantFrom("*", '"1"', '"2"', 'W/"1"', '"x"', "1", '"1", "2"', ""),
  "if-none-match": fc.constantFrom("*", '"1"', '"2"', 'W/"1"', "nonsense"),
  "armature-timeout": fc.constantFrom("5000", "0", "-1", "x", "1e9", "99999999999"),
  "x-request-id": printable,
  traceparent: fc.oneof(printable, fc.constant("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
  "last-event-id": printable,
  accept: fc.constantFrom(
    "*/*",
    "application/json",
    "application/x-ndjson",
    "text/event-stream",
    "image/png",
    ";;q=",
    "",
  ),
  "accept-encoding": fc.constantFrom("gzip", "br;q=0.5, gzip;q=0", "identity;q=0", "*", "zstd", ";;"),
  "content-type": fc.constantFrom(
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "nonsense",
  ),
  origin: fc.constantFrom("https://evil.example", "null", "http://localhost"),
  "x-forwarded-for": fc.constantFrom("1.2.3.4", "::1", "garbage", "1.2.3.4, 5.6.7.8"),
};
// Mostly none, else one or two: what one of them refuses hides the others.
const someHeader = fc.oneof(
  ...Object.entries(headers).map(([name, value]) => value.map((text): Record<string, string> => ({ [name]: text }))),
);
const headersOf: Arbitrary<Record<string, string>> = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: someHeader },
  { weight: 1, arbitrary: fc.tuple(someHeader, someHeader).map(([one, other]) => ({ ...one, ...other })) },
);

function fillPath(template: string, input: Record<string, unknown>): { path: string; rest: Record<string, unknown> } {
  const rest = { ...input };
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = rest[name];
    delete rest[name];
    return encode(asText(value)) || "%20";
  });
  return { path, rest };
}

function queryOf(input: Record<string, unknown>): string {
  const pairs = Object.entries(input).flatMap(([name, value]) =>
    (Array.isArray(value) ? value.slice(0, 5) : value === undefined ? [] : [value]).map(
      (each) => `${encode(name)}=${encode(asText(each)).slice(0, 3_000)}`,
    ),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : (safeJson(value) ?? "");
}

// A lone surrogate cannot be encoded: it goes as the bytes that a careless client would send.
function encode(text: string): string {
  return encodeURIComponent(text.isWellFormed() ? text : text.replaceAll(/[\ud800-\udfff]/g, "%ED%A0%80")).slice(
    0,
    6_000,
  );
}

function safeJson(value: unknown): string | undefined {
  return value === undefined ? undefined : JSON.stringify(value);
}
