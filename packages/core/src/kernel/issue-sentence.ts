import type { $ZodRawIssue } from "zod/v4/core";

/** How many of the allowed values are named. */
const MOST_VALUES = 20;

/**
 * What is wrong with a value, as the end of a sentence that begins with its name: `must be a number, not a string`.
 * Never quotes the value: it may be a secret. A schema's own message goes before it.
 */
export function issueSentence(issue: $ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return typeSentence(issue.expected, issue.input);
    case "invalid_value":
      return `must be ${oneOf(issue.values.map((value) => JSON.stringify(value) ?? String(value)))}`;
    case "too_small":
      return `must ${sized(issue.origin, issue.exact === true ? "exactly" : "at least", issue.minimum, issue.inclusive)}`;
    case "too_big":
      return `must ${sized(issue.origin, issue.exact === true ? "exactly" : "at most", issue.maximum, issue.inclusive)}`;
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    case "invalid_format":
      return formatSentence(issue);
    case "invalid_union":
      return unionSentence(issue);
    case "invalid_key":
      return "has a name that does not fit";
    case "invalid_element":
      return "has an entry that does not fit";
    case "unrecognized_keys":
      return "has fields that are not known";
    default:
      return "is not valid";
  }
}

const names: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
  tuple: "a list",
  null: "null",
  undefined: "left out",
  nan: "not a number",
  date: "a date",
  bigint: "a whole number",
};

function typeSentence(expected: string, input: unknown): string {
  if (input === undefined) return "is missing";
  const found = named(typeName(input));
  // 1.5 is a number and no whole one.
  return expected === "int" && typeof input === "number"
    ? "must be a whole number"
    : `must be ${named(expected)}, not ${found}`;
}

const named = (type: string): string => names[type] ?? type;

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Number.isNaN(value)) return "nan";
  return Array.isArray(value) ? "array" : typeof value;
}

function oneOf(values: readonly string[]): string {
  const shown = values.slice(0, MOST_VALUES);
  if (values.length > shown.length) return `one of ${shown.join(", ")} and ${values.length - shown.length} others`;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`;
}

function sized(
  origin: string,
  bound: "exactly" | "at least" | "at most",
  limit: number | bigint,
  inclusive?: boolean,
): string {
  const one = limit === 1 || limit === 1n;
  if (origin === "string") return `have ${bound} ${limit} character${one ? "" : "s"}`;
  if (origin === "array" || origin === "set") return `have ${bound} ${limit} ${one ? "entry" : "entries"}`;
  if (origin === "object" || origin === "record" || origin === "map")
    return `have ${bound} ${limit} field${one ? "" : "s"}`;
  if (inclusive === false) return `be ${bound === "at least" ? "more" : "less"} than ${limit}`;
  return `be ${bound === "exactly" ? "" : `${bound} `}${limit}`;
}

const formats: Readonly<Record<string, string>> = {
  email: "an e-mail address",
  url: "an address (URL)",
  datetime: "a time as ISO 8601 writes it, like 2026-01-31T12:00:00Z",
  date: "a date as ISO 8601 writes it, like 2026-01-31",
  time: "a time of day as ISO 8601 writes it, like 12:00:00",
  duration: "a duration as ISO 8601 writes it, like PT15M",
  uuid: "a UUID",
  guid: "a GUID",
  base64: "base64",
  base64url: "base64url",
  ipv4: "an IPv4 address",
  ipv6: "an IPv6 address",
  cidrv4: "an IPv4 range",
  cidrv6: "an IPv6 range",
  json_string: "JSON",
  jwt: "a JSON Web Token",
  e164: "a telephone number as E.164 writes it",
};

type Format = Extract<$ZodRawIssue, { code: "invalid_format" }>;

function formatSentence(issue: Format): string {
  const { format } = issue;
  if (format === "regex" || format === "template_literal") return `must match ${issue["pattern"] ?? "its pattern"}`;
  if (format === "starts_with") return `must start with ${JSON.stringify(issue["prefix"])}`;
  if (format === "ends_with") return `must end with ${JSON.stringify(issue["suffix"])}`;
  if (format === "includes") return `must contain ${JSON.stringify(issue["includes"])}`;
  return `must be ${formats[format] ?? `a valid ${format}`}`;
}

type Union = Extract<$ZodRawIssue, { code: "invalid_union" }>;

// Where every branch wants something simple, that is what to say; a shape among them is looked at by nobody's eye.
function unionSentence(issue: Union): string {
  const wanted = new Set<string>();
  for (const branch of issue.errors) {
    const [first] = branch;
    if (first === undefined || branch.length > 1 || first.path.length > 0) return "fits none of the allowed forms";
    if (first.code === "invalid_type") wanted.add(named(first.expected));
    else if (first.code === "invalid_value") for (const value of first.values) wanted.add(JSON.stringify(value));
    else return "fits none of the allowed forms";
  }
  return wanted.size === 0 ? "fits none of the allowed forms" : `must be ${oneOf([...wanted])}`;
}
